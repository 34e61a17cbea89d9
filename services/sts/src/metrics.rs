//! What the STS counts.

use crate::zones::Zones;
use caracal_lifecycle::ProbeSet;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone)]
pub struct Metrics {
    outcomes: Family<Outcome, Counter>,
    evaluation: Histogram,
    shadow_dropped: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    reason: &'static str,
}

impl Metrics {
    /// Registers everything but the feed's staleness.
    #[must_use]
    pub fn register(probes: &ProbeSet) -> Self {
        let metrics = Self {
            outcomes: Family::default(),
            evaluation: Histogram::new(exponential_buckets(0.000_01, 2.0, 14)),
            shadow_dropped: Counter::default(),
        };
        probes.register(|registry| {
            registry.register(
                "caracal_sts_exchanges",
                "Token exchanges by outcome",
                metrics.outcomes.clone(),
            );
            registry.register(
                "caracal_sts_policy_evaluation_seconds",
                "Time to evaluate all policies of one resource",
                metrics.evaluation.clone(),
            );
            registry.register(
                "caracal_sts_shadow_evaluations_dropped",
                "Questions that the shadow set was not asked, for want of time",
                metrics.shadow_dropped.clone(),
            );
        });
        metrics
    }

    /// Says in `/ready` whether the feed is current, and how far it lags; behind it, the STS reads through and still
    /// serves.
    pub fn watch(probes: &ProbeSet, zones: &Arc<Zones>) {
        let watched = Box::new(Lag(Arc::clone(zones)));
        probes.register(|registry| registry.register_collector(watched));
        let zones = Arc::clone(zones);
        probes.add_to_start("feed", move || zones.is_fresh());
    }

    /// One exchange ended, with the reason of its refusal or `issued`.
    pub fn exchanged(&self, reason: &'static str) {
        self.outcomes.get_or_create(&Outcome { reason }).inc();
    }

    /// One resource's policies were evaluated.
    pub fn evaluated(&self, took: Duration) {
        self.evaluation.observe(took.as_secs_f64());
    }

    /// One question was not asked of the shadow set.
    pub fn shadow_dropped(&self) {
        self.shadow_dropped.inc();
    }
}

/// The feed's staleness, looked at when it is asked for.
struct Lag(Arc<Zones>);

impl fmt::Debug for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lag")
    }
}

impl Collector for Lag {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let seconds = self.0.lag().map_or(f64::INFINITY, |lag| lag.as_secs_f64());
        let (name, help) = (
            "caracal_feed_lag_seconds",
            "How far the view may lag behind the database",
        );
        let metric = ConstGauge::new(seconds);
        metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }
}
