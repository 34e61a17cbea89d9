//! What is around every handler: a refused attempt is recorded (contract §1, "Control-plane audit"), and an
//! idempotency key under which nothing was done is free again.

mod shown;

use crate::actor::{self, Actor};
use crate::app::Api;
use crate::change::subjects_of;
use crate::connection::CALLBACK_PATH;
use crate::idempotency::Held;
use crate::refusals::{Ledger, Refused};
use crate::routes::{Route, TABLE};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};
use caracal_domain::RequestId;
use caracal_domain::id::ZoneId;
use caracal_lifecycle::trace::current_traceparent;
use caracal_web::{ApiError, ReceivedBody, source_address, to_completion};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Who tries, as far as it is known when the attempt ends; kept with the request.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// Who; `None` where a zone is known without one, as when a user comes back from a provider.
    pub(crate) actor: Option<Actor>,
    /// In whose ledger it belongs, if not the system zone's: the actor's own zone, or the one it was let into.
    pub(crate) zone: Option<ZoneId>,
    /// What else is known of it.
    pub(crate) about: Value,
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
    if let Some(held) = held {
        held.settle(is_error).await;
    }
    // What others are at fault for is an outcome too; of what is our own the log tells.
    let is_refusal = response.status().is_client_error() || response.status() == StatusCode::BAD_GATEWAY;
    if is_refusal && let Some(refused) = refused(&api, &response).await {
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
async fn refused<B>(api: &Data<Api>, response: &ServiceResponse<B>) -> Option<Refused> {
    let request = response.request();
    let status = response.status();
    let pattern = request.match_pattern();
    let route = pattern.and_then(|pattern| route_of(request.method().as_str(), &pattern));
    let prying = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    match route {
        // A provider sends users back by GET, to finish a deed.
        Some(route) if route.method == "get" && route.path != CALLBACK_PATH && !prying => return None,
        Some(_) => {}
        // Nothing answers there, so nobody has looked yet who asks.
        None if changes_something(request) => actor::identify(request).await,
        None => return None,
    }
    let extensions = request.extensions();
    let attempt = extensions.get::<Attempt>();
    let source = source_address(request, &[]);
    let reason = response
        .response()
        .error()
        .and_then(|error| error.as_error::<ApiError>())
        .map(ApiError::code);
    let unanswered = match status {
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::NOT_FOUND => "not_found",
        _ => "refused",
    };
    let object = object_of(request).map(shown::segment);
    let mut metadata = object.map_or_else(Map::new, |object| {
        subjects_of(route.map_or("", Route::noun), object)
    });
    metadata.extend(members(json!({
        "actor": attempt.and_then(|attempt| attempt.actor.as_ref()).map(Actor::name),
        "method": request.method().as_str(),
        "path": shown::path(request.path()),
        "object_id": object,
        "status": status.as_u16(),
        "source": source.to_string(),
    })));
    metadata.extend(members(
        attempt.map(|attempt| attempt.about.clone()).unwrap_or_default(),
    ));
    // What somebody known wanted; strangers are asked for no body.
    let known = attempt.is_some_and(|attempt| attempt.actor.is_some());
    let body = extensions.get::<ReceivedBody>().filter(|_| known);
    if let Some(changes) = body.and_then(|ReceivedBody(body)| shown::attempted(body)) {
        metadata.insert("changes".to_owned(), changes.into());
    }
    Some(Refused {
        ledger: match attempt {
            None => Ledger::Strangers(source),
            Some(attempt) => attempt.zone.map_or(Ledger::System, Ledger::Zone),
        },
        what: route.map_or_else(|| "request.refused".to_owned(), Route::deed),
        request_id: extensions.get::<RequestId>()?.clone(),
        reason: reason.unwrap_or(unanswered),
        metadata: metadata.into(),
        at: api.clock.now(),
        trace: current_traceparent(),
    })
}

/// Whether a request that nothing answers is an attempt to change something of the API.
fn changes_something(request: &HttpRequest) -> bool {
    let looks = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(request.method());
    !looks && (request.path() == "/v1" || request.path().starts_with("/v1/"))
}

/// What the path names: an object in a zone, or the zone itself.
fn object_of(request: &HttpRequest) -> Option<&str> {
    let itself = || {
        let pattern = request.match_pattern()?;
        let zone = request.match_info().get("zone_id")?;
        pattern.ends_with("/{zone_id}").then_some(zone)
    };
    request.match_info().get("id").or_else(itself)
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
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
