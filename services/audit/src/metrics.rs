//! What the audit service counts.

use crate::ledger::Written;
use caracal_bus::{Bus, Puller};
use caracal_lifecycle::ProbeSet;
use caracal_storage::Database;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// Between looks at how far the ledger is behind.
const LOOK: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    ingested: Family<Stream, Counter>,
    duplicates: Family<Stream, Counter>,
    dead_letters: Family<Stream, Counter>,
    lag: Family<Stream, Gauge>,
    batches: Counter,
    database_answers: Arc<AtomicBool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stream {
    stream: &'static str,
}

impl Metrics {
    /// Registers everything, what the bus counts included.
    #[must_use]
    pub fn register(probes: &ProbeSet, bus: &Bus) -> Self {
        let metrics = Self::default();
        probes.register(|registry| {
            let registry = registry.sub_registry_with_prefix("caracal_audit");
            registry.register("ingested", "Events added to the ledger", metrics.ingested.clone());
            registry.register(
                "duplicates",
                "Events the ledger held already",
                metrics.duplicates.clone(),
            );
            registry.register(
                "dead_letters",
                "Messages that could not be parsed or trusted: alert on any",
                metrics.dead_letters.clone(),
            );
            registry.register(
                "lag",
                "Messages that the ledger does not hold yet",
                metrics.lag.clone(),
            );
            registry.register("batches", "Batches written", metrics.batches.clone());
        });
        let bus = bus.clone();
        probes.export("caracal_bus", move || bus.stats().all());
        metrics
    }

    /// Whether PostgreSQL answered when it was last asked.
    #[must_use]
    pub fn database_answers(&self) -> bool {
        self.database_answers.load(Ordering::Relaxed)
    }

    pub(crate) fn wrote(&self, stream: &'static str, written: Written) {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.ingested
            .get_or_create(&Stream { stream })
            .inc_by(count(written.chained));
        self.duplicates
            .get_or_create(&Stream { stream })
            .inc_by(count(written.duplicates));
    }

    pub(crate) fn set_aside(&self, stream: &'static str) {
        self.dead_letters.get_or_create(&Stream { stream }).inc();
    }

    pub(crate) fn took_batch(&self) {
        self.batches.inc();
    }

    pub(crate) async fn watch_lag(&self, stream: &'static str, puller: Puller) {
        loop {
            if let Ok(lag) = puller.lag().await {
                self.lag
                    .get_or_create(&Stream { stream })
                    .set(i64::try_from(lag).unwrap_or(i64::MAX));
            }
            sleep(LOOK).await;
        }
    }

    pub(crate) async fn watch_database(&self, database: Database) {
        loop {
            self.database_answers
                .store(database.ping().await.is_ok(), Ordering::Relaxed);
            sleep(LOOK).await;
        }
    }
}
