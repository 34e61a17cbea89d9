//! What is around every handler: a refused attempt is recorded (contract §1, "Control-plane audit"), and an
//! idempotency key under which nothing was done is free again.

use crate::actor::Actor;
use crate::app::Api;
use crate::idempotency::Held;
use crate::refusals::{Ledger, Refused};
use crate::routes::{Route, TABLE};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};
use caracal_domain::RequestId;
use caracal_domain::id::ZoneId;
use caracal_lifecycle::trace::current_traceparent;
use caracal_web::{ApiError, source_address, to_completion};
use serde_json::json;
use std::sync::Arc;

/// Who tries, as far as it is known when the attempt ends; kept with the request.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// Who.
    pub(crate) actor: Actor,
    /// In whose ledger it belongs, if not the system zone's: the actor's own zone, or the one it was let into.
    pub(crate) zone: Option<ZoneId>,
}

/// Calls the handler and sees how it ended.
pub(crate) async fn watch(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let response = next.call(request).await?;
    let Some(api) = response.request().app_data::<Data<Api>>().cloned() else {
        return Ok(response);
    };
    let held = response.request().extensions().get::<Arc<Held>>().cloned();
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if let Some(held) = held.filter(|held| is_error || !held.is_answered()) {
        api.give_back(&held).await;
    }
    let refusal = response
        .status()
        .is_client_error()
        .then(|| refused(&api, &response));
    if let Some(refused) = refusal.flatten() {
        note(&api, refused).await;
    }
    Ok(response)
}

/// Of somebody known, in the spool before the answer leaves, as what is done is. Nobody waits for the record of a stranger.
async fn note(api: &Data<Api>, refused: Refused) {
    if matches!(refused.ledger, Ledger::Strangers(_)) {
        api.refusals.note(refused);
        return;
    }
    let api = api.clone();
    // Also when the caller hangs up meanwhile.
    to_completion(async move { api.record_refusal(refused).await }).await;
}

/// The record of a refusal, if it is one of an attempt: to change something, or to see what is not the caller's.
fn refused<B>(api: &Api, response: &ServiceResponse<B>) -> Option<Refused> {
    let request = response.request();
    let route = route_of(request.method().as_str(), &request.match_pattern()?)?;
    let status = response.status();
    let prying = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if route.method == "get" && !prying {
        return None;
    }
    let extensions = request.extensions();
    let attempt = extensions.get::<Attempt>();
    let source = source_address(request, &[]);
    let reason = response
        .response()
        .error()
        .and_then(|error| error.as_error::<ApiError>());
    Some(Refused {
        ledger: match attempt {
            None => Ledger::Strangers(source),
            Some(attempt) => attempt.zone.map_or(Ledger::System, Ledger::Zone),
        },
        what: route.deed(),
        request_id: extensions.get::<RequestId>()?.clone(),
        reason: reason.map_or("refused", ApiError::code),
        metadata: json!({
            "actor": attempt.map(|attempt| attempt.actor.name()),
            "method": request.method().as_str(),
            "path": request.path(),
            "object_id": request.match_info().get("id"),
            "status": status.as_u16(),
            "source": source.to_string(),
        }),
        at: api.clock.now(),
        trace: current_traceparent(),
    })
}

/// HEAD is answered by what answers GET.
fn route_of(method: &str, path: &str) -> Option<&'static Route> {
    let method = if method.eq_ignore_ascii_case("head") {
        "get"
    } else {
        method
    };
    TABLE
        .iter()
        .find(|route| route.path == path && route.method.eq_ignore_ascii_case(method))
}
