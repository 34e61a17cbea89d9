//! The W3C trace context as text, for whatever carries it: HTTP headers, NATS headers, rows of the outbox.
//!
//! This crate must never know what is traced, or where spans are sent: that is `lifecycle`'s.
//!
//! Start with [`current_traceparent`] (what goes out) and [`continue_from`] (what came in).

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header and the column it travels in.
pub const TRACEPARENT: &str = "traceparent";

/// The `traceparent` of the current span, to send along.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// The `traceparent` of `span`.
#[must_use]
pub fn traceparent_of(span: &Span) -> Option<String> {
    let mut carrier = Carrier(None);
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.0
}

/// Makes `span` continue the trace that `traceparent` names; nothing happens when there is none or it is malformed.
pub fn continue_from(span: &Span, traceparent: Option<&str>) {
    let Some(text) = traceparent else { return };
    let parent =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(Some(text.to_owned())));
    // Fails only when no telemetry was started, as in a test.
    let _ = span.set_parent(parent);
}

struct Carrier(Option<String>);

impl Injector for Carrier {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value);
        }
    }
}

impl Extractor for Carrier {
    fn get(&self, key: &str) -> Option<&str> {
        if key == TRACEPARENT {
            self.0.as_deref()
        } else {
            None
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}
