//! The one shape of an answer that is not a success: `{error, issues?, detail?}` (contract §1).

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// One thing wrong with a request, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// Keys and indices from the root of the body.
    pub path: Vec<Value>,
    /// What is wrong there.
    pub message: String,
    /// Where in a source text that the body carries, or in a body that is no JSON.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// A place in a source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Issue {
    /// An issue with the member `field` of the body's root; the empty name is the root itself.
    #[must_use]
    pub fn at(field: &str, message: impl Into<String>) -> Self {
        let path = if field.is_empty() {
            Vec::new()
        } else {
            field.split('.').map(segment).collect()
        };
        Self {
            path,
            message: message.into(),
            place: None,
        }
    }
}

fn segment(text: &str) -> Value {
    text.parse::<u32>()
        .map_or_else(|_| Value::from(text), Value::from)
}

/// A refusal as the control plane answers it.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    body: Envelope,
    headers: Vec<(HeaderName, HeaderValue)>,
    page: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
struct Envelope {
    error: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issues: Vec<Issue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

impl ApiError {
    /// A refusal with this status and code.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str) -> Self {
        let body = Envelope {
            error: code,
            issues: Vec::new(),
            detail: None,
        };
        Self(Box::new(Parts {
            status,
            body,
            headers: Vec::new(),
            page: None,
        }))
    }

    /// `404 <code>`.
    #[must_use]
    pub fn not_found(code: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code)
    }

    /// `409 <code>`.
    #[must_use]
    pub fn conflict(code: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code)
    }

    /// `400 invalid_body` with one issue.
    #[must_use]
    pub fn invalid_body(field: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_body").with_issue(Issue::at(field, message))
    }

    /// `400 invalid_query`.
    #[must_use]
    pub fn invalid_query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query").with_detail(message.into())
    }

    /// `503 temporarily_unavailable`, to be tried again in a second.
    #[must_use]
    pub fn unavailable(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
            .with_detail(detail)
            .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Our own fault: the cause goes to the log, once and with its whole chain; the caller gets the request id.
    #[must_use]
    pub fn fault(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = cause, "a request failed by our own fault");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error")
    }

    /// The same with one more issue.
    #[must_use]
    pub fn with_issue(mut self, issue: Issue) -> Self {
        self.0.body.issues.push(issue);
        self
    }

    /// The same with `detail`.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Value>) -> Self {
        self.0.body.detail = Some(detail.into());
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The same as a page of HTML, for a person at a browser, in place of the envelope.
    #[must_use]
    pub fn with_page(mut self, html: &'static str) -> Self {
        self.0.page = Some(html);
        self
    }

    /// The code in `error`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.0.body.error
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.body.error)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut answer = HttpResponseBuilder::new(self.0.status);
        for (name, value) in &self.0.headers {
            answer.append_header((name.clone(), value.clone()));
        }
        match self.0.page {
            Some(html) => answer.content_type("text/html; charset=utf-8").body(html),
            None => answer.json(&self.0.body),
        }
    }
}
