//! Strict query parameters.

use crate::error::ApiError;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};

/// Query parameters. `T` should refuse unknown fields; a repeated parameter is refused by itself.
#[derive(Debug)]
pub struct QueryParams<T>(pub T);

impl<T: DeserializeOwned> FromRequest for QueryParams<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        request.extensions_mut().insert(Read);
        ready(parse(request.query_string()).map(Self))
    }
}

/// Left with a request whose query somebody looks at.
struct Read;

/// Refuses parameters that nobody looks at: `400 invalid_query`. Comes after the extractors.
///
/// # Errors
/// There is a query, and no [`QueryParams`] took it.
pub fn refuse_unread(request: &HttpRequest) -> Result<(), ApiError> {
    if request.query_string().is_empty() || request.extensions().contains::<Read>() {
        return Ok(());
    }
    Err(ApiError::invalid_query("This route takes no parameters."))
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    if query.contains("%00") {
        return Err(ApiError::invalid_query("A parameter holds U+0000."));
    }
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs)).map_err(|error| {
        let (path, said) = (error.path().to_string(), error.inner().to_string());
        // An unknown or repeated one is named already.
        let named = path == "." || said.contains(&format!("`{path}`"));
        ApiError::invalid_query(if named { said } else { format!("{path}: {said}") })
    })
}
