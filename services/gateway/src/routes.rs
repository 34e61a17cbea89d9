//! The URL table of the gateway: its own three pages, and everything else is a governed call.

use crate::passage::pass;
use crate::target::X_CARACAL_RESOURCE;
use crate::{error, metadata};
use actix_web::guard::GuardContext;
use actix_web::web::{self, ServiceConfig};
use caracal_lifecycle::ProbeSet;
use caracal_web::endpoint;

/// The gateway's own pages answer only calls that name no resource: with one, `/health` is the upstream's.
pub fn routes(config: &mut ServiceConfig, probes: &ProbeSet) {
    let own = web::scope("")
        .guard(|call: &GuardContext<'_>| is_own_page(call))
        .configure(|config| {
            probes.configure(config);
            let path = format!("{}{{below:.*}}", metadata::WELL_KNOWN);
            config.service(
                endpoint(&path)
                    .get(metadata::describe)
                    .refusing(error::wrong_method),
            );
        });
    config
        .service(own)
        .service(web::resource("{governed:.*}").to(pass));
}

fn is_own_page(call: &GuardContext<'_>) -> bool {
    let path = call.head().uri.path();
    !call.head().headers().contains_key(X_CARACAL_RESOURCE)
        && (matches!(path, "/health" | "/ready" | "/metrics") || metadata::is_here(path))
}
