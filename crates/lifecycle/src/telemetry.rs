//! Logs and traces: one JSON object a line on standard output, and OTLP when an endpoint is set.
//!
//! Traces are always made, so that `traceparent` crosses every hop and every log line carries `trace_id`; without an
//! endpoint they are not sampled and go nowhere.

mod json;
mod otlp;

use crate::BoxError;
use crate::config::Common;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What is never logged, whatever the level: opa-wasm's spans hold what policies hand to builtins, claims among it.
const NEVER: &str = "opa_wasm=off";
/// What is not logged unless `LOG_LEVEL` names it: bytes that are no HTTP, which anybody may send at any rate, and which
/// actix takes for errors of ours (decision 0022).
const QUIET: &str = "actix_http::h1::dispatcher=off";

/// Keeps telemetry alive; [`Telemetry::flush`] sends what is left.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Starts logging and tracing for `service`. Call it once, inside the run time.
///
/// # Errors
/// The endpoint is unusable, or telemetry was started before.
pub fn init(service: &'static str, common: &Common) -> Result<Telemetry, BoxError> {
    let resource = Resource::builder().with_service_name(service).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let provider = match &common.otel_endpoint {
        Some(endpoint) => {
            let always = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
            builder
                .with_sampler(always)
                .with_batch_exporter(otlp::exporter(endpoint)?)
                .build()
        }
        None => builder
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .build(),
    };
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(service))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let filter = |level: &str| EnvFilter::try_new(format!("{QUIET},{level},{NEVER}"));
    tracing_subscriber::registry()
        .with(spans.with_filter(filter("info")?))
        .with(json::JsonLines::new(service).with_filter(filter(&common.log_level)?))
        .try_init()?;
    log_panics();
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends what is left. Blocks for a few seconds at most.
    pub fn flush(self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(error = %error, "the last traces could not be sent");
        }
    }
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(panic = message, location, "a thread panicked");
    }));
}
