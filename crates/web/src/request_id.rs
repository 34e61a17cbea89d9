//! The outermost middleware: every request gets an id and a span, every answer shows the id.

use crate::app::Shell;
use crate::error::ApiError;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use caracal_domain::RequestId;
use opentelemetry::propagation::Extractor;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header that carries a request's id in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request being handled.
#[derive(Debug, Clone)]
pub struct CurrentRequestId(pub RequestId);

impl FromRequest for CurrentRequestId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.extensions().get::<RequestId>().cloned();
        ready(id.map(Self).ok_or_else(|| ApiError::fault(&NotWrapped)))
    }
}

#[derive(Debug)]
struct NotWrapped;

impl std::fmt::Display for NotWrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the application was not built by caracal_web::app")
    }
}

impl std::error::Error for NotWrapped {}

/// The middleware, as [`crate::app()`] wraps it.
#[derive(Debug)]
pub struct RequestIds;

impl RequestIds {
    /// Handles one request: counts it, names it, spans it, logs it.
    ///
    /// # Errors
    /// Whatever the application answered with an error that is not yet an answer, now with the id in its head.
    pub async fn handle(
        request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<Counted<impl MessageBody>>, Error> {
        let Some(shell) = request.app_data::<Data<Shell>>().cloned() else {
            return Err(ApiError::fault(&NotWrapped).into());
        };
        let counted = InFlightGuard::new(Arc::clone(&shell.in_flight));
        let started = Instant::now();
        let offered = request
            .headers()
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        let id = RequestId::accept_or_mint(offered, &*shell.clock);
        request.extensions_mut().insert(id.clone());
        let shown = HeaderValue::from_str(id.as_str()).unwrap_or(HeaderValue::from_static("-"));
        let (span, method) = (span_of(&request, &id), request.method().clone());

        match next.call(request).instrument(span.clone()).await {
            Ok(mut response) => {
                response.headers_mut().insert(X_REQUEST_ID, shown);
                let route = response
                    .request()
                    .match_pattern()
                    .unwrap_or_else(|| "unknown".to_owned());
                let status = response.status().as_u16();
                finish(&shell, &span, method.as_str(), &route, status, started);
                Ok(response.map_body(|_, body| Counted {
                    body: Box::pin(body),
                    _guard: counted,
                }))
            }
            Err(error) => {
                let mut response = error.error_response();
                response.headers_mut().insert(X_REQUEST_ID, shown);
                finish(
                    &shell,
                    &span,
                    method.as_str(),
                    "unknown",
                    response.status().as_u16(),
                    started,
                );
                Err(InternalError::from_response(error, response).into())
            }
        }
    }
}

fn span_of(request: &ServiceRequest, id: &RequestId) -> Span {
    let span = tracing::info_span!(
        "http",
        otel.name = %request.method(),
        otel.kind = "server",
        request_id = %id,
        method = %request.method(),
        route = tracing::field::Empty,
        status = tracing::field::Empty,
    );
    if request.headers().contains_key("traceparent") {
        let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&opentelemetry::Context::new(), &Headers(request.headers()))
        });
        // Fails only when no telemetry was started, as in a test.
        let _ = span.set_parent(parent);
    }
    span
}

fn finish(shell: &Shell, span: &Span, method: &str, route: &str, status: u16, started: Instant) {
    let took = started.elapsed();
    span.record("route", route);
    span.record("status", status);
    let duration_ms = took.as_secs_f64() * 1000.0;
    span.in_scope(|| match route {
        "/health" | "/ready" | "/metrics" => tracing::debug!(duration_ms, "answered"),
        _ => tracing::info!(duration_ms, "answered"),
    });
    (shell.answered)(method, route, status, took);
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct InFlightGuard(Arc<AtomicUsize>);

impl InFlightGuard {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A body that counts as in flight until its last byte is sent or the connection is gone.
pub struct Counted<B> {
    body: Pin<Box<B>>,
    _guard: InFlightGuard,
}

impl<B: MessageBody> MessageBody for Counted<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.body.as_mut().poll_next(context)
    }
}
