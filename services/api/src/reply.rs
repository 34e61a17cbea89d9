//! How objects are answered: with their version as `ETag`, and writes with their zone's epoch.

use crate::error::{Failure, Refusal};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, HeaderValue, IF_MATCH};
use actix_web::{FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder};
use caracal_domain::Epoch;
use caracal_web::zone_epoch;
use serde::Serialize;
use std::convert::Infallible;
use std::future::{Ready, ready};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

/// `200` with an object.
pub(crate) fn item<V: Serialize>(view: &V, version: i64) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(version)).json(view)
}

/// `201` with a new object.
pub(crate) fn created<V: Serialize>(view: &V, version: i64, epoch: Epoch) -> HttpResponse {
    HttpResponse::Created()
        .insert_header(etag(version))
        .insert_header(zone_epoch(epoch))
        .json(view)
}

/// `200` with a changed object.
pub(crate) fn changed<V: Serialize>(view: &V, version: i64, epoch: Epoch) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(etag(version))
        .insert_header(zone_epoch(epoch))
        .json(view)
}

/// `204` for an archived object.
pub(crate) fn gone(epoch: Epoch) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header(zone_epoch(epoch))
        .finish()
}

/// Another status, with the epoch.
pub(crate) fn written(status: StatusCode, epoch: Epoch) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(status);
    builder.insert_header(zone_epoch(epoch));
    builder
}

/// An object's version.
pub(crate) fn etag(version: i64) -> (actix_web::http::header::HeaderName, String) {
    (ETAG, format!("\"{version}\""))
}

/// What `If-Match` asks for (RFC 9110 §13.1.1); absent asks for nothing.
#[derive(Debug, Clone)]
pub(crate) struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// Refuses when the object's version is none of those named.
    pub(crate) fn check(&self, version: i64) -> Result<(), Failure> {
        let Some(tags) = &self.0 else { return Ok(()) };
        let wanted = format!("\"{version}\"");
        // `*` is the whole of the field, never one of its tags.
        let any = matches!(tags.as_slice(), [only] if only == "*");
        if any || tags.contains(&wanted) {
            Ok(())
        } else {
            Err(Refusal::VersionConflict.into())
        }
    }
}

impl utoipa::IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let parameter = ParameterBuilder::new()
            .name("If-Match")
            .parameter_in(ParameterIn::Header)
            .description(Some("Only if the object still has this ETag."))
            .schema(Some(text));
        vec![parameter.build()]
    }
}

impl FromRequest for IfMatch {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let tags = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let all: Vec<String> = request.headers().get_all(IF_MATCH).map(tags).collect();
        let split = |value: &String| {
            value
                .split(',')
                .map(|tag| tag.trim().to_owned())
                .collect::<Vec<_>>()
        };
        ready(Ok(Self(
            (!all.is_empty()).then(|| all.iter().flat_map(split).collect()),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_names_a_version_any_or_nothing() {
        let tags = |tags: &[&str]| IfMatch(Some(tags.iter().map(|t| (*t).to_owned()).collect()));
        assert!(IfMatch(None).check(3).is_ok());
        assert!(tags(&["*"]).check(3).is_ok());
        assert!(tags(&["\"1\"", "\"3\""]).check(3).is_ok());
        for other in [
            tags(&["\"2\""]),
            tags(&["W/\"3\""]),
            tags(&["3"]),
            tags(&[]),
            tags(&["*", "\"2\""]),
        ] {
            assert!(other.check(3).is_err(), "{other:?}");
        }
    }
}
