//! The URL table, one line per path. The server, the description (`openapi.rs`) and the sweeping tests read this one.

use crate::{
    admin_token, application, audit, bootstrap, connection, docs, grant, invitation, ledger, policy,
    policy_set, provider, resource, session, signing_key, step_up, subject, subject_issuer, template, zone,
};
use actix_web::web::ServiceConfig;
use caracal_web::endpoint;

/// One method of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The path, with `{name}` segments.
    pub path: &'static str,
    /// The method in lower case.
    pub method: &'static str,
    noun: &'static str,
    handler: &'static str,
    deed: Option<&'static str>,
}

impl Route {
    /// What it is about.
    pub(crate) const fn noun(&self) -> &'static str {
        self.noun
    }

    /// What the ledger calls it, done or refused: `<noun>.<verb>`, as the handler is called if the table says nothing else.
    pub(crate) fn deed(&self) -> String {
        if let Some(deed) = self.deed {
            return deed.to_owned();
        }
        let verb = if self.handler == "change" {
            "update"
        } else {
            self.handler
        };
        format!("{}.{verb}", self.noun)
    }
}

/// What is done beside the deed of a route, or by nobody's request.
const BESIDES: [&str; 2] = ["application.expire", "signing_key.retire"];

/// Whether the ledger knows a deed by this name.
pub(crate) fn is_deed(name: &str) -> bool {
    BESIDES.contains(&name) || TABLE.iter().any(|route| route.deed() == name)
}

macro_rules! named {
    () => {
        None
    };
    ($deed:literal) => {
        Some($deed)
    };
}

macro_rules! table {
    ($($path:literal => $($method:ident $noun:ident::$handler:ident $(as $deed:literal)?),+;)+) => {
        /// Every endpoint but the probes.
        pub fn routes(config: &mut ServiceConfig) {
            $(config.service(endpoint($path)$(.$method($noun::$handler))+);)+
        }

        /// The same as a list.
        pub const TABLE: &[Route] = &[$($(Route {
            path: $path,
            method: stringify!($method),
            noun: stringify!($noun),
            handler: stringify!($handler),
            deed: named!($($deed)?),
        }),+),+];

        /// What the handlers say of themselves.
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($($noun::$handler),+),+))]
        pub(crate) struct Described;
    };
}

table! {
    "/openapi.json" => get docs::openapi;
    "/docs" => get docs::page;
    "/docs/page.js" => get docs::script;
    "/docs/page.css" => get docs::style;
    "/.well-known/caracal-ledger-keys" => get ledger::keys;
    "/v1/policy-templates" => get template::list;
    "/v1/local/bootstrap" => post bootstrap::bootstrap as "local.bootstrap";
    "/v1/oauth/callback" => get connection::callback as "connection.create";
    "/v1/admin-tokens" => get admin_token::list, post admin_token::create;
    "/v1/admin-tokens/{id}" => get admin_token::item, delete admin_token::revoke;
    "/v1/invitations/accept" => post invitation::accept;
    "/v1/policies/validate" => post policy::validate;
    "/v1/zones" => get zone::list, post zone::create;
    "/v1/zones/{zone_id}" => get zone::item, patch zone::change, delete zone::archive;
    "/v1/zones/{zone_id}/dcr-status" => get zone::dcr_status;
    "/v1/zones/{zone_id}/signing-keys" => get signing_key::list;
    "/v1/zones/{zone_id}/signing-keys/rotate" => post signing_key::rotate;
    "/v1/zones/{zone_id}/applications" => get application::list, post application::create;
    "/v1/zones/{zone_id}/applications/dcr" => post application::register as "application.create";
    "/v1/zones/{zone_id}/applications/{id}" =>
        get application::item, patch application::change, delete application::archive;
    "/v1/zones/{zone_id}/applications/{id}/rotate-secret" => post application::rotate_secret;
    "/v1/zones/{zone_id}/resources" => get resource::list, post resource::create;
    "/v1/zones/{zone_id}/resources/{id}" => get resource::item, patch resource::change, delete resource::archive;
    "/v1/zones/{zone_id}/providers" => get provider::list, post provider::create;
    "/v1/zones/{zone_id}/providers/{id}" => get provider::item, patch provider::change, delete provider::archive;
    "/v1/zones/{zone_id}/providers/{id}/check" => post provider::check;
    "/v1/zones/{zone_id}/provider-connections" => get connection::list;
    "/v1/zones/{zone_id}/provider-connections/authorize" => post connection::authorize;
    "/v1/zones/{zone_id}/provider-connections/{id}" => get connection::item;
    "/v1/zones/{zone_id}/provider-connections/{id}/revoke" => post connection::revoke;
    "/v1/zones/{zone_id}/policies" => get policy::list, post policy::create;
    "/v1/zones/{zone_id}/policies/{id}" => get policy::item, delete policy::archive;
    "/v1/zones/{zone_id}/policies/{id}/versions" =>
        get policy::versions, post policy::add_version as "policy_version.create";
    "/v1/zones/{zone_id}/policies/{id}/versions/{version_id}" => get policy::version;
    "/v1/zones/{zone_id}/policy-sets" => get policy_set::list, post policy_set::create;
    "/v1/zones/{zone_id}/policy-sets/{id}" => get policy_set::item, delete policy_set::archive;
    "/v1/zones/{zone_id}/policy-sets/{id}/versions" =>
        get policy_set::versions, post policy_set::add_version as "policy_set_version.create";
    "/v1/zones/{zone_id}/policy-sets/{id}/versions/{version_id}" => get policy_set::version;
    "/v1/zones/{zone_id}/policy-sets/{id}/activate" => post policy_set::activate;
    "/v1/zones/{zone_id}/policy-sets/{id}/activation-status" => get policy_set::activation_status;
    "/v1/zones/{zone_id}/policy-sets/{id}/simulate" => post policy_set::simulate;
    "/v1/zones/{zone_id}/policy-sets/{id}/replay" => post policy_set::replay;
    "/v1/zones/{zone_id}/grants" => get grant::list, post grant::create;
    "/v1/zones/{zone_id}/grants/{id}" => get grant::item, delete grant::revoke;
    "/v1/zones/{zone_id}/subject-issuers" => get subject_issuer::list, post subject_issuer::create;
    "/v1/zones/{zone_id}/subject-issuers/{id}" =>
        get subject_issuer::item, patch subject_issuer::change, delete subject_issuer::archive;
    "/v1/zones/{zone_id}/subjects/revoke" => post subject::revoke;
    "/v1/zones/{zone_id}/step-up-challenges" => get step_up::list;
    "/v1/zones/{zone_id}/step-up-challenges/{id}" => get step_up::item;
    "/v1/zones/{zone_id}/step-up-challenges/{id}/satisfy" => post step_up::satisfy;
    "/v1/zones/{zone_id}/invitations" => get invitation::list, post invitation::create;
    "/v1/zones/{zone_id}/invitations/{id}" => get invitation::item, delete invitation::revoke;
    "/v1/zones/{zone_id}/sessions" => get session::list;
    "/v1/zones/{zone_id}/sessions/{id}" => get session::item;
    "/v1/zones/{zone_id}/sessions/{id}/revoke" => post session::revoke;
    "/v1/zones/{zone_id}/audit" => get audit::list;
    "/v1/zones/{zone_id}/audit/tail" => get audit::tail;
    "/v1/zones/{zone_id}/audit/by-request/{request_id}" => get audit::by_request;
    "/v1/zones/{zone_id}/audit/by-request/{request_id}/explain" => get audit::explain;
    "/v1/zones/{zone_id}/ledger/checkpoint" => get ledger::checkpoint;
    "/v1/zones/{zone_id}/ledger/entries" => get ledger::entries;
    "/v1/zones/{zone_id}/ledger/proof/inclusion" => get ledger::inclusion;
    "/v1/zones/{zone_id}/ledger/proof/consistency" => get ledger::consistency;
}
