//! What verifiers and clients find out by themselves: keys (RFC 7517) and metadata (RFC 8414).

use crate::app::Sts;
use crate::error::{Failure, OAuthError};
use crate::view::ZoneView;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Refusal;
use caracal_domain::id::ZoneId;
use caracal_jose::ForeignAlgorithm;
use caracal_web::{ApiError, CurrentRequestId, QueryParams, bearer, zone_epoch};
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
pub async fn jwks(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    zone: Path<String>,
) -> Result<HttpResponse, OAuthError> {
    let view = find(&sts, &request, &zone).await;
    Ok(keys(&sts, &*view.map_err(|failure| failure.answering(id.0))?))
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
pub async fn jwks_by_query(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    query: Result<QueryParams<ByZone>, ApiError>,
) -> Result<HttpResponse, OAuthError> {
    let view = match query {
        Ok(query) if !query.0.zone_id.is_empty() => find(&sts, &request, &query.0.zone_id).await,
        Ok(_) | Err(_) => Err(Refusal::MalformedRequest.into()),
    };
    Ok(keys(&sts, &*view.map_err(|failure| failure.answering(id.0))?))
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
pub async fn metadata(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    zone: Path<String>,
) -> Result<HttpResponse, OAuthError> {
    let view = find(&sts, &request, &zone).await;
    let view = view.map_err(|failure| failure.answering(id.0))?;
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

async fn find(sts: &Sts, request: &HttpRequest, zone: &str) -> Result<Arc<ZoneView>, Failure> {
    const ABSENT: Failure = Failure::NotFound("zone_not_found");
    let zone: ZoneId = zone.parse().map_err(|_| ABSENT)?;
    // A gateway asks for many callers, and waits behind no stranger.
    let is_gateway = bearer(request).is_some_and(|key| sts.gateway(&key.to_owned().into()).is_ok());
    let found = if is_gateway {
        sts.zones.view(zone, None).await
    } else {
        sts.zone_named(zone).await
    };
    found?.ok_or(ABSENT)
}
