//! The catalog of built-in policies.

use actix_web::HttpResponse;
use caracal_policy::templates;
use serde_json::json;

/// `GET /v1/policy-templates`: public, since there is nothing to learn here that is not in the repository.
pub(crate) async fn list() -> HttpResponse {
    let views: Vec<_> = templates()
        .iter()
        .map(|t| json!({"id": t.id, "name": t.name, "description": t.description, "content": t.content}))
        .collect();
    HttpResponse::Ok().json(views)
}
