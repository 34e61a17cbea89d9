//! What the gateway counts.

use crate::app::Gateway;
use actix_web::web::Data;
use caracal_bus::{Bus, FeedHandle};
use caracal_lifecycle::ProbeSet;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// Calls by outcome.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    calls: Family<Outcome, Counter>,
    endings: Family<Outcome, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

impl Metrics {
    /// Registers the counters.
    #[must_use]
    pub fn register(probes: &ProbeSet) -> Self {
        let metrics = Self::default();
        probes.register(|registry| {
            registry.register(
                "caracal_gateway_calls",
                "Calls admitted, or refused by reason",
                metrics.calls.clone(),
            );
            registry.register(
                "caracal_gateway_endings",
                "How admitted calls ended",
                metrics.endings.clone(),
            );
        });
        metrics
    }

    /// One call was admitted, or refused with this reason; the reasons are a closed set of ours and the STS's.
    pub fn count(&self, outcome: &str) {
        self.calls
            .get_or_create(&Outcome {
                outcome: outcome.to_owned(),
            })
            .inc();
    }

    /// One admitted call ended like this; a closed set too.
    pub fn count_ending(&self, outcome: &str) {
        self.endings
            .get_or_create(&Outcome {
                outcome: outcome.to_owned(),
            })
            .inc();
    }

    /// Registers what is read when asked: exchanges under way, anchors, the feed and the bus.
    pub fn watch(probes: &ProbeSet, gateway: Data<Gateway>, feed: FeedHandle, bus: Bus) {
        probes.register(|registry| registry.register_collector(Box::new(Watched { gateway, feed, bus })));
    }
}

struct Watched {
    gateway: Data<Gateway>,
    feed: FeedHandle,
    bus: Bus,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let running = u64::try_from(self.gateway.running.len()).unwrap_or(u64::MAX);
        let anchors = u64::try_from(self.gateway.views.anchors()).unwrap_or(u64::MAX);
        let lag = self.feed.lag().map_or(f64::INFINITY, |lag| lag.as_secs_f64());
        gauge(
            &mut encoder,
            "caracal_gateway_running_exchanges",
            "Exchanges under way",
            running,
        )?;
        gauge(&mut encoder, "caracal_gateway_anchors", "Anchors held", anchors)?;
        gauge_seconds(
            &mut encoder,
            "caracal_feed_lag_seconds",
            "How far the view may lag behind the database",
            lag,
        )?;
        for (name, help, value) in self.bus.stats().all() {
            counter(&mut encoder, &format!("caracal_bus_{name}"), help, value)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge_seconds(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
