//! Strict JSON bodies: 415, 413 and `400 invalid_body` with its place: of the first thing that does not fit, or else of
//! every rule that is broken.

use crate::error::{ApiError, Issue, Place};
use crate::validation;
use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use caracal_domain::strict_json;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use std::time::Duration;
use validator::Validate;

/// The largest body the control plane takes (contract §1).
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a JSON body, kept with the request for whoever tells how it ended.
#[derive(Debug, Clone)]
pub struct ReceivedBody(pub Bytes);

/// A JSON body, parsed and validated. `T` should refuse unknown fields.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T> JsonBody<T> {
    /// The body itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: DeserializeOwned + Validate> FromRequest for JsonBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move { parse(&read(&request, payload).await?).map(Self) })
    }
}

/// A JSON body that is looked at before it is parsed: where what it names decides who may send it.
#[derive(Debug)]
pub struct JsonBytes(Bytes);

impl JsonBytes {
    /// Whether the body is an object with one of these members, whatever its value.
    #[must_use]
    pub fn names_any(&self, members: &[&str]) -> bool {
        let named = |body: Value| members.iter().any(|member| body.get(member).is_some());
        serde_json::from_slice(&self.0).is_ok_and(named)
    }

    /// The body itself, as [`JsonBody`] has it.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn parse<T: DeserializeOwned + Validate>(&self) -> Result<T, ApiError> {
        parse(&self.0)
    }
}

impl FromRequest for JsonBytes {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move { read(&request, payload).await.map(Self) })
    }
}

/// A JSON body that may be left out: an empty one, whatever its type, means the defaults.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

impl<T: DeserializeOwned + Validate + Default> FromRequest for OptionalBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let bytes = collect(&request, payload).await?;
            if bytes.is_empty() {
                return Ok(Self(T::default()));
            }
            check_type(&request)?;
            parse(&received(&request, bytes)).map(Self)
        })
    }
}

/// The bytes of a JSON body, within [`MAX_BODY_BYTES`].
///
/// # Errors
/// 415 for another media type or an encoded body, 413 for too many bytes, 408 for one that does not arrive, 400 for a broken
/// body or none.
pub async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, ApiError> {
    let declared = request.headers().contains_key(header::CONTENT_TYPE);
    if declared {
        check_type(request)?;
    }
    let body = collect(request, payload).await?;
    // Nothing at all is of no type; it is refused for what it lacks.
    if !declared && !body.is_empty() {
        check_type(request)?;
    }
    Ok(received(request, body))
}

fn received(request: &HttpRequest, body: BytesMut) -> Bytes {
    let body = body.freeze();
    request.extensions_mut().insert(ReceivedBody(body.clone()));
    body
}

/// The media type, and that nothing was done to the body on the way (RFC 9110 §15.5.16).
fn check_type(request: &HttpRequest) -> Result<(), ApiError> {
    let encoded = request.headers().get(header::CONTENT_ENCODING);
    let plain = encoded.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let declared = request.headers().get(header::CONTENT_TYPE);
    let declared = declared.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if plain && is_json(declared) {
        return Ok(());
    }
    let refused = ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    Err(refused.with_detail("A body is `Content-Type: application/json`, in UTF-8 and not compressed."))
}

async fn collect(request: &HttpRequest, payload: Payload) -> Result<BytesMut, ApiError> {
    let arrived = tokio::time::timeout(BODY_PATIENCE, collected(request, payload)).await;
    arrived.unwrap_or_else(|_| Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout")))
}

async fn collected(request: &HttpRequest, mut payload: Payload) -> Result<BytesMut, ApiError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or(1024));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::invalid_body("", "The body ended early."))?;
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Parses and validates a JSON body.
///
/// # Errors
/// `400 invalid_body` with the first thing that is not of its type, is missing or unknown; when all fits, with every rule
/// that is broken.
pub fn parse<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<T, ApiError> {
    refuse_nul(bytes)?;
    // serde would also fill a struct from an array, in the order of its fields.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::invalid_body("", "The body must be a JSON object."));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let body: T = serde_path_to_error::deserialize(&mut json).map_err(|error| misfit(bytes, &error))?;
    json.end()
        .map_err(|error| ApiError::invalid_body("", plainly(&error.to_string())))?;
    // What is free of form is read into maps, which would keep the last of two.
    strict_json::check(bytes).map_err(|error| ApiError::invalid_body("", plainly(&error.to_string())))?;
    validation::check(&body)?;
    Ok(body)
}

fn misfit(bytes: &[u8], error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    use serde_path_to_error::Segment;
    // Where one of a few texts is wanted, serde takes anything else for a mistake of writing.
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    let unwritten = error.inner().is_syntax() && is_json;
    let said = if unwritten {
        "is not of its type".to_owned()
    } else {
        error.inner().to_string()
    };
    let mut path: Vec<Value> = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Value::from(*index)),
            Segment::Map { key } => Some(Value::from(key.as_str())),
            Segment::Enum { variant } => Some(Value::from(variant.as_str())),
            Segment::Unknown => None,
        })
        .collect();
    // What is not there has no path of its own.
    path.extend(absent_or_double(&said).map(Value::from));
    let issue = Issue {
        path,
        message: plainly(&said),
        place: place(error.inner()).filter(|_| !is_json),
    };
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_body").with_issue(issue)
}

/// Where text stops being JSON; of what is JSON the path says more.
fn place(error: &serde_json::Error) -> Option<Place> {
    let no_json = error.is_syntax() || error.is_eof();
    let number = |count: usize| u32::try_from(count).ok();
    no_json
        .then(|| {
            Some(Place {
                line: number(error.line())?,
                column: number(error.column())?,
            })
        })
        .flatten()
}

/// The field that serde misses, or has seen twice.
fn absent_or_double(said: &str) -> Option<&str> {
    let named = said
        .strip_prefix("missing field `")
        .or_else(|| said.strip_prefix("duplicate field `"))?;
    named.split_once('`').map(|(field, _)| field)
}

/// What serde says, without where in the bytes and without our names for types.
fn plainly(said: &str) -> String {
    let said = said
        .rsplit_once(" at line ")
        .filter(|(_, place)| place.split_once(" column ").is_some_and(are_numbers))
        .map_or(said, |(said, _)| said);
    let Some((got, wanted)) = said.rsplit_once(", expected ") else {
        return said.to_owned();
    };
    let ours = [
        ("struct ", "an object"),
        ("enum ", "one of its values"),
        ("internally tagged enum ", "an object"),
        ("adjacently tagged enum ", "an object"),
        ("tuple struct ", "a list"),
        ("unit struct ", "null"),
    ];
    let ours = ours.into_iter().find(|(kind, _)| wanted.starts_with(kind));
    let wanted = ours.map_or(wanted, |(_, plain)| plain);
    format!("{got}, expected {wanted}")
}

fn are_numbers((line, column): (&str, &str)) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number(line) && is_number(column)
}

/// PostgreSQL's text holds no U+0000, so neither may a body; otherwise it would fail as our fault.
fn refuse_nul(bytes: &[u8]) -> Result<(), ApiError> {
    const ESCAPED: &[u8] = br"\u0000";
    if !bytes.windows(ESCAPED.len()).any(|window| window == ESCAPED) {
        return Ok(());
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if holds_nul(&value) => Err(ApiError::invalid_body("", "A text holds U+0000.")),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, inner)| name.contains('\0') || holds_nul(inner)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `application/json` and every `+json` type (RFC 6839 §3.1), in UTF-8 if it says in what (RFC 8259 §8.1).
fn is_json(declared: &str) -> bool {
    let declared = declared.to_ascii_lowercase();
    let mut parts = declared.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let is_ours = |part: &str| match part.split_once('=') {
        Some(("charset", charset)) => matches!(charset.trim_matches('"'), "utf-8" | "utf8"),
        Some(_) | None => true,
    };
    let is_json = media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    is_json && parts.all(is_ours)
}

/// `413 payload_too_large`: contract §1, "Error envelope".
#[must_use]
pub fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large").with_detail("A body has at most 1 MiB.")
}
