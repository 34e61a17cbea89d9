//! The database's clock, by which a replica knows how far it lags behind.

use crate::cause;
use caracal_bus::{DatabaseClock, FeedHandle};
use caracal_storage::Database;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const MEASURE_EVERY: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Measures it for as long as the service lives.
pub(crate) async fn measure(database: Database, feed: FeedHandle) {
    loop {
        let asked_at = Instant::now();
        let asking = timeout(MEASURE_EVERY, async {
            let mut conn = database.acquire().await?;
            caracal_storage::database_time(&mut conn).await
        });
        let pause = match asking.await {
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
