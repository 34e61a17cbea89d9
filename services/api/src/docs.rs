//! `/openapi.json`, and `/docs` to browse it: one page of our own, which loads nothing from anywhere else.

use crate::actor::Public;
use crate::openapi::document;
use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

/// The page runs its own script and style and asks its own server, and that is all it may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Describes this API.
///
/// `OpenAPI` 3.1, made from the code that answers.
#[utoipa::path(get, path = "/openapi.json", security(()), responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn openapi(_: Public) -> HttpResponse {
    serve("application/json", document())
}

/// Shows this API in a browser.
///
/// A page to read about every operation and to try it. It loads nothing from elsewhere.
#[utoipa::path(get, path = "/docs", security(()), responses((status = 200, body = String, content_type = "text/html")))]
pub(crate) async fn page(_: Public) -> HttpResponse {
    serve("text/html; charset=utf-8", include_str!("docs/page.html"))
}

/// Serves the script of that page.
#[utoipa::path(get, path = "/docs/page.js", security(()),
    responses((status = 200, body = String, content_type = "text/javascript")))]
pub(crate) async fn script(_: Public) -> HttpResponse {
    serve("text/javascript; charset=utf-8", include_str!("docs/page.js"))
}

/// Serves the style sheet of that page.
#[utoipa::path(get, path = "/docs/page.css", security(()),
    responses((status = 200, body = String, content_type = "text/css")))]
pub(crate) async fn style(_: Public) -> HttpResponse {
    serve("text/css; charset=utf-8", include_str!("docs/page.css"))
}

fn serve(media_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(text)
}
