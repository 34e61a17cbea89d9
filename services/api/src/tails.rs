//! Who follows which zone's ledger. One listening connection wakes them all; whoever sleeps costs nothing.

use caracal_domain::id::ZoneId;
use caracal_storage::audit;
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How many may follow at once.
const MOST: usize = 256;
/// How many of them one zone's ledger: nobody's readers keep another zone from being read.
const MOST_OF_ZONE: usize = 32;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Tails {
    zones: Arc<Mutex<HashMap<ZoneId, watch::Sender<()>>>>,
    places: Arc<Semaphore>,
}

/// One follower's place; given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    /// Changes whenever the ledger may have grown.
    pub(crate) grown: watch::Receiver<()>,
    _place: OwnedSemaphorePermit,
}

impl Default for Tails {
    fn default() -> Self {
        Self {
            zones: Arc::default(),
            places: Arc::new(Semaphore::new(MOST)),
        }
    }
}

impl Tails {
    /// A place among the followers of a zone, unless all of its own or all there are are taken.
    pub(crate) fn join(&self, zone: ZoneId) -> Option<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut zones = self.zones.lock();
        zones.retain(|_, followed| followed.receiver_count() > 0);
        let followed = zones.entry(zone).or_default();
        (followed.receiver_count() < MOST_OF_ZONE).then(|| Place {
            grown: followed.subscribe(),
            _place: place,
        })
    }

    /// Wakes the followers of every ledger that grows, for as long as the process lives.
    pub(crate) async fn keep_waking(self, database_url: String) {
        let mut growing = pin!(audit::listen(&database_url));
        while let Some(grown) = growing.next().await {
            self.wake(grown);
        }
    }

    /// Wakes a zone's followers; `None` wakes all.
    fn wake(&self, grown: Option<ZoneId>) {
        let zones = self.zones.lock();
        match grown {
            Some(zone) => {
                if let Some(followed) = zones.get(&zone) {
                    followed.send_replace(());
                }
            }
            None => {
                for followed in zones.values() {
                    followed.send_replace(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_so_many_follow_and_each_is_woken_for_its_own_zone() {
        let tails = Tails::default();
        let [mine, other] = [1, 2].map(|n| ZoneId::from(uuid::Uuid::from_u128(n)));
        let mut place = tails.join(mine).expect("a place");
        tails.wake(Some(other));
        assert!(!place.grown.has_changed().expect("the sender lives"));
        tails.wake(Some(mine));
        assert!(place.grown.has_changed().expect("the sender lives"));
        place.grown.mark_unchanged();
        tails.wake(None);
        assert!(place.grown.has_changed().expect("the sender lives"));
        let rest: Vec<_> = (0..MOST_OF_ZONE).map(|_| tails.join(other)).collect();
        assert!(rest.iter().all(Option::is_some) && tails.join(other).is_none());
        assert!(tails.join(mine).is_some(), "others follow all the same");
        drop(rest);
        let zones = (10_u128..).map(|n| ZoneId::from(uuid::Uuid::from_u128(n)));
        let held: Vec<_> = zones.map_while(|zone| tails.join(zone)).collect();
        assert_eq!(held.len(), MOST - 1);
        drop(place);
        assert!(tails.join(mine).is_some());
    }
}
