//! A JSON body that may be left out: an empty one means the defaults.

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, TRANSFER_ENCODING};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use caracal_web::{ApiError, body};
use futures::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use validator::Validate;

/// What the body says, or the default when there is none.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Validate + Default> FromRequest for OptionalBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            if !announces_body(&request) {
                return Ok(Self(T::default()));
            }
            let bytes = body::read(&request, payload).await?;
            if bytes.is_empty() {
                return Ok(Self(T::default()));
            }
            body::parse(&bytes).map(Self)
        })
    }
}

/// A request with neither a type, nor a length, nor chunks has no body (RFC 9112 §6.3).
fn announces_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let has_length = headers
        .get(actix_web::http::header::CONTENT_LENGTH)
        .is_some_and(|length| length.as_bytes() != b"0");
    has_length || headers.contains_key(TRANSFER_ENCODING) || {
        headers.contains_key(CONTENT_TYPE) && !request.content_type().is_empty()
    }
}
