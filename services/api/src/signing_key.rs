//! `GET /v1/zones/{id}/signing-keys`.

use crate::actor::{InZone, Read};
use crate::app::Api;
use crate::error::Failure;
use crate::openapi::words::KeyStatusWord;
use actix_web::HttpResponse;
use actix_web::web::Data;
use caracal_domain::Timestamp;
use caracal_domain::id::{SigningKeyId, ZoneId};
use caracal_domain::zone::KeyStatus;
use caracal_storage::keys::{self, SigningKeyRow};
use caracal_web::ApiError;
use serde::Serialize;

/// A signing key as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SigningKeyView {
    kid: SigningKeyId,
    status: KeyStatus,
    created_at: Timestamp,
    activates_at: Option<Timestamp>,
    retires_at: Option<Timestamp>,
}

/// `GET …/signing-keys`: every key the zone ever had, oldest first; never its private half.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/signing-keys",
    responses((status = 200, body = [SigningKeyView]))
)]
pub(crate) async fn list(api: Data<Api>, request: InZone<Read>) -> Result<HttpResponse, ApiError> {
    let rows = api.signing_keys(request.zone.id).await?;
    let views = rows.iter().map(|key| SigningKeyView {
        kid: key.id,
        status: key.status,
        created_at: key.created_at,
        activates_at: key.activates_at,
        retires_at: key.retires_at,
    });
    Ok(HttpResponse::Ok().json(views.collect::<Vec<_>>()))
}

impl Api {
    async fn signing_keys(&self, zone: ZoneId) -> Result<Vec<SigningKeyRow>, Failure> {
        let mut conn = self.database.acquire().await?;
        Ok(keys::signing_keys(&mut conn, zone).await?)
    }
}
