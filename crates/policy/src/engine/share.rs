//! No policy set, and so no zone, may have more than its share of decisions under way.

use caracal_domain::id::PolicySetId;
use parking_lot::Mutex;
use std::collections::HashMap;

/// How many decisions each policy set has under way.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    taken: Mutex<HashMap<PolicySetId, usize>>,
}

/// One decision under way; ends when dropped.
pub(super) struct Share<'a> {
    of: &'a Shares,
    set: PolicySetId,
}

impl Shares {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// Room for one more decision of `set`, or `None` when it has its share.
    pub(super) fn take(&self, set: PolicySetId) -> Option<Share<'_>> {
        let mut taken = self.taken.lock();
        let mine = taken.entry(set).or_default();
        if *mine >= self.most {
            return None;
        }
        *mine += 1;
        Some(Share { of: self, set })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock();
        if let Some(mine) = taken.get_mut(&self.set) {
            *mine -= 1;
            if *mine == 0 {
                taken.remove(&self.set);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_share_and_gives_it_back() {
        let shares = Shares::new(2);
        let [one, other] = [1, 2].map(|n| PolicySetId::from(uuid::Uuid::from_u128(n)));
        let first = shares.take(one);
        let _second = shares.take(one);
        assert!(shares.take(one).is_none());
        assert!(shares.take(other).is_some());
        drop(first);
        assert!(shares.take(one).is_some());
    }
}
