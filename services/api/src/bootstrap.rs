//! `POST /v1/local/bootstrap`: something to try at once, on a developer's machine only.

mod plant;
mod rule;

use crate::actor::{Everywhere, Govern};
use crate::app::Api;
use crate::error::Refusal;
use crate::reply;
use crate::text::or_default;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_web::{ApiError, OptionalBody, to_completion};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use validator::Validate;

pub(crate) use plant::{RESOURCE, SCOPE};

/// The body, which may be absent.
#[derive(Debug, Default, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BootstrapBody {
    #[serde(default, deserialize_with = "or_default")]
    force: bool,
}

/// What the bootstrap leaves.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct BootstrapView<'a> {
    zone_id: ZoneId,
    app_id: ApplicationId,
    application_id: ApplicationId,
    /// In the answer that makes it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_client_secret: Option<&'a str>,
    resource: &'a str,
    scope: &'a str,
    rotated: bool,
    signing_key_resealed: bool,
}

impl BootstrapView<'_> {
    fn of(zone: ZoneId, application: ApplicationId, rotated: bool) -> Self {
        Self {
            zone_id: zone,
            app_id: application,
            application_id: application,
            app_client_secret: None,
            resource: RESOURCE,
            scope: SCOPE,
            rotated,
            signing_key_resealed: rotated,
        }
    }
}

/// Makes a zone to try things in.
///
/// A zone `local` with an application, a resource and an active policy. Again makes what became of it whole, and
/// changes nothing else but, with `force`, the secret. Only where it is switched on, which is never in production.
#[utoipa::path(
    post, path = "/v1/local/bootstrap",
    request_body = Option<BootstrapBody>,
    responses((status = 200, body = BootstrapView), (status = 201, body = BootstrapView), (status = 404))
)]
pub(crate) async fn bootstrap(
    api: Data<Api>,
    request: Everywhere<Govern, OptionalBody<BootstrapBody>>,
) -> Result<HttpResponse, ApiError> {
    if !api.local_bootstrap {
        return Err(Refusal::NotFound.into());
    }
    let (by, OptionalBody(BootstrapBody { force })) = (request.by, request.rest);
    let planted = to_completion(async move { api.bootstrap(&by, force).await }).await?;
    let status = if planted.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let body = BootstrapView {
        app_client_secret: planted.secret.as_ref().map(ExposeSecret::expose_secret),
        ..BootstrapView::of(planted.zone, planted.application, planted.rotated)
    };
    Ok(reply::written(status, planted.epoch)
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body))
}
