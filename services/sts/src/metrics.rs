//! What the STS counts.

use crate::zones::Zones;
use caracal_lifecycle::ProbeSet;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
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
    /// Registers everything, the feed's staleness included.
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

    /// Says in `/ready` whether the feed is current; behind it, the STS reads through and still serves.
    pub fn watch(probes: &ProbeSet, zones: &Arc<Zones>) {
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
