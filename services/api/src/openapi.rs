//! The description of the whole API (`OpenAPI` 3.1): the handlers say what is theirs (`#[utoipa::path]`), and what holds
//! everywhere is added here, once (`complete.rs`). `/openapi.json` shows it, `docs/reference/openapi.json` keeps it.

mod complete;
mod probes;
mod tags;
pub(crate) mod words;

use crate::routes::Described;
use serde::Serialize;
use serde_json::Value;
use std::sync::LazyLock;
use utoipa::{OpenApi, ToSchema};

/// What every answer that is not a success looks like.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Envelope {
    /// What went wrong, as a stable code.
    error: String,
    /// What is wrong with the body, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    issues: Option<Vec<IssueView>>,
    /// More about it, when there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

/// One thing wrong with a request, and where.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Issue)]
pub(crate) struct IssueView {
    /// Keys and indices from the root of the body.
    path: Vec<Value>,
    /// What is wrong there.
    message: String,
    /// Line in a source text that the body carries, from 1.
    line: Option<u32>,
    /// Column, from 1.
    column: Option<u32>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Caracal control plane",
        description = "Zones, applications, resources, providers, policies, sessions and the ledger. Every answer that \
                       is not a success is an Envelope; every answer carries X-Request-Id.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Envelope))
)]
struct Frame;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let document = Frame::openapi().merge_from(Described::openapi());
    let mut document = serde_json::to_value(document).unwrap_or_default();
    complete::complete(&mut document);
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
});

/// The document, as `/openapi.json` answers it.
#[must_use]
pub fn document() -> &'static str {
    &DOCUMENT
}
