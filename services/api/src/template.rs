//! The catalog of built-in policies.

use crate::actor::Public;
use actix_web::HttpResponse;
use caracal_policy::{Template, templates};
use serde::Serialize;

/// A built-in policy as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TemplateView {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    content: &'static str,
}

/// Lists the policy templates.
///
/// With their sources, to begin policies from. Public, since there is nothing to learn here that is not in the
/// repository.
#[utoipa::path(
    get, path = "/v1/policy-templates",
    security(()),
    responses((status = 200, body = [TemplateView]))
)]
pub(crate) async fn list(_: Public) -> HttpResponse {
    let view = |template: &Template| TemplateView {
        id: template.id,
        name: template.name,
        description: template.description,
        content: template.content,
    };
    HttpResponse::Ok().json(templates().iter().map(view).collect::<Vec<_>>())
}
