//! `POST /v1/local/bootstrap`: something to try at once, on a developer's machine only.

mod plant;

use crate::actor::{Everywhere, Govern};
use crate::app::Api;
use crate::error::Refusal;
use crate::reply;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse};
use caracal_web::{ApiError, JsonBody, to_completion};
use futures::future::LocalBoxFuture;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use validator::Validate;

pub(crate) use plant::{RESOURCE, SCOPE};

/// The body, which may be absent.
#[derive(Debug, Default, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BootstrapBody {
    force: bool,
}

/// A JSON body, or none at all.
pub(crate) struct Perhaps(BootstrapBody);

impl FromRequest for Perhaps {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if !request.headers().contains_key(CONTENT_TYPE) {
            return Box::pin(async { Ok(Self(BootstrapBody::default())) });
        }
        let body = JsonBody::<BootstrapBody>::from_request(request, payload);
        Box::pin(async move { Ok(Self(body.await?.into_inner())) })
    }
}

/// `POST /v1/local/bootstrap`: a zone `local` with an application, a resource and an active policy. Again changes
/// nothing but, with `force`, the secret.
pub(crate) async fn bootstrap(
    api: Data<Api>,
    request: Everywhere<Govern, Perhaps>,
) -> Result<HttpResponse, ApiError> {
    if !api.local_bootstrap {
        return Err(Refusal::NotFound.into());
    }
    let (by, Perhaps(BootstrapBody { force })) = (request.by, request.rest);
    let planted = to_completion(async move { api.bootstrap(&by, force).await }).await?;
    let status = if planted.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut body = json!({
        "zone_id": planted.zone,
        "app_id": planted.application,
        "application_id": planted.application,
        "resource": RESOURCE,
        "scope": SCOPE,
        "rotated": planted.rotated,
        "signing_key_resealed": planted.rotated,
    });
    if let (Some(secret), Some(object)) = (&planted.secret, body.as_object_mut()) {
        object.insert("app_client_secret".to_owned(), json!(secret.expose_secret()));
    }
    Ok(reply::written(status, planted.epoch)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body))
}
