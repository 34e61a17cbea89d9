//! Protected-resource metadata (RFC 9728), by which an unmodified client finds the STS from a 401.

use crate::app::Gateway;
use crate::target::{Place, Target};
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use caracal_web::ApiError;
use serde_json::json;

/// Where metadata is served; the resource's own path follows it (RFC 9728 §3.1).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

impl Gateway {
    /// Where metadata about what a call named is served.
    #[must_use]
    pub fn metadata_url(&self, target: Option<&Target>) -> String {
        let path = target
            .and_then(|target| target.place)
            .map(|place| place.path())
            .unwrap_or_default();
        format!("{}{WELL_KNOWN}{path}", self.public_url)
    }
}

/// `GET /.well-known/oauth-protected-resource`: the gateway as a whole, which belongs to no zone.
pub async fn of_gateway(gateway: Data<Gateway>) -> HttpResponse {
    HttpResponse::Ok().json(json!({"resource": gateway.public_url, "bearer_methods_supported": ["header"]}))
}

/// `GET /.well-known/oauth-protected-resource/r/{zone_id}/{resource_id}`: one resource, named by its address here.
///
/// # Errors
/// 404 for what is not two ids. Whether the resource exists is not told to strangers.
pub async fn of_resource(
    gateway: Data<Gateway>,
    ids: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (zone, resource) = ids.into_inner();
    let missing = || ApiError::not_found("resource_not_found");
    let place = Place {
        zone: zone.parse().map_err(|_| missing())?,
        resource: resource.parse().map_err(|_| missing())?,
    };
    Ok(HttpResponse::Ok().json(json!({
        "resource": format!("{}{}", gateway.public_url, place.path()),
        "authorization_servers": [gateway.issuer(place.zone)],
        "bearer_methods_supported": ["header"],
    })))
}
