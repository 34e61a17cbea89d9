//! What every replica that decides has in common: it follows the feed by the database's clock, records before it acts
//! with PostgreSQL as the second store, and keeps what strangers do in the system zone's ledger.
//!
//! This is the one crate below the services that may see both the bus and the database. It must never decide anything,
//! nor know what a replica keeps in its view: that is the [`FeedSink`] it is given.
//!
//! Start with [`Replica::new`].

mod clock;
mod spool;
mod system_zone;

pub use clock::DatabaseAnswers;

use caracal_bus::{Bus, Feed, FeedConfig, FeedHandle, FeedSink, Recorder, Strangers, StrangersConfig};
use caracal_domain::Clock;
use caracal_lifecycle::Tasks;
use caracal_storage::Database;
use futures::future::BoxFuture;
use spool::DatabaseSpool;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a replica needs to be one.
#[derive(Debug)]
pub struct Settings {
    /// The bound on staleness (`FEED_MAX_LAG_MS`).
    pub max_lag: Duration,
    /// How it speaks of strangers.
    pub strangers: StrangersConfig,
}

/// See the module. Does nothing before [`Replica::start`].
pub struct Replica {
    /// How fresh the sink is.
    pub feed: FeedHandle,
    /// Records decisions.
    pub recorder: Recorder,
    /// Records what nobody can be held to.
    pub strangers: Arc<Strangers>,
    /// Whether PostgreSQL answers.
    pub database_answers: DatabaseAnswers,
    following: BoxFuture<'static, ()>,
    recording: BoxFuture<'static, ()>,
    database: Database,
}

impl Replica {
    /// A replica whose view is `sink`.
    pub fn new(
        database: Database,
        bus: Bus,
        sink: Arc<dyn FeedSink>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        let max_lag = settings.max_lag;
        let (feed, following) = Feed::follow(bus.clone(), sink, FeedConfig { max_lag });
        let (recorder, recording) = Recorder::new(bus, Arc::new(DatabaseSpool(database.clone())));
        let strangers = Arc::new(Strangers::new(recorder.clone(), clock, settings.strangers));
        Self {
            feed,
            recorder,
            strangers,
            database_answers: DatabaseAnswers::default(),
            following: Box::pin(following),
            recording: Box::pin(recording),
            database,
        }
    }

    /// Starts everything that goes on in the background; what was noted is stored before the process ends.
    pub fn start(self, tasks: &Tasks) {
        let (stopping, database) = (tasks.stopping(), self.database);
        let recording = self
            .recorder
            .run_until(self.recording, async move { stopping.cancelled().await });
        tasks.spawn_to_end("recorder", recording);
        tasks.spawn("feed", self.following);
        tasks.spawn(
            "database-clock",
            clock::measure(database.clone(), self.feed, self.database_answers),
        );
        let strangers = Arc::clone(&self.strangers);
        tasks.spawn("system-zone", system_zone::find(database, strangers));
        tasks.spawn("strangers", self.strangers.summarise_for_ever());
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("feed", &self.feed)
            .finish_non_exhaustive()
    }
}

/// An error in the form in which a log line tells its whole chain.
fn cause<E: std::error::Error + 'static>(error: &E) -> &(dyn std::error::Error + 'static) {
    error
}
