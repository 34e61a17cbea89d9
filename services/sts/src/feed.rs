//! How the feed and PostgreSQL reach this service's own state.

use crate::zones::Zones;
use caracal_bus::{BoxError, FeedSink};
use caracal_domain::FeedEvent;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

const POLL_EVERY: Duration = Duration::from_secs(5);

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
