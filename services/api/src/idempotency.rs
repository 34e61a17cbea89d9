//! `Idempotency-Key` (contract §1, "Concurrency"): a repeated POST is answered as the first time and done once.
//!
//! Handlers know nothing of it. Whoever is admitted to write (`actor.rs`) takes the lease of the key, the record of the
//! deed (`change.rs`) keeps the answer in the deed's own transaction, and a lease under which nothing was done is given
//! back with the answer (`attempt.rs`), or by itself when nobody is left to answer ([`Held`]). The relay sweeps what has
//! expired; an expired key is also taken over by whoever uses it.

use crate::actor::rest;
use crate::app::Api;
use crate::error::{Failure, Refusal};
use crate::reply::etag;
use crate::sight::{Sight, Store};
use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use caracal_domain::Epoch;
use caracal_domain::id::ZoneId;
use caracal_storage::Conn;
use caracal_storage::idempotency::{self, Claim, Earlier, Key, Lease};
use caracal_web::body::{MAX_BODY_BYTES, too_large};
use caracal_web::{ApiError, finish, to_completion, zone_epoch};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// As long as a lease lasts, which ends by itself then.
const RELEASES: usize = 60;
const BETWEEN_RELEASES: Duration = Duration::from_secs(1);
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A lease that the request and its deed hold, and whether the deed has kept an answer. A caller who hangs up takes the
/// request with them, so the last holder to go gives back what nobody has.
#[derive(Debug)]
pub(crate) struct Held {
    lease: Lease,
    database: Store,
    answered: AtomicBool,
    settled: AtomicBool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Acquire) {
            finish(release(self.database.clone(), self.lease.clone()));
        }
    }
}

/// What is kept of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(skip)]
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) epoch: Option<i64>,
    pub(crate) version: Option<i64>,
}

impl Held {
    const fn new(lease: Lease, database: Store) -> Self {
        Self {
            lease,
            database,
            answered: AtomicBool::new(false),
            settled: AtomicBool::new(false),
        }
    }

    /// The request is answered: with what a deed has kept, or else the key is free before the answer leaves.
    pub(crate) async fn settle(self: Arc<Self>, is_error: bool) {
        if !is_error && self.answered.load(Ordering::Acquire) {
            self.settled.store(true, Ordering::Release);
            return;
        }
        let given_back = async move {
            release(self.database.clone(), self.lease.clone()).await;
            self.settled.store(true, Ordering::Release);
        };
        // Also when the caller hangs up meanwhile.
        to_completion(given_back).await;
    }

    /// Keeps the answer in the transaction of the deed; only the first deed of a request has one.
    pub(crate) async fn complete(&self, tx: &mut Conn, answer: &Answer) -> Result<(), Failure> {
        if self.answered.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let kept = serde_json::to_value(answer).map_err(|_| Failure::Fault("keeping an answer"))?;
        if idempotency::complete(tx, &self.lease, answer.status.into(), &kept).await? {
            Ok(())
        } else {
            Err(Refusal::IdempotencyKeyInFlight.into())
        }
    }
}

/// Gives the lease back if nothing was done under it: an answer that was committed stays. When the database cannot be
/// asked, it goes on trying without the caller.
async fn release(database: Store, lease: Lease) {
    let Err(error) = try_release(&database, &lease).await else {
        return;
    };
    let cause: &(dyn std::error::Error + 'static) = &error;
    tracing::warn!(
        error = cause,
        "an idempotency key stays leased until the database is back"
    );
    finish(async move {
        for _ in 0..RELEASES {
            tokio::time::sleep(BETWEEN_RELEASES).await;
            if try_release(&database, &lease).await.is_ok() {
                return;
            }
        }
    });
}

async fn try_release(database: &Store, lease: &Lease) -> caracal_storage::Result<()> {
    let mut conn = database.acquire(Sight::Everything).await?;
    idempotency::release(&mut conn, lease).await
}

/// The key of this request, if it is a POST that has one; on any other it means nothing.
pub(crate) fn key_of(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    if request.method() != Method::POST {
        return Ok(None);
    }
    let mut values = request.headers().get_all(KEY);
    let refused = || ApiError::from(Refusal::InvalidIdempotencyKey);
    let key = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().map_err(|_| refused())?,
        (Some(_), Some(_)) => return Err(refused()),
    };
    let printable = |b: u8| (b' '..=b'~').contains(&b);
    if !(1..=255).contains(&key.len()) || !key.bytes().all(printable) {
        return Err(refused());
    }
    Ok(Some(key.to_owned()))
}

/// Whose key it is.
pub(crate) enum Owner {
    /// This administrator's.
    Actor(String),
    /// Whoever's who can send this body: it holds what they prove themselves with (an invitation's token).
    Bearer,
}

/// Takes the lease of a key once the rest of the request is understood; who came second is answered here.
pub(crate) async fn admit<R: FromRequest>(
    api: &Data<Api>,
    (owner, zone, key): (Owner, Option<ZoneId>, String),
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<(Arc<Held>, R), Error> {
    let body = buffer(payload).await?;
    let again = stream::iter([Ok::<_, PayloadError>(body.clone())]);
    let mut payload: Payload = Payload::Stream {
        payload: again.boxed_local(),
    };
    let rest = rest(request, &mut payload).await?;
    let route = route_of(request);
    let body = canonical(&body);
    let actor = match owner {
        Owner::Actor(name) => name,
        Owner::Bearer => format!("bearer:{}", hex::encode(api.bodies.sign(&body))),
    };
    let key = Key {
        actor,
        route,
        key,
        zone,
    };
    let api = api.clone();
    // Whoever hangs up now must not leave a lease that nobody knows of.
    let lease = to_completion(async move { api.lease(key, &body).await });
    let held = Arc::new(lease.await.map_err(Error::from)?);
    request.extensions_mut().insert(Arc::clone(&held));
    Ok((held, rest))
}

impl Api {
    async fn lease(&self, key: Key, body: &[u8]) -> Result<Held, Second> {
        let mut conn = self
            .database
            .acquire(Sight::Everything)
            .await
            .map_err(Failure::from)?;
        let fingerprint = self.bodies.sign(body);
        match idempotency::claim(&mut conn, key, &fingerprint)
            .await
            .map_err(Failure::from)?
        {
            Claim::Held(lease) => Ok(Held::new(lease, self.database.clone())),
            Claim::Taken(earlier) if !self.bodies.matches(body, &earlier.body_hmac) => {
                Err(Failure::from(Refusal::IdempotencyKeyConflict).into())
            }
            Claim::Taken(earlier) => Err(answer_of(earlier)),
        }
    }
}

fn answer_of(earlier: Earlier) -> Second {
    let in_flight = || Second::Refused(Failure::from(Refusal::IdempotencyKeyInFlight).into());
    let kept = earlier
        .response
        .and_then(|kept| serde_json::from_value::<Answer>(kept).ok());
    let status = earlier.status.and_then(|status| u16::try_from(status).ok());
    match (status, kept) {
        (Some(status), Some(answer)) => Second::Replayed(Answer { status, ..answer }),
        _ => in_flight(),
    }
}

/// How somebody who came second is answered. It travels as an error because it ends the request before its handler.
#[derive(Debug)]
enum Second {
    Replayed(Answer),
    Refused(ApiError),
}

impl From<Failure> for Second {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure.into())
    }
}

impl From<Second> for Error {
    fn from(second: Second) -> Self {
        match second {
            Second::Refused(error) => error.into(),
            Second::Replayed(answer) => Again(answer).into(),
        }
    }
}

/// The first answer, again.
#[derive(Debug)]
struct Again(Answer);

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("answered as the first time")
    }
}

impl ResponseError for Again {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::OK)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut answer = HttpResponse::build(self.status_code());
        answer.insert_header((REPLAYED, HeaderValue::from_static("true")));
        // The first may have shown a secret, and then nobody kept it.
        answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(epoch) = self.0.epoch.map(Epoch::from) {
            answer.insert_header(zone_epoch(epoch));
        }
        if let Some(version) = self.0.version {
            answer.insert_header(etag(version));
        }
        answer.json(&self.0.body)
    }
}

/// The route, however its address was spelt.
fn route_of(request: &HttpRequest) -> String {
    let pattern = request.match_pattern().unwrap_or_default();
    let named = request.match_info().iter();
    let path = named.fold(pattern, |path, (name, value)| {
        path.replace(&format!("{{{name}}}"), value)
    });
    format!("{} {path}", request.method())
}

async fn buffer(payload: &mut Payload) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::invalid_body("", "The body ended early."))?;
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Equal JSON has equal bytes here: members sorted, no blanks. What is no JSON stands for itself.
fn canonical(body: &[u8]) -> Vec<u8> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return body.to_vec();
    };
    let mut text = String::with_capacity(body.len());
    write_sorted(&value, &mut text);
    text.into_bytes()
}

fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, inner) in members {
                // Writing to a String cannot fail.
                let _ = write!(text, "{}:", Value::from(name.as_str()));
                write_sorted(inner, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_sorted(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_json_is_canonically_equal() {
        let same = |a: &str, b: &str| canonical(a.as_bytes()) == canonical(b.as_bytes());
        assert!(same(
            r#"{"a": 1, "b": [true, {"d": null, "c": "x"}]}"#,
            r#"{"b":[true,{"c":"x","d":null}],"a":1}"#
        ));
        assert!(same(r#"{"a": "\u0041"}"#, r#"{"a":"A"}"#));
        assert!(!same(r#"{"a": 1}"#, r#"{"a": "1"}"#));
        assert!(!same(r#"{"a": ["x,", "y"]}"#, r#"{"a": ["x", ",y"]}"#));
        assert!(same("not json", "not json") && !same("not json", "not  json"));
    }
}
