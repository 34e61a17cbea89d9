//! One governed call from its first header to its last byte: admit → authenticate → decide → record → forward →
//! finish. Each phase is one file and one function; the first that says no ends the call. Up to its record a call is
//! refused, and the refusal is its one `gateway_request`; from then on it has ended, and that is its one
//! `gateway_response`.

mod admit;
mod authenticate;
mod decide;
mod finish;
mod forward;
mod record;

pub(crate) use finish::Ending;

use crate::app::Gateway;
use crate::call::Call;
use crate::error::Refused;
use crate::passage::admit::Admitted;
use crate::passage::decide::Decided;
use crate::sts_client::Asking;
use crate::target::Target;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Clock;
use caracal_domain::id::{EventId, TokenId};
use caracal_jose::Verified;
use caracal_web::{CurrentRequestId, MinEpoch, to_completion};
use serde_json::{Value, json};
use std::time::Instant;

/// A call on its way, and what has become known of it for the ledger.
pub(crate) struct Passage {
    /// The id of its admission's event.
    pub(crate) id: EventId,
    pub(crate) started: Instant,
    pub(crate) call: Call,
    pub(crate) target: Option<Target>,
    /// Set when the bearer has been authenticated.
    pub(crate) token: Option<Verified>,
    /// What the ledger calls the resource.
    pub(crate) resource: Option<String>,
    /// The normalised path, once it is known to be safe.
    pub(crate) path: Option<String>,
    /// The mandate that is used.
    pub(crate) jti: Option<TokenId>,
    /// The event of the decision behind it.
    pub(crate) decision: Option<EventId>,
    pub(crate) upstream_host: Option<String>,
}

impl Passage {
    pub(crate) fn begin(call: Call, clock: &dyn Clock) -> Self {
        Self {
            id: EventId::mint(clock),
            started: Instant::now(),
            call,
            target: None,
            token: None,
            resource: None,
            path: None,
            jti: None,
            decision: None,
            upstream_host: None,
        }
    }

    /// On whose behalf the STS is asked.
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking {
            request_id: Some(&self.call.request_id),
            at_least: self.call.min_epoch.ok().flatten(),
        }
    }

    /// What the ledger keeps of it, whatever becomes of it. The query is left out: it may hold anything.
    pub(crate) fn metadata(&self) -> Value {
        let claims = self.token.as_ref().map(Verified::claims);
        json!({
            "application_id": claims.map(|claims| claims.client_id),
            "session_id": claims.map(|claims| claims.sid),
            "subject_id": claims.map(|claims| &claims.sub),
            "resource": self.resource,
            "method": self.call.method.as_str(),
            "path": self.path,
            "jti": self.jti,
            "decision_event_id": self.decision,
            "upstream_host": self.upstream_host,
            "source": self.call.source,
        })
    }
}

/// Every call that is not one of the gateway's own pages.
pub async fn pass(
    gateway: Data<Gateway>,
    request: HttpRequest,
    id: CurrentRequestId,
    min_epoch: MinEpoch,
    payload: Payload,
) -> HttpResponse {
    let call = match Call::read(&request, id.0.clone(), min_epoch, &gateway.trusted_proxies) {
        Ok(call) => call,
        Err(refusal) => {
            let source = caracal_web::source_address(&request, &gateway.trusted_proxies);
            let what = json!({"source": source});
            gateway.strangers.note(source, &id.0, refusal.reason(), what);
            return Refused::from(refusal).answer(&id.0, &gateway.metadata_url(None));
        }
    };
    let asked = to_completion(ask(gateway.clone(), call));
    match asked.await {
        Ok(passed) => Box::pin(forward::forward(&gateway, *passed, payload)).await,
        Err(refused) => {
            let (passage, refused) = *refused;
            finish::answer(&gateway, &passage, &refused)
        }
    }
}

/// A call that is admitted, and on record as such.
struct Passed {
    passage: Passage,
    admitted: Admitted,
    decided: Decided,
    ending: Ending,
}

/// The first half of a call's life. It comes to its end, and into the ledger, even if the caller has gone by then.
async fn ask(gateway: Data<Gateway>, call: Call) -> Result<Box<Passed>, Box<(Passage, Refused)>> {
    let mut passage = Passage::begin(call, &*gateway.clock);
    match Box::pin(until_recorded(&gateway, &mut passage)).await {
        Ok((admitted, decided, ending)) => Ok(Box::new(Passed {
            passage,
            admitted,
            decided,
            ending,
        })),
        Err(refused) => {
            finish::refuse(&gateway, &passage, &refused);
            Err(Box::new((passage, refused)))
        }
    }
}

async fn until_recorded(
    gateway: &Data<Gateway>,
    passage: &mut Passage,
) -> Result<(Admitted, Decided, Ending), Refused> {
    let admitted = admit::admit(passage)?;
    let token = authenticate::authenticate(gateway, passage, &admitted).await?;
    let decided = Box::pin(decide::decide(gateway, passage, &admitted, token)).await?;
    let ending = Box::pin(record::record(gateway, passage, &decided)).await?;
    Ok((admitted, decided, ending))
}
