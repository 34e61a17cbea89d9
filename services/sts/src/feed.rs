//! How the feed, the spool and the database's clock reach this service's own state.

use crate::zones::Zones;
use caracal_bus::{BoxError, DatabaseClock, FeedHandle, FeedSink, Spool};
use caracal_domain::id::ZoneId;
use caracal_domain::{AuditEvent, FeedEvent};
use caracal_storage::Database;
use futures::future::BoxFuture;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const CLOCK_EVERY: Duration = Duration::from_secs(5);
const POLL_EVERY: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(500);
const SYSTEM_SLUG: &str = "caracal-sys";

/// Feeds [`Zones`].
pub struct ZonesSink(pub Arc<Zones>);

impl FeedSink for ZonesSink {
    fn apply(&self, event: FeedEvent) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.0.apply(&event) })
    }

    fn rebuild(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            self.0
                .reconcile()
                .await
                .map_err(|failure| format!("reconciling the zones: {}", failure.reason()).into())
        })
    }
}

/// The recorder's second store.
pub struct DatabaseSpool(pub Database);

impl Spool for DatabaseSpool {
    fn append<'a>(&'a self, event: &'a AuditEvent, payload: Vec<u8>) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let mut conn = self.0.acquire().await?;
            let traceparent = caracal_bus::current_traceparent();
            let subject = caracal_bus::AUDIT_SUBJECT;
            caracal_storage::spool::append(
                &mut conn,
                event.zone_id,
                event.id,
                subject,
                &payload,
                traceparent.as_deref(),
            )
            .await?;
            Ok(())
        })
    }
}

/// Measures the database's clock for as long as the service lives.
pub async fn measure_clock(database: Database, feed: FeedHandle) {
    loop {
        let asked_at = Instant::now();
        let measured = tokio::time::timeout(CLOCK_EVERY, async {
            let mut conn = database.acquire().await?;
            caracal_storage::database_time(&mut conn).await
        });
        let pause = match measured.await {
            Ok(Ok(time)) => {
                feed.set_database_clock(DatabaseClock::measured(time, asked_at));
                CLOCK_EVERY
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the database's clock is unknown");
                RETRY_EVERY
            }
            Err(_) => RETRY_EVERY,
        };
        tokio::time::sleep(pause).await;
    }
}

/// Heals what the feed lost: every few seconds each view's epoch is compared with the database's.
pub async fn poll_slowly(zones: Arc<Zones>) {
    loop {
        tokio::time::sleep(POLL_EVERY).await;
        if let Err(failure) = zones.reconcile().await {
            tracing::warn!(
                reason = failure.reason(),
                "the zones could not be compared with the database"
            );
        }
    }
}

/// Learns the id of the system zone, whose ledger keeps what strangers do.
pub async fn find_system_zone(database: Database, found: Arc<OnceLock<ZoneId>>) {
    loop {
        let looked_up = async {
            let mut conn = database.acquire().await?;
            caracal_storage::zones::find_by_slug(&mut conn, SYSTEM_SLUG).await
        };
        if let Ok(Some(zone)) = looked_up.await {
            // Set once; the system zone never changes.
            let _ = found.set(zone.id);
            return;
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}
