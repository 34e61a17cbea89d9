//! Strict JSON bodies: 415, 413 and `400 invalid_body` with the place of each mistake.

use crate::error::{ApiError, Issue};
use crate::validation;
use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::web::BytesMut;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use validator::Validate;

/// The largest body the control plane takes (contract §1).
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

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
            parse(&bytes).map(Self)
        })
    }
}

/// The bytes of a JSON body, within [`MAX_BODY_BYTES`].
///
/// # Errors
/// 415 for another media type, 413 for too many bytes, 400 for a broken body.
pub async fn read(request: &HttpRequest, payload: Payload) -> Result<BytesMut, ApiError> {
    check_type(request)?;
    collect(request, payload).await
}

fn check_type(request: &HttpRequest) -> Result<(), ApiError> {
    if is_json(request.content_type()) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
    ))
}

async fn collect(request: &HttpRequest, mut payload: Payload) -> Result<BytesMut, ApiError> {
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
/// `400 invalid_body` with every issue that was found.
pub fn parse<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<T, ApiError> {
    refuse_nul(bytes)?;
    // serde would also fill a struct from an array, in the order of its fields.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::invalid_body("", "The body must be a JSON object."));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let body: T = serde_path_to_error::deserialize(&mut json).map_err(|error| misfit(&error))?;
    json.end()
        .map_err(|error| ApiError::invalid_body("", error.to_string()))?;
    validation::check(&body)?;
    Ok(body)
}

fn misfit(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    use serde_path_to_error::Segment;
    let path = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Value::from(*index)),
            Segment::Map { key } => Some(Value::from(key.as_str())),
            Segment::Enum { variant } => Some(Value::from(variant.as_str())),
            Segment::Unknown => None,
        })
        .collect();
    let issue = Issue {
        path,
        message: error.inner().to_string(),
        place: None,
    };
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_body").with_issue(issue)
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

/// `application/json` and every `+json` type (RFC 6839 §3.1).
fn is_json(media_type: &str) -> bool {
    let media_type = media_type.trim().to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large")
}
