//! Where this replica stands in the feed, as everyone who decides sees it.

use crate::database_clock::DatabaseClock;
use caracal_domain::Timestamp;
use caracal_domain::freshness::{FeedPosition, Staleness};
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Tells whether this replica may decide from what it holds. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct FeedHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_lag: Duration,
    state: RwLock<(FeedPosition, Option<DatabaseClock>)>,
    beats: watch::Sender<()>,
}

impl FeedHandle {
    /// Begins behind: nothing is known yet.
    pub(crate) fn new(max_lag: Duration) -> Self {
        let position = FeedPosition {
            heartbeat: None,
            broken: true,
        };
        Self(Arc::new(Shared {
            max_lag,
            state: RwLock::new((position, None)),
            beats: watch::Sender::new(()),
        }))
    }

    /// Fresh only while the last heartbeat applied in stream order is at most `max_lag` old by the database's clock.
    #[must_use]
    pub fn staleness(&self) -> Staleness {
        let (position, clock) = *self.0.state.read();
        position.staleness(clock.and_then(|clock| clock.trusted_now()), self.0.max_lag)
    }

    /// How far this replica's view may lag; `None` when that cannot be known.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        let (position, clock) = *self.0.state.read();
        position.lag(clock.and_then(|clock| clock.trusted_now()))
    }

    /// A new measurement of the database's clock; without one in ten minutes everything counts as behind.
    pub fn set_database_clock(&self, clock: DatabaseClock) {
        self.0.state.write().1 = Some(clock);
    }

    /// The database's time now, as last measured.
    #[must_use]
    pub fn database_now(&self) -> Option<Timestamp> {
        self.0.state.read().1.and_then(|clock| clock.trusted_now())
    }

    /// Waits until one more heartbeat has been applied.
    pub async fn next_beat(&self) {
        // The sender lives in what this borrows, so this cannot fail.
        let _ = self.0.beats.subscribe().changed().await;
    }

    /// Something was missed: behind until the view has been rebuilt and a heartbeat came after that.
    pub(crate) fn break_off(&self) {
        self.0.state.write().0 = FeedPosition {
            heartbeat: None,
            broken: true,
        };
    }

    /// The view has been rebuilt.
    pub(crate) fn mend(&self) {
        self.0.state.write().0.broken = false;
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.0.state.read().0.broken
    }

    /// Everything before this heartbeat has been applied. An older one, replayed or late, proves nothing new.
    pub(crate) fn beat(&self, database_time: Timestamp) {
        let position = &mut self.0.state.write().0;
        position.heartbeat = position.heartbeat.max(Some(database_time));
        self.0.beats.send_replace(());
    }
}
