//! `GET /v1/zones/{id}/signing-keys`.

use crate::actor::{InZone, Read};
use crate::app::Api;
use crate::error::Failure;
use actix_web::HttpResponse;
use actix_web::web::Data;
use caracal_domain::id::ZoneId;
use caracal_storage::keys::{self, SigningKeyRow};
use caracal_web::ApiError;
use serde_json::json;

/// `GET …/signing-keys`: every key the zone ever had, oldest first; never its private half.
pub(crate) async fn list(api: Data<Api>, request: InZone<Read>) -> Result<HttpResponse, ApiError> {
    let rows = api.signing_keys(request.zone.id).await?;
    let views = rows.iter().map(|key| {
        json!({
            "kid": key.id,
            "status": key.status,
            "created_at": key.created_at,
            "activates_at": key.activates_at,
            "retires_at": key.retires_at,
        })
    });
    Ok(HttpResponse::Ok().json(views.collect::<Vec<_>>()))
}

impl Api {
    async fn signing_keys(&self, zone: ZoneId) -> Result<Vec<SigningKeyRow>, Failure> {
        let mut conn = self.database.acquire().await?;
        Ok(keys::signing_keys(&mut conn, zone).await?)
    }
}
