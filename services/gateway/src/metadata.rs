//! Protected-resource metadata (RFC 9728), by which an unmodified client finds the STS from a 401.

use crate::app::Gateway;
use crate::error;
use crate::target::{Place, Target};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_web::CurrentRequestId;
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

/// Whether a path is one of the metadata's.
#[must_use]
pub fn is_here(path: &str) -> bool {
    path.strip_prefix(WELL_KNOWN)
        .is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// `GET /.well-known/oauth-protected-resource[/…]`: the gateway as a whole, which belongs to no zone; or the resource whose
/// address here is `/r/{zone_id}/{resource_id}`, for whatever lies at or below that. Whether it exists is not told to
/// strangers. What is neither is a 404.
pub async fn describe(gateway: Data<Gateway>, request: HttpRequest, id: CurrentRequestId) -> HttpResponse {
    let below = request.path().strip_prefix(WELL_KNOWN).unwrap_or_default();
    let about = match below {
        "" | "/" => json!({"resource": gateway.public_url, "bearer_methods_supported": ["header"]}),
        address => match Place::split(address) {
            // A client asks by the address that it calls (RFC 9728 §3.1), and names to the STS what it is told here.
            Some((place, _)) => json!({
                "resource": format!("{}{}", gateway.public_url, place.path()),
                "authorization_servers": [gateway.issuer(place.zone)],
                "bearer_methods_supported": ["header"],
            }),
            None => return error::unknown(&id.0),
        },
    };
    HttpResponse::Ok().json(about)
}
