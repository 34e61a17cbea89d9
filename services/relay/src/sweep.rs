//! Sweeping: what expired long ago is removed, a batch at a time, so that nobody waits for it.

use crate::relay::{Relay, warn};
use caracal_storage::{Error, sweep};
use std::time::Duration;
use tokio::time::sleep;

/// How many rows of each table go at once.
const BATCH: i32 = 1000;
/// Between two batches of one round.
const REST: Duration = Duration::from_millis(50);
/// Between rounds.
const EVERY: Duration = Duration::from_mins(5);
/// After a round that failed.
const RETRY: Duration = Duration::from_secs(30);

impl Relay {
    /// Sweeps at the start and then every few minutes.
    pub async fn sweep_for_ever(&self) {
        loop {
            let pause = match self.sweep().await {
                Ok(0) => EVERY,
                Ok(removed) => {
                    tracing::info!(removed, "swept what had expired");
                    EVERY
                }
                Err(error) => {
                    warn(&error, "what has expired was not swept");
                    RETRY
                }
            };
            sleep(pause).await;
        }
    }

    /// One round: batch after batch until nothing is left. Answers how many rows went.
    ///
    /// # Errors
    /// When PostgreSQL cannot be asked; the batches before stay removed.
    pub async fn sweep(&self) -> Result<i64, Error> {
        let mut total = 0;
        loop {
            let removed = sweep::sweep(&mut *self.database.acquire().await?, BATCH).await?;
            total += removed;
            if removed < i64::from(BATCH) {
                return Ok(total);
            }
            sleep(REST).await;
        }
    }
}
