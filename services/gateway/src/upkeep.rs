//! How the feed and PostgreSQL reach this service's own state.

use crate::credentials::Credentials;
use crate::directives::Directives;
use crate::error::cause;
use crate::running::Running;
use crate::views::Views;
use crate::zone_keys::ZoneKeys;
use caracal_bus::{BoxError, FeedSink};
use caracal_domain::{Clock, FeedBody, FeedEvent};
use caracal_storage::snapshot::{Horizon, epochs_since};
use caracal_storage::{Database, anchors};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

const POLL_EVERY: Duration = Duration::from_secs(5);
const EXPIRE_EVERY: Duration = Duration::from_mins(1);

/// Where changes go: into the views first, then to whatever stands on what has changed.
#[derive(Debug)]
pub struct GatewaySink {
    /// Where anchors are read from.
    pub database: Database,
    /// What is known of each zone.
    pub views: Arc<Views>,
    /// What is cut.
    pub running: Arc<Running>,
    /// What is dropped when configuration may have changed unheard.
    pub directives: Arc<Directives>,
    /// The same of upstream credentials.
    pub credentials: Arc<Credentials>,
    /// What is dropped when keys change.
    pub keys: Arc<ZoneKeys>,
}

impl FeedSink for GatewaySink {
    fn apply(&self, event: FeedEvent) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.views.apply(&event);
            self.running.revoke(event.zone_id, event.body.anchors());
            if matches!(event.body, FeedBody::KeysChanged { .. }) {
                self.keys.forget(event.zone_id).await;
            }
        })
    }

    fn rebuild(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let mut conn = self.database.acquire().await?;
            let epochs = epochs_since(&mut conn, None).await?.zones;
            let epochs: Vec<_> = epochs.into_iter().map(|(zone, epoch, _)| (zone, epoch)).collect();
            let live = anchors::live_all(&mut conn).await?;
            let live = live.into_iter().map(|(zone, _, anchor)| (zone, anchor)).collect();
            self.views.rebuild(&epochs, live);
            self.running
                .revoke_where(|token| self.views.refuses(token).is_some());
            self.directives.clear();
            self.credentials.clear();
            self.keys.clear();
            Ok(())
        })
    }
}

impl GatewaySink {
    /// Heals what the feed lost, for as long as the service lives.
    pub async fn poll_slowly(self: Arc<Self>) {
        let mut since = None;
        loop {
            tokio::time::sleep(POLL_EVERY).await;
            match self.poll(since.as_ref()).await {
                Ok(horizon) => since = Some(horizon),
                Err(error) => tracing::debug!(error = cause(&error), "the zones could not be compared"),
            }
        }
    }

    async fn poll(&self, since: Option<&Horizon>) -> Result<Horizon, caracal_storage::Error> {
        let mut conn = self.database.acquire().await?;
        // The epochs first: an anchor may then be seen before its epoch, never after.
        let changed = epochs_since(&mut conn, since).await?;
        let Some(since) = since else {
            return Ok(changed.horizon);
        };
        for (zone, anchor) in anchors::changed_since(&mut conn, since).await?.anchors {
            self.running.revoke(zone, std::slice::from_ref(&anchor));
            self.views.heal(zone, anchor);
        }
        for (zone, epoch, _) in changed.zones {
            self.views.advance(zone, epoch);
        }
        Ok(changed.horizon)
    }
}

/// Drops anchors that no living token can name, for as long as the service lives.
pub async fn expire_anchors(views: Arc<Views>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(EXPIRE_EVERY).await;
        views.expire(clock.now());
    }
}
