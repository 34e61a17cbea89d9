//! The database's clock, by which a replica knows how far it lags behind.

use crate::cause;
use caracal_bus::{DatabaseClock, FeedHandle};
use caracal_storage::Database;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const MEASURE_EVERY: Duration = Duration::from_secs(2);
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Whether PostgreSQL answered when it was last asked the time. For `/ready`, which asks nobody itself.
#[derive(Debug, Clone, Default)]
pub struct DatabaseAnswers(Arc<AtomicBool>);

impl DatabaseAnswers {
    /// See the type.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Measures it for as long as the service lives.
pub(crate) async fn measure(database: Database, feed: FeedHandle, answers: DatabaseAnswers) {
    loop {
        let asked_at = Instant::now();
        let asking = timeout(MEASURE_EVERY, async {
            let mut conn = database.acquire().await?;
            caracal_storage::database_time(&mut conn).await
        });
        let asked = asking.await;
        answers.0.store(matches!(asked, Ok(Ok(_))), Ordering::Relaxed);
        let pause = match asked {
            Ok(Ok(time)) => {
                feed.set_database_clock(DatabaseClock::measured(time, asked_at));
                MEASURE_EVERY
            }
            Ok(Err(error)) => {
                tracing::warn!(error = cause(&error), "the database's clock is unknown");
                RETRY_EVERY
            }
            Err(_) => RETRY_EVERY,
        };
        sleep(pause).await;
    }
}
