//! The heartbeat (architecture, "Freshness"): take the database's time T and a snapshot, see every row visible in it
//! acknowledged, whoever holds it, and only then publish T. Whatever was committed by T thus stands earlier in the
//! stream than the heartbeat that says so.

use crate::relay::{Relay, warn};
use caracal_bus::PublishError;
use caracal_domain::Timestamp;
use caracal_domain::feed::Heartbeat;
use caracal_storage::outbox;
use caracal_wire::{HEARTBEAT_SUBJECT, encode_heartbeat};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Twice a second.
const BEAT: Duration = Duration::from_millis(500);
/// Between looks at whether the rows of a snapshot are all published.
const LOOK: Duration = Duration::from_millis(10);
/// After which a beat is given up; the next one starts with a later time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there was no heartbeat.
#[derive(Debug, thiserror::Error)]
pub enum BeatError {
    /// PostgreSQL cannot be asked.
    #[error("looking at the outbox")]
    Database(#[from] caracal_storage::Error),
    /// A row stays unpublished.
    #[error("a committed row is still not published")]
    Pending,
    /// `JetStream` did not take it.
    #[error("publishing the heartbeat")]
    Publish(#[from] PublishError),
}

impl Relay {
    /// Beats twice a second as long as there is something to promise.
    pub async fn beat_for_ever(&self) {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if !self.bus.is_connected() {
                continue;
            }
            if let Err(error) = self.beat().await {
                warn(&error, "no heartbeat");
            }
        }
    }

    /// One heartbeat. Answers the time it promised.
    ///
    /// # Errors
    /// When the promise cannot be made or told.
    pub async fn beat(&self) -> Result<Timestamp, BeatError> {
        let started = Instant::now();
        let mut conn = self.database.acquire().await?;
        let (database_time, snapshot) = outbox::now_and_snapshot(&mut conn).await?;
        while outbox::pending_in(&mut conn, &snapshot).await? {
            self.wake.notify_one();
            if started.elapsed() > PATIENCE {
                return Err(BeatError::Pending);
            }
            sleep(LOOK).await;
        }
        drop(conn);
        let id = format!("beat:{}:{}", self.holder, database_time.timestamp_micros());
        let payload = encode_heartbeat(&Heartbeat { database_time });
        self.bus.publish(HEARTBEAT_SUBJECT, &id, payload, None).await?;
        self.metrics.beat();
        Ok(database_time)
    }
}
