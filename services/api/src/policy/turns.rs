//! Whose turn it is at the policy compiler: a zone has one policy there at a time, so that nobody's policies, however hard
//! they are to compile, keep another zone's waiting.

use crate::error::Failure;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// How long a policy waits for those of its own zone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A turn for each zone, or for each administrator who asks for no zone, as long as somebody has or wants it.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Uuid, Arc<Semaphore>>>);

impl Turns {
    /// Waits for the turn; it ends when it is dropped.
    ///
    /// # Errors
    /// [`Failure::Busy`] when too many wait for it already.
    pub(crate) async fn take(&self, whose: impl Into<Uuid>) -> Result<OwnedSemaphorePermit, Failure> {
        let busy = || Failure::Busy("Too many policies of this zone wait for the compiler.");
        let turn = self.of(whose.into()).acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, turn).await;
        turn.map_err(|_| busy())?.map_err(|_| busy())
    }

    fn of(&self, whose: Uuid) -> Arc<Semaphore> {
        let mut all = self.0.lock();
        // Whoever has a turn or waits for one holds it too.
        all.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(all.entry(whose).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_zone_waits_for_itself_alone() {
        let (turns, zone, other) = (Turns::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        let first = turns.take(zone).await;
        assert!(first.is_ok());
        assert!(turns.take(other).await.is_ok());
        assert!(turns.take(zone).now_or_never().is_none(), "it waits");
        drop(first);
        assert!(turns.take(zone).await.is_ok());
        assert!(turns.take(other).await.is_ok());
        assert_eq!(turns.0.lock().len(), 1, "nobody is remembered who wants nothing");
    }
}
