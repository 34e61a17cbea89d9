//! One JSON object a line: time, level, service, target, the fields of every enclosing span, `trace_id`, the event.

use caracal_domain::Clock;
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use std::fmt;
use std::io::Write;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber, dispatcher};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The layer that writes log lines.
#[derive(Debug)]
pub(super) struct JsonLines {
    service: &'static str,
}

impl JsonLines {
    pub(super) const fn new(service: &'static str) -> Self {
        Self { service }
    }

    fn line<S>(&self, event: &Event<'_>, context: &Context<'_, S>) -> Map<String, Value>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut line = Fields::default();
        let metadata = event.metadata();
        line.put(
            "time",
            crate::SystemClock::default()
                .now()
                .to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        );
        line.put("level", metadata.level().as_str());
        line.put("service", self.service);
        line.put("target", metadata.target());
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                if let Some(Fields(fields)) = span.extensions().get::<Fields>() {
                    line.0
                        .extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
            }
        }
        if let Some(id) = context.event_span(event).and_then(|span| trace_id(&span.id())) {
            line.put("trace_id", id);
        }
        event.record(&mut line);
        line.0
    }
}

impl<S> Layer<S> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut bytes = serde_json::to_vec(&self.line(event, &context)).unwrap_or_default();
        bytes.push(b'\n');
        // Standard output is all there is to tell; if it is gone, so is whom to tell it.
        let _ = std::io::stdout().lock().write_all(&bytes);
    }
}

fn trace_id(span: &Id) -> Option<String> {
    let context =
        dispatcher::get_default(|dispatch| tracing_opentelemetry::get_otel_context(span, dispatch))?;
    let span = context.span();
    span.span_context()
        .is_valid()
        .then(|| span.span_context().trace_id().to_string())
}

/// The fields of a span or an event as JSON.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    /// An error is told with its whole chain: this is where our own faults are read.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let chain = std::iter::successors(Some(value), |error| error.source());
        self.put(
            field.name(),
            chain.map(ToString::to_string).collect::<Vec<_>>().join(": "),
        );
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}
