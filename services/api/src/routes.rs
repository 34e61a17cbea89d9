//! The URL table, one line per endpoint.

use crate::{
    admin_token, application, audit, bootstrap, policy, policy_set, provider, resource, session, signing_key,
    template, zone,
};
use actix_web::web::ServiceConfig;
use caracal_web::endpoint;

/// Every endpoint but the probes.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(endpoint("/v1/policy-templates").get(template::list))
        .service(endpoint("/v1/local/bootstrap").post(bootstrap::bootstrap))
        .service(
            endpoint("/v1/admin-tokens")
                .get(admin_token::list)
                .post(admin_token::create),
        )
        .service(endpoint("/v1/admin-tokens/{id}").delete(admin_token::revoke))
        .service(endpoint("/v1/policies/validate").post(policy::validate))
        .service(endpoint("/v1/zones").get(zone::list).post(zone::create))
        .service(
            endpoint("/v1/zones/{zone_id}")
                .get(zone::item)
                .patch(zone::change)
                .delete(zone::archive),
        )
        .service(endpoint("/v1/zones/{zone_id}/dcr-status").get(zone::dcr_status))
        .service(endpoint("/v1/zones/{zone_id}/signing-keys").get(signing_key::list));
    of_zone(config);
}

fn of_zone(config: &mut ServiceConfig) {
    let at = |path: &str| endpoint(&format!("/v1/zones/{{zone_id}}/{path}"));
    config
        .service(
            at("applications")
                .get(application::list)
                .post(application::create),
        )
        .service(at("applications/dcr").post(application::register))
        .service(
            at("applications/{id}")
                .get(application::item)
                .patch(application::change)
                .delete(application::archive),
        )
        .service(at("applications/{id}/rotate-secret").post(application::rotate_secret))
        .service(at("resources").get(resource::list).post(resource::create))
        .service(
            at("resources/{id}")
                .get(resource::item)
                .patch(resource::change)
                .delete(resource::archive),
        )
        .service(at("providers").get(provider::list).post(provider::create))
        .service(
            at("providers/{id}")
                .get(provider::item)
                .patch(provider::change)
                .delete(provider::archive),
        )
        .service(at("policies").get(policy::list).post(policy::create))
        .service(at("policies/{id}").get(policy::item).delete(policy::archive))
        .service(at("policies/{id}/versions").post(policy::add_version))
        .service(at("policy-sets").get(policy_set::list).post(policy_set::create))
        .service(
            at("policy-sets/{id}")
                .get(policy_set::item)
                .delete(policy_set::archive),
        )
        .service(at("policy-sets/{id}/versions").post(policy_set::add_version))
        .service(at("policy-sets/{id}/versions/{version_id}").get(policy_set::version))
        .service(at("policy-sets/{id}/activate").post(policy_set::activate))
        .service(at("policy-sets/{id}/activation-status").get(policy_set::activation_status))
        .service(at("sessions").get(session::list))
        .service(at("sessions/{id}/revoke").post(session::revoke))
        .service(at("audit").get(audit::list))
        .service(at("audit/by-request/{request_id}").get(audit::by_request));
}
