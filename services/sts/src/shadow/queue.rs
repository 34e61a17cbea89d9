//! What waits, zone by zone in turns: a zone that asks much delays itself, and takes no other's place.

use caracal_domain::id::ZoneId;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use tokio::sync::Notify;

/// How much may wait, of all zones together and of each.
const WAITING: usize = 512;
const WAITING_OF_A_ZONE: usize = 64;

/// See the module. One task at a time takes from it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    more: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    of: HashMap<ZoneId, VecDeque<T>>,
    turns: VecDeque<ZoneId>,
    count: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let waiting = Waiting {
            of: HashMap::new(),
            turns: VecDeque::new(),
            count: 0,
        };
        Self {
            waiting: Mutex::new(waiting),
            more: Notify::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Adds one, unless there is no place for it.
    pub(super) fn push(&self, zone: ZoneId, one: T) -> bool {
        let mut waiting = self.waiting.lock();
        let place =
            waiting.count < WAITING && waiting.of.get(&zone).map_or(0, VecDeque::len) < WAITING_OF_A_ZONE;
        if place {
            waiting.count += 1;
            let queue = waiting.of.entry(zone).or_default();
            queue.push_back(one);
            if queue.len() == 1 {
                waiting.turns.push_back(zone);
            }
            self.more.notify_one();
        }
        place
    }

    /// The next one, as soon as there is one.
    pub(super) async fn pop(&self) -> T {
        loop {
            if let Some(one) = self.next() {
                return one;
            }
            self.more.notified().await;
        }
    }

    fn next(&self) -> Option<T> {
        let mut waiting = self.waiting.lock();
        let zone = waiting.turns.pop_front()?;
        let queue = waiting.of.get_mut(&zone)?;
        let one = queue.pop_front()?;
        if queue.is_empty() {
            waiting.of.remove(&zone);
        } else {
            waiting.turns.push_back(zone);
        }
        waiting.count -= 1;
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_zone_that_asks_much_takes_no_others_place_and_no_others_turn() {
        let queue = Queue::default();
        let [loud, quiet] = [1, 2].map(|n| ZoneId::from(Uuid::from_u128(n)));
        let taken = (0..1_000).filter(|n| queue.push(loud, *n)).count();
        assert_eq!(taken, WAITING_OF_A_ZONE);
        assert!(queue.push(quiet, 2_000) && queue.push(quiet, 2_001));
        let mut order = Vec::new();
        for _ in 0..5 {
            order.push(queue.pop().await);
        }
        assert_eq!(order, [0, 2_000, 1, 2_001, 2]);
    }

    #[tokio::test]
    async fn all_zones_together_have_their_limit_and_what_was_taken_makes_place() {
        let queue = Queue::default();
        let zone = |n: usize| ZoneId::from(Uuid::from_u128(u128::try_from(n).expect("small")));
        let taken = (0..1_000).filter(|n| queue.push(zone(*n), *n)).count();
        assert_eq!(taken, WAITING);
        assert!(!queue.push(zone(5_000), 0));
        queue.pop().await;
        assert!(queue.push(zone(5_000), 0));
    }
}
