//! Token exchange, the use-case: establish what was presented, narrow, decide, record, sign (RFC 8693; contract §2).
//!
//! The order of steps is the contract's: the first failure is the answer. Nothing is signed before its decision is on
//! record, and when warm nothing here reads the database.

use crate::app::Sts;
use crate::authenticate::Authenticated;
use crate::decide::Decided;
use crate::directive::Directive;
use crate::error::Failure;
use crate::form::TokenRequest;
use crate::subject::Provenance;
use crate::told::Told;
use crate::view::ZoneView;
use caracal_domain::clock::Timestamp;
use caracal_domain::id::{EventId, SessionId, TokenId};
use caracal_domain::zone::{Application, Resource};
use caracal_domain::{
    Claims, Epoch, Refusal, RequestId, ResourceIdentifier, ScopeSet, SubjectType, TokenUse,
};
use std::sync::{Arc, OnceLock};

mod mandate;
mod session;

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
        let mut view = self.knowing(&client, &exchange.request.resources).await?;
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

    /// A view that knows every named resource and a policy to decide by, if the database does. Whether there is a policy
    /// must be known: one that was activated a moment ago and is still being loaded is not the same as none.
    async fn knowing(
        &self,
        client: &Authenticated,
        resources: &[ResourceIdentifier],
    ) -> Result<Arc<ZoneView>, Failure> {
        let view = &client.view;
        let undecided = !resources.is_empty() && view.zone.config.active.is_none();
        if undecided {
            let confirmed = self.zones.confirm(view).await;
            return confirmed.ok_or_else(|| Refusal::StaleState.into());
        }
        if resources.iter().any(|asked| self.resource(view, asked).is_none()) {
            return Ok(self.zones.confirmed(view).await);
        }
        Ok(Arc::clone(view))
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
