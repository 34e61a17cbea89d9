//! The URL table of the STS.

use crate::error::post_only;
use crate::{discovery, internal, introspect, revoke, step_up, token};
use actix_web::web::ServiceConfig;
use caracal_web::{Endpoint, endpoint};

/// One line per endpoint.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(oauth("/oauth/2/token").post(token::exchange))
        .service(oauth("/zones/{zone_id}/oauth/2/token").post(token::exchange_in_zone))
        .service(oauth("/oauth/2/introspect").post(introspect::introspect))
        .service(oauth("/oauth/2/revoke").post(revoke::revoke))
        .service(endpoint("/.well-known/oauth-authorization-server/zones/{zone_id}").get(discovery::metadata))
        .service(endpoint("/zones/{zone_id}/.well-known/openid-configuration").get(discovery::metadata))
        .service(endpoint("/zones/{zone_id}/.well-known/jwks.json").get(discovery::jwks))
        .service(endpoint("/.well-known/jwks.json").get(discovery::jwks_by_query))
        .service(endpoint("/zones/{zone_id}/oauth/2/authorize").get(discovery::authorize))
        .service(endpoint("/step-up/{id}").get(step_up::poll))
        .service(endpoint("/internal/directives").post(internal::directive))
        .service(endpoint("/internal/credentials").post(internal::credential));
}

/// An endpoint that OAuth clients talk to: its errors are theirs, 405 included.
fn oauth(path: &str) -> Endpoint {
    endpoint(path).refusing(post_only)
}
