//! The URL table of the STS.

use crate::error::wrong_method;
use crate::{discovery, internal, introspect, revoke, step_up, token};
use actix_web::web::ServiceConfig;
use caracal_web::{Endpoint, endpoint};

/// One line per endpoint.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(at("/oauth/2/token").post(token::exchange))
        .service(at("/zones/{zone_id}/oauth/2/token").post(token::exchange_in_zone))
        .service(at("/oauth/2/introspect").post(introspect::introspect))
        .service(at("/oauth/2/revoke").post(revoke::revoke))
        .service(at("/.well-known/oauth-authorization-server/zones/{zone_id}").get(discovery::metadata))
        .service(at("/zones/{zone_id}/.well-known/openid-configuration").get(discovery::metadata))
        .service(at("/zones/{zone_id}/.well-known/jwks.json").get(discovery::jwks))
        .service(at("/.well-known/jwks.json").get(discovery::jwks_by_query))
        .service(at("/zones/{zone_id}/oauth/2/authorize").get(discovery::authorize))
        .service(at("/step-up/{id}").get(step_up::poll))
        .service(at("/internal/directives").post(internal::directive))
        .service(at("/internal/credentials").post(internal::credential));
}

/// An endpoint whose errors have one shape, 405 included.
fn at(path: &str) -> Endpoint {
    endpoint(path).refusing(wrong_method)
}
