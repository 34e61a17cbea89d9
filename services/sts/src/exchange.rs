//! Token exchange, the use-case: establish what was presented, narrow, decide, record, sign (RFC 8693; contract §2).
//!
//! The order of steps is the contract's: the first failure is the answer. Nothing is signed before its decision is on
//! record, and when warm nothing here reads the database.

use crate::acting::Acting;
use crate::actor::Acts;
use crate::app::Sts;
use crate::authenticate::Authenticated;
use crate::decide::{Asked, Decided};
use crate::directive::Directive;
use crate::error::Failure;
use crate::external::User;
use crate::form::TokenRequest;
use crate::naming::Named;
use crate::narrow::{Ceiling, lifetime, wished};
use crate::settle::Opening;
use crate::step_up::Showing;
use crate::subject::{LiveSession, Provenance};
use crate::told::Told;
use crate::view::ZoneView;
use caracal_domain::clock::Timestamp;
use caracal_domain::id::{EventId, SessionId, TokenId};
use caracal_domain::zone::{Application, Resource};
use caracal_domain::{
    Claims, Epoch, Refusal, RequestId, ResourceIdentifier, Scope, ScopeSet, SubjectType, TokenUse,
};
use caracal_storage::sessions::{NewSession, SessionRow, SessionState};
use std::sync::{Arc, OnceLock};

const SESSION_SECONDS: u32 = 3600;
const MANDATE_SECONDS: u32 = 900;
/// How often a session is opened anew because its subject was cut off meanwhile.
const OPENINGS: usize = 3;

/// A token on its way out.
pub struct Issued {
    /// The compact JWS.
    pub access_token: String,
    /// Seconds until it expires.
    pub expires_in: i64,
    /// What it grants.
    pub scope: ScopeSet,
    /// The resources it is for.
    pub targets: Vec<Granted>,
    /// The zone's epoch it was decided at.
    pub epoch: Epoch,
}

/// One resource that was allowed.
pub struct Granted {
    /// The identifier asked for.
    pub identifier: ResourceIdentifier,
    /// The resource it means.
    pub resource: Arc<Resource>,
    /// The event that records it.
    pub event_id: EventId,
    /// Where its calls go and with what, when a gateway asked.
    pub directive: Option<Directive>,
}

/// One exchange in progress.
pub struct Exchange {
    /// What was asked for.
    pub request: TokenRequest,
    /// Which request this is.
    pub request_id: RequestId,
    /// The one clock of this decision.
    pub now: Timestamp,
    told: OnceLock<Told>,
}

impl Exchange {
    /// Begins.
    #[must_use]
    pub const fn new(request: TokenRequest, request_id: RequestId, now: Timestamp) -> Self {
        Self {
            request,
            request_id,
            now,
            told: OnceLock::new(),
        }
    }

    /// Says what it turned out to be about.
    pub fn tell(&self, told: impl FnOnce() -> Told) {
        self.told.get_or_init(told);
    }

    /// What it is about, as far as that turned out.
    #[must_use]
    pub fn told(&self) -> Option<&Told> {
        self.told.get()
    }
}

impl Sts {
    /// Exchanges what the caller has for a narrower, shorter-lived token.
    ///
    /// # Errors
    /// The refusal that is the answer, or our own fault.
    pub async fn exchange(&self, mut client: Authenticated, exchange: &Exchange) -> Result<Issued, Failure> {
        let mut view = self.knowing(&client, &exchange.request.resources).await;
        for _ in 0..OPENINGS {
            let established = self.established(view, &client.caller, exchange).await?;
            let (at, acts) = (&established.view, &established.acts);
            let opened = match &established.provenance {
                Provenance::Session(holder, session) => {
                    return self.mint(at, holder, session, acts, exchange, false).await;
                }
                Provenance::GatewayCall(holder, session) => {
                    return self.mint(at, holder, session, acts, exchange, true).await;
                }
                Provenance::Application(application) => {
                    self.open_session(at, application, None, acts, exchange).await
                }
                Provenance::User(application, user) => {
                    self.open_session(at, application, Some(&**user), acts, exchange)
                        .await
                }
            };
            match opened {
                Err(Failure::Refused(Refusal::SubjectRevoked)) => {
                    view = self.past_cut_off(at, &mut client.caller).await?;
                }
                opened => return opened,
            }
        }
        Err(Refusal::SubjectRevoked.into())
    }

    /// A view that knows every named resource and a policy to decide by, if the database does.
    async fn knowing(&self, client: &Authenticated, resources: &[ResourceIdentifier]) -> Arc<ZoneView> {
        let view = &client.view;
        let undecided = !resources.is_empty() && view.zone.config.active.is_none();
        let unknown = resources.iter().any(|asked| self.resource(view, asked).is_none());
        if undecided || unknown {
            self.zones.confirmed(view).await
        } else {
            Arc::clone(view)
        }
    }

    /// Session class: a row in `sessions`, written before the answer. Without resources it carries no authority, so
    /// policy is asked only about those it names.
    async fn open_session(
        &self,
        view: &Arc<ZoneView>,
        application: &Arc<Application>,
        user: Option<&User>,
        acts: &Acts,
        exchange: &Exchange,
    ) -> Result<Issued, Failure> {
        let request = &exchange.request;
        if request.session_id.is_some() || request.delegation_edge_id.is_some() {
            // A session is of nobody else's making, and carries nothing that was handed on.
            return Err(Refusal::NotSupported.into());
        }
        let (sub, sub_type) = match user {
            Some(user) => (user.subject.clone(), SubjectType::User),
            None => (application.id.to_string(), SubjectType::Application),
        };
        let wish = request.scopes.clone().unwrap_or_default();
        let scopes = wish.without_agent_lifecycle();
        let subject = user.map(|user| user.subject.as_str());
        let acting = self.acting(view, application, None, subject, exchange).await?;
        let parent = self.parent_session(view, &acting, exchange.now).await?;
        let until_parent_ends = parent.as_ref().map_or(i64::MAX, |parent| {
            (parent.expires_at - exchange.now).num_seconds()
        });
        let limits = [
            (remaining(application, exchange.now), Refusal::InvalidClient),
            (left(acts.claims(), exchange.now), Refusal::ActorTokenExpired),
            (until_parent_ends, Refusal::AgentNotLive),
        ];
        let limits = limits.into_iter().chain(acting.limits(exchange.now));
        let seconds = lifetime(request.ttl_seconds, SESSION_SECONDS, limits)?;
        let named = self.named(view, &request.resources);
        let showing = Showing {
            view,
            application,
            session: None,
            user: subject,
            acting: &acting,
            named: &named,
            scopes: &scopes,
            exchange,
        };
        let met = self.met(&showing).await?;
        let wishes = !scopes.is_empty() || !request.foreign_scopes.is_empty();
        if request.resources.is_empty() && wishes {
            return Err(Refusal::ScopeExceedsResource.into());
        }
        let asked = Asked {
            view,
            application,
            acting,
            session: None,
            user: subject,
            signing_in: user,
            actor: acts.claims(),
            ceiling: Ceiling::default(),
            named: &named,
            scopes,
            met,
            exchange,
            for_gateway: false,
        };
        let decided = self.decide(&asked).await?;
        let sid = SessionId::mint(&*self.clock);
        let claims = Claims {
            aud: vec![self.issuer(view.zone.config.id)],
            scope: granted_scopes(&asked.scopes, &wish),
            target: decided.identifiers(),
            sid,
            root_sid: parent.as_ref().map_or(sid, |parent| parent.root_id),
            token_use: TokenUse::Session,
            sub,
            sub_type,
            auth_time: user.map(|user| user.authenticated_at.timestamp()),
            act: acts.act.clone(),
            event_id: None,
            ..self.claims(view, application, exchange.now, seconds)
        };
        let claims = asked.acting.claim(claims);
        let opening = Opening {
            row: session_row(&claims, parent.map(|parent| parent.id), exchange.now),
            event: self.session_event(view, application, &claims, exchange, decided.is_partial()),
        };
        self.settle(&asked, &decided, &claims, Some(opening)).await?;
        self.issue(view, claims, decided, seconds)
    }

    /// The subject session that the agent hangs on: what is bound to the agent ends with it.
    async fn parent_session(
        &self,
        view: &ZoneView,
        acting: &Acting,
        now: Timestamp,
    ) -> Result<Option<SessionRow>, Failure> {
        let Some(parent) = acting.agent.as_ref().and_then(|agent| agent.session.as_ref()) else {
            return Ok(None);
        };
        let found = self
            .stored(async {
                let mut conn = self.database.acquire_in(view.zone.config.id).await?;
                caracal_storage::sessions::find(&mut conn, view.zone.config.id, parent.id).await
            })
            .await?;
        let live = found.filter(|session| session.state(now) == SessionState::Active);
        Ok(Some(live.ok_or(Refusal::AgentNotLive)?))
    }

    /// Mandate class: no row; the record is the event.
    async fn mint(
        &self,
        view: &Arc<ZoneView>,
        application: &Arc<Application>,
        session: &LiveSession,
        acts: &Acts,
        exchange: &Exchange,
        for_gateway: bool,
    ) -> Result<Issued, Failure> {
        let request = &exchange.request;
        let subject = session.claims();
        if request.resources.is_empty() {
            return Err(Refusal::MissingResource.into());
        }
        if request.session_id.is_some_and(|sid| sid != subject.sid) {
            return Err(Refusal::SessionMismatch.into());
        }
        let user = (subject.sub_type == SubjectType::User).then_some(subject.sub.as_str());
        let acting = self
            .acting(view, application, Some(subject), user, exchange)
            .await?;
        let limits = [
            (remaining(application, exchange.now), Refusal::InvalidClient),
            (left(Some(subject), exchange.now), Refusal::SubjectTokenExpired),
            (left(acts.claims(), exchange.now), Refusal::ActorTokenExpired),
        ];
        let limits = limits.into_iter().chain(acting.limits(exchange.now));
        let seconds = lifetime(request.ttl_seconds, MANDATE_SECONDS, limits)?;
        let ceiling = Ceiling::of(subject, |target| self.name_of(view, target));
        let named = self.named(view, &request.resources);
        let known = known(&named);
        let scopes = wished(request.scopes.as_ref(), acting.scopes(), &ceiling, &known);
        let showing = Showing {
            view,
            application,
            session: Some(subject),
            user,
            acting: &acting,
            named: &named,
            scopes: &scopes,
            exchange,
        };
        let met = self.met(&showing).await?;
        let asked = Asked {
            view,
            application,
            acting,
            session: Some(subject),
            user,
            signing_in: None,
            actor: acts.claims(),
            ceiling,
            named: &named,
            scopes,
            met,
            exchange,
            for_gateway,
        };
        let decided = self.decide(&asked).await?;
        let identifiers = decided.identifiers();
        let claims = Claims {
            aud: identifiers.iter().map(ToString::to_string).collect(),
            scope: asked.scopes.clone(),
            target: identifiers,
            sid: subject.sid,
            root_sid: subject.root_sid,
            token_use: TokenUse::Resource,
            sub: subject.sub.clone(),
            sub_type: subject.sub_type,
            auth_time: subject.auth_time,
            act: acts.act.clone(),
            event_id: decided.granted.first().map(|granted| granted.event_id),
            ..self.claims(view, application, exchange.now, seconds)
        };
        let claims = asked.acting.claim(claims);
        self.settle(&asked, &decided, &claims, None).await?;
        self.issue(view, claims, decided, seconds)
    }

    /// The claims every token of ours has; the classes fill in the rest.
    fn claims(&self, view: &ZoneView, application: &Application, now: Timestamp, seconds: i64) -> Claims {
        let zone = view.zone.config.id;
        let unset = SessionId::from(uuid::Uuid::nil());
        Claims {
            iss: self.issuer(zone),
            sub: String::new(),
            aud: Vec::new(),
            exp: now.timestamp() + seconds,
            iat: now.timestamp(),
            nbf: now.timestamp(),
            jti: TokenId::mint(&*self.clock),
            zone_id: zone,
            client_id: application.id,
            scope: ScopeSet::default(),
            sid: unset,
            root_sid: unset,
            token_use: TokenUse::Session,
            sub_type: SubjectType::Application,
            target: Vec::new(),
            epoch: view.epoch,
            event_id: None,
            auth_time: None,
            act: None,
            agent_session_id: None,
            delegation_edge_id: None,
            source_session_id: None,
            target_session_id: None,
            delegation_path: Vec::new(),
            delegation_chain: Vec::new(),
            hop_count: None,
            delegation_graph_epoch: None,
            actions: Vec::new(),
        }
    }

    fn issue(
        &self,
        view: &ZoneView,
        claims: Claims,
        decided: Decided,
        seconds: i64,
    ) -> Result<Issued, Failure> {
        let access_token = view.zone.signer.sign(&claims)?;
        self.shadow.observe(decided.shadowed);
        Ok(Issued {
            access_token,
            expires_in: seconds,
            scope: claims.scope,
            targets: decided.granted,
            epoch: view.epoch,
        })
    }
}

fn known(named: &[Named]) -> Vec<Arc<Resource>> {
    named.iter().filter_map(|named| named.resource.clone()).collect()
}

fn session_row(claims: &Claims, parent: Option<SessionId>, now: Timestamp) -> NewSession {
    NewSession {
        id: claims.sid,
        zone_id: claims.zone_id,
        session_type: claims.sub_type,
        subject_id: claims.sub.clone(),
        application_id: claims.client_id,
        parent_id: parent,
        root_id: claims.root_sid,
        scopes: claims.scope.clone(),
        target: claims.target.clone(),
        agent_session_id: claims.agent_session_id,
        authenticated_at: claims
            .auth_time
            .and_then(|at| chrono::DateTime::from_timestamp(at, 0))
            .unwrap_or(now),
        expires_at: now + chrono::Duration::seconds(claims.exp - claims.iat),
        created_at: now,
        epoch: claims.epoch,
    }
}

/// What is left of a token that others hang on.
fn left(token: Option<&Claims>, now: Timestamp) -> i64 {
    token.map_or(i64::MAX, |claims| claims.exp - now.timestamp())
}

/// A DCR application's tokens never outlive it.
fn remaining(application: &Application, now: Timestamp) -> i64 {
    application
        .expires_at
        .map_or(i64::MAX, |end| (end - now).num_seconds())
}

/// The scopes decided, and the platform's own if it was asked for.
fn granted_scopes(decided: &ScopeSet, wish: &ScopeSet) -> ScopeSet {
    decided
        .iter()
        .chain(wish.iter().filter(|scope| Scope::is_agent_lifecycle(scope)))
        .cloned()
        .collect()
}
