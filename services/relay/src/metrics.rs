//! What the relay counts.

use caracal_bus::Bus;
use caracal_lifecycle::ProbeSet;
use chrono::TimeDelta;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::atomic::AtomicU64;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    published: Counter,
    duplicates: Counter,
    heartbeats: Counter,
    outbox: Gauge,
    spool: Gauge,
    oldest: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Registers everything, what the bus counts included.
    #[must_use]
    pub fn register(probes: &ProbeSet, bus: &Bus) -> Self {
        let metrics = Self::default();
        probes.register(|registry| {
            let registry = registry.sub_registry_with_prefix("caracal_relay");
            registry.register(
                "published",
                "Rows acknowledged by JetStream",
                metrics.published.clone(),
            );
            registry.register(
                "duplicates",
                "Rows that JetStream had already, because a relay stopped between publish and mark",
                metrics.duplicates.clone(),
            );
            registry.register("heartbeats", "Heartbeats published", metrics.heartbeats.clone());
            registry.register(
                "outbox_depth",
                "Rows that wait in the outbox",
                metrics.outbox.clone(),
            );
            registry.register(
                "spool_depth",
                "Decision events that wait in the spool",
                metrics.spool.clone(),
            );
            registry.register(
                "outbox_oldest_seconds",
                "How long the oldest row of the outbox has waited",
                metrics.oldest.clone(),
            );
        });
        let bus = bus.clone();
        probes.export("caracal_bus", move || bus.stats().all());
        metrics
    }

    pub(crate) fn published(&self, duplicate: bool) {
        self.published.inc();
        if duplicate {
            self.duplicates.inc();
        }
    }

    pub(crate) fn beat(&self) {
        self.heartbeats.inc();
    }

    pub(crate) fn looked(&self, outbox: i64, spool: i64, oldest: Option<TimeDelta>) {
        self.outbox.set(outbox);
        self.spool.set(spool);
        let waited = oldest.and_then(|waited| waited.to_std().ok()).unwrap_or_default();
        self.oldest.set(waited.as_secs_f64());
    }
}
