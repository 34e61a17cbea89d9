//! Class by provenance: which rules apply is decided by what the presented credential *is*, never by how the request
//! is written (contract §2, "Classes").

use crate::actor::{Acts, act_claim};
use crate::app::Sts;
use crate::authenticate::Caller;
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::external::User;
use crate::form::TokenType;
use crate::told::Told;
use crate::view::ZoneView;
use caracal_domain::id::{AgentSessionId, ApplicationId};
use caracal_domain::zone::Application;
use caracal_domain::{Actor, AnchorKind, Claims, Refusal, TokenUse};
use caracal_jose::{Expect, ForeignToken, TokenError, Unverified, Verified};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// A session token of this zone, of the right class. Nothing else that verifies becomes one: a mandate has no way in.
#[derive(Debug)]
struct SessionToken(Verified);

/// A session that has not ended: all that can be exchanged for a mandate. Only this module makes one, of a
/// `SessionToken`.
#[derive(Debug)]
pub struct LiveSession(Verified);

impl LiveSession {
    /// What it says.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        self.0.claims()
    }
}

/// The only ways into the token endpoint. A mandate, or anything else that is not a session, has no variant: it can
/// never come back in.
#[derive(Debug)]
pub enum Provenance<S = LiveSession> {
    /// The application itself: a new session.
    Application(Arc<Application>),
    /// The application with what a registered issuer says of a user: a new session of that user's.
    User(Arc<Application>, Box<User>),
    /// The application with its session: a mandate.
    Session(Arc<Application>, S),
    /// A gateway with somebody's session: a mandate for one call, and where to send it.
    GatewayCall(Arc<Application>, S),
}

impl Provenance<SessionToken> {
    /// What the token will say of who acts, where the request names this agent.
    fn act(
        &self,
        actor: Option<&Claims>,
        named: Option<AgentSessionId>,
    ) -> Result<Option<Box<Actor>>, Refusal> {
        match self {
            Self::Application(application) => act_claim(actor, &application.id.to_string(), named, None),
            Self::User(_, user) => act_claim(actor, &user.subject, named, None),
            Self::Session(_, SessionToken(token)) | Self::GatewayCall(_, SessionToken(token)) => {
                let subject = token.claims();
                let (agent, before) = (named.or(subject.agent_session_id), subject.act.as_deref());
                act_claim(actor, &subject.sub, agent, before)
            }
        }
    }

    /// The same while it has not ended: no mandate of a revoked session. Whoever signs in begins anew; whether a cut-off
    /// stands in the way, the database says when the session is stored.
    fn live(self, view: &ZoneView) -> Result<Provenance, Refusal> {
        let goes_on =
            |SessionToken(token): SessionToken| match view.anchors.refuses(token.claims(), token.kid()) {
                Some(kind) => Err(revoked(kind)),
                None => Ok(LiveSession(token)),
            };
        Ok(match self {
            Self::Application(application) => Provenance::Application(application),
            Self::User(application, user) => Provenance::User(application, user),
            Self::Session(holder, token) => Provenance::Session(holder, goes_on(token)?),
            Self::GatewayCall(holder, token) => Provenance::GatewayCall(holder, goes_on(token)?),
        })
    }
}

impl Sts {
    /// Establishes what the caller presented, and who acts: subject, then actor, then whether the subject's session is
    /// live (contract §2, "Order").
    ///
    /// # Errors
    /// `invalid_grant` for a subject token that is neither a live session of this zone and this application nor a
    /// registered issuer's, or for an actor that cannot act.
    pub async fn provenance(
        &self,
        view: &Arc<ZoneView>,
        caller: Caller,
        exchange: &Exchange,
    ) -> Result<(Provenance, Acts), Failure> {
        let presented = self.presented(view, caller, exchange).await?;
        let request = &exchange.request;
        let by = self.shown_actor(view, request.actor_token.as_ref())?;
        let act = presented.act(by.as_ref().map(Verified::claims), request.agent_session_id)?;
        if let Some(actor) = &by {
            self.may_act(view, actor).await?;
        }
        Ok((presented.live(view)?, Acts { by, act }))
    }

    async fn presented(
        &self,
        view: &Arc<ZoneView>,
        caller: Caller,
        exchange: &Exchange,
    ) -> Result<Provenance<SessionToken>, Failure> {
        let request = &exchange.request;
        match (caller, &request.subject_token) {
            (Caller::Application(application), None) => {
                exchange.tell(|| Told::by_sign_in(application.id.to_string()));
                Ok(Provenance::Application(application))
            }
            (Caller::Application(application), Some(token)) => {
                if let Some(foreign) = self.foreign(token.expose_secret()) {
                    let user = self.user(view, foreign).await?;
                    exchange.tell(|| Told::by_sign_in(user.subject.clone()));
                    return Ok(Provenance::User(application, Box::new(user)));
                }
                if request.subject_token_type == Some(TokenType::IdToken) {
                    return Err(no_id_token(token).into());
                }
                let session = self.session(view, token, exchange)?;
                if session.0.claims().client_id != application.id {
                    return Err(Refusal::SubjectTokenWrongClient.into());
                }
                Ok(Provenance::Session(application, session))
            }
            (Caller::Gateway, _) if request.actor_token.is_some() => Err(Refusal::NotSupported.into()),
            (Caller::Gateway, None) => Err(Refusal::SubjectTokenInvalid.into()),
            (Caller::Gateway, Some(token)) => {
                let session = self.session(view, token, exchange)?;
                let holder = self.holder(view, session.0.claims().client_id)?;
                Ok(Provenance::GatewayCall(holder, session))
            }
        }
    }

    /// The token as somebody else's, unless it is one of ours by its issuer or no JWT at all: those take our own
    /// path, which is the stricter one.
    fn foreign<'t>(&self, token: &'t str) -> Option<ForeignToken<'t>> {
        let foreign = ForeignToken::parse(token).ok()?;
        (!self.is_ours(foreign.issuer_hint())).then_some(foreign)
    }

    fn holder(&self, view: &ZoneView, application: ApplicationId) -> Result<Arc<Application>, Refusal> {
        self.live(view, application).ok_or(Refusal::SubjectTokenInvalid)
    }

    fn session(
        &self,
        view: &ZoneView,
        token: &SecretString,
        exchange: &Exchange,
    ) -> Result<SessionToken, Refusal> {
        let verified = self.verify(view, token.expose_secret())?;
        exchange.tell(|| Told::by_token(verified.claims()));
        match verified.claims().token_use {
            TokenUse::Session => Ok(SessionToken(verified)),
            TokenUse::Resource => Err(Refusal::SubjectTokenWrongUse),
        }
    }

    /// Verifies a token of this zone: signature, issuer, zone, expiry. Revocation is the caller's to check.
    ///
    /// # Errors
    /// The `invalid_grant` refusal that names what is wrong.
    pub fn verify(&self, view: &ZoneView, token: &str) -> Result<Verified, Refusal> {
        let zone = view.zone.config.id;
        let unverified = Unverified::parse(token).map_err(refusal)?;
        if unverified.zone_hint() != zone {
            return Err(Refusal::SubjectTokenWrongZone);
        }
        let issuer = self.issuer(zone);
        let expect = Expect {
            issuer: &issuer,
            now: self.clock.now().timestamp(),
        };
        let kid = unverified.kid();
        view.zone.verifying.verify(unverified, &expect).map_err(|error| {
            let key_gone = error == TokenError::UnknownKey && view.anchors.holds(AnchorKind::Kid, kid.into());
            if key_gone {
                Refusal::SigningKeyRevoked
            } else {
                refusal(error)
            }
        })
    }

    /// The same, with the newest view if the token names a key that this one lacks: it may have been made a moment ago
    /// (docs/decisions, 0007).
    pub async fn verify_current(
        &self,
        view: Arc<ZoneView>,
        token: &str,
    ) -> (Arc<ZoneView>, Result<Verified, Refusal>) {
        let view = if names_unknown_key(&view, token) {
            self.zones.confirmed(&view).await
        } else {
            view
        };
        let verified = self.verify(&view, token);
        (view, verified)
    }
}

/// Whether the token would be one of this zone, but for its key.
#[must_use]
pub fn names_unknown_key(view: &ZoneView, token: &str) -> bool {
    Unverified::parse(token).is_ok_and(|token| {
        token.zone_hint() == view.zone.config.id
            && !view.zone.verifying.contains(token.kid())
            && !view.anchors.holds(AnchorKind::Kid, token.kid().into())
    })
}

/// Why a session token is refused that one of these names.
const fn revoked(kind: AnchorKind) -> Refusal {
    match kind {
        AnchorKind::Sid | AnchorKind::RootSid => Refusal::SessionRevoked,
        AnchorKind::AgentSessionId => Refusal::AgentSessionRevoked,
        AnchorKind::Kid => Refusal::SigningKeyRevoked,
        AnchorKind::Subject => Refusal::SubjectRevoked,
        AnchorKind::Application => Refusal::ApplicationRevoked,
        // A session carries no delegation.
        AnchorKind::DelegationEdgeId | AnchorKind::Jti => Refusal::TokenRevoked,
    }
}

const fn refusal(error: TokenError) -> Refusal {
    match error {
        TokenError::Expired => Refusal::SubjectTokenExpired,
        TokenError::WrongZone => Refusal::SubjectTokenWrongZone,
        TokenError::Malformed
        | TokenError::UnknownKey
        | TokenError::BadSignature
        | TokenError::WrongIssuer
        | TokenError::NotYetValid
        | TokenError::TooLarge => Refusal::SubjectTokenInvalid,
    }
}

/// What was called an ID token and is nobody else's: one of ours, which is none, or nothing at all.
fn no_id_token(token: &SecretString) -> Refusal {
    if Unverified::parse(token.expose_secret()).is_ok() {
        Refusal::SubjectTokenWrongUse
    } else {
        Refusal::SubjectTokenInvalid
    }
}
