//! What verifiers and clients find out by themselves: keys (RFC 7517) and metadata (RFC 8414).

use crate::app::Sts;
use crate::error::{Failure, OAuthError};
use crate::view::ZoneView;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use caracal_domain::Refusal;
use caracal_domain::id::ZoneId;
use caracal_jose::ForeignAlgorithm;
use caracal_web::{ApiError, CurrentRequestId, QueryParams, zone_epoch};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use validator::Validate;

/// How applications prove themselves, at every endpoint that asks.
const CLIENT_METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

/// A zone's public keys.
///
/// # Errors
/// `404 zone_not_found`; 503 when the zone cannot be read.
pub async fn jwks(sts: Data<Sts>, zone: Path<String>) -> Result<HttpResponse, ApiError> {
    Ok(keys(&sts, &*find(&sts, &zone).await?))
}

/// Which zone's keys.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct ByZone {
    zone_id: String,
}

/// A zone's public keys, the zone in the query; 400 without it.
///
/// # Errors
/// `404 zone_not_found`; 503 when the zone cannot be read.
pub async fn jwks_by_query(sts: Data<Sts>, query: QueryParams<ByZone>) -> Result<HttpResponse, ApiError> {
    Ok(keys(&sts, &*find(&sts, &query.0.zone_id).await?))
}

fn keys(sts: &Sts, view: &ZoneView) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=300, must-revalidate"))
        .insert_header(zone_epoch(view.epoch))
        .json(&*view.jwks(sts.clock.now()))
}

/// A zone's authorization server metadata.
///
/// # Errors
/// `404 zone_not_found`; 503 when the zone cannot be read.
pub async fn metadata(sts: Data<Sts>, zone: Path<String>) -> Result<HttpResponse, ApiError> {
    let view = find(&sts, &zone).await?;
    let issuer = sts.issuer(view.zone.config.id);
    let algorithms = ForeignAlgorithm::ALL.map(ForeignAlgorithm::name);
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=300, must-revalidate"))
        .insert_header(zone_epoch(view.epoch))
        .json(json!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}/oauth/2/token"),
            "authorization_endpoint": format!("{issuer}/oauth/2/authorize"),
            "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
            "introspection_endpoint": sts.endpoint("/oauth/2/introspect"),
            "revocation_endpoint": sts.endpoint("/oauth/2/revoke"),
            "grant_types_supported": [crate::form::TOKEN_EXCHANGE, "client_credentials"],
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": CLIENT_METHODS,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint_auth_methods_supported": CLIENT_METHODS,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": CLIENT_METHODS,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })))
}

/// The authorization endpoint that stock MCP clients insist on finding in the metadata. Sign-in is built with the MCP
/// work; until then the answer is a plain 400, never a redirect (contract §2).
///
/// # Errors
/// Always [`Refusal::NotSupported`].
pub async fn authorize(id: CurrentRequestId) -> Result<HttpResponse, OAuthError> {
    Err(Failure::from(Refusal::NotSupported).answering(id.0))
}

async fn find(sts: &Sts, zone: &str) -> Result<Arc<ZoneView>, ApiError> {
    let absent = || ApiError::not_found("zone_not_found");
    let zone: ZoneId = zone.parse().map_err(|_| absent())?;
    match sts.zones.view(zone, None).await {
        Ok(found) => found.ok_or_else(absent),
        Err(Failure::Refused(Refusal::StaleState | Refusal::StoreUnavailable)) => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
        )),
        Err(Failure::Fault(fault)) => Err(ApiError::fault(&fault)),
        Err(failure) => Err(ApiError::unavailable(failure.reason())),
    }
}
