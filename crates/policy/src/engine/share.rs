//! No zone may have more than its share of decisions under way, nor more than its turn of the threads for long ones.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// How many decisions each account has under way.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    taken: Mutex<HashMap<Uuid, Account>>,
}

/// What an account has under way.
#[derive(Debug)]
struct Account {
    decisions: usize,
    turns: Turns,
}

/// Who holds the one permit may run: however many long decisions an account has, it stands in the queue once.
pub(super) type Turns = Arc<Semaphore>;

/// One decision under way; ends when dropped.
pub(super) struct Share {
    of: Arc<Shares>,
    account: Uuid,
    turns: Turns,
}

impl Share {
    /// The account's turns.
    pub(super) fn turns(&self) -> Turns {
        Arc::clone(&self.turns)
    }
}

impl Shares {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// Room for one more decision on this account, or `None` when it has its share.
    pub(super) fn take(self: &Arc<Self>, account: Uuid) -> Option<Share> {
        let mut taken = self.taken.lock();
        let mine = taken.entry(account).or_insert_with(|| Account {
            decisions: 0,
            turns: Arc::new(Semaphore::new(1)),
        });
        if mine.decisions >= self.most {
            return None;
        }
        mine.decisions += 1;
        Some(Share {
            of: Arc::clone(self),
            account,
            turns: Arc::clone(&mine.turns),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock();
        if let Some(mine) = taken.get_mut(&self.account) {
            mine.decisions -= 1;
            if mine.decisions == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_its_share_and_gives_it_back() {
        let shares = Arc::new(Shares::new(2));
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let first = shares.take(one);
        let _second = shares.take(one);
        assert!(shares.take(one).is_none());
        assert!(shares.take(other).is_some());
        drop(first);
        assert!(shares.take(one).is_some());
    }
}
