//! Saying that this replica is alive, so that what it has loaded counts, and stops to count when it is gone.

use super::{Zones, in_time};
use crate::error::Failure;
use caracal_storage::replicas;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const BEAT_EVERY: Duration = Duration::from_secs(4);
/// How many beats pass between two looks at what gone replicas left behind.
const SWEEP_EVERY: u32 = 150;

impl Zones {
    /// Beats until the service drains; who goes says so.
    pub async fn stay_present(&self, draining: CancellationToken) {
        for beat in 0_u32.. {
            if let Err(failure) = self.beat(beat % SWEEP_EVERY == 0).await {
                tracing::debug!(
                    reason = failure.reason(),
                    "this replica could not say that it is alive"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(BEAT_EVERY) => {}
                () = draining.cancelled() => break,
            }
        }
        let left = in_time(async {
            let mut conn = self.database.acquire().await?;
            replicas::leave(&mut conn, &self.instance.to_string()).await
        });
        if let Err(failure) = left.await {
            tracing::debug!(
                reason = failure.reason(),
                "this replica could not say that it goes"
            );
        }
    }

    async fn beat(&self, sweep: bool) -> Result<(), Failure> {
        in_time(async {
            let mut conn = self.database.acquire().await?;
            replicas::beat(&mut conn, &self.instance.to_string()).await?;
            if sweep {
                replicas::forget_gone(&mut conn).await?;
            }
            Ok(())
        })
        .await
    }
}
