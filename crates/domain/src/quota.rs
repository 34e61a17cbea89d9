//! Rates as a pure rule: the generic cell rate algorithm over any key, with time as a parameter.

use crate::clock::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

/// Why a rate said no: when the same key may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Whole seconds to wait, at least one: the value of `Retry-After`.
    pub retry_after_seconds: u32,
}

/// At most `limit` admissions a `period` for each key, refilled evenly. Bounded: idle keys are forgotten.
#[derive(Debug)]
pub struct Quota<K> {
    full_at: HashMap<K, i64>,
    sweep_at: usize,
}

impl<K: Hash + Eq> Default for Quota<K> {
    fn default() -> Self {
        Self {
            full_at: HashMap::new(),
            sweep_at: 1024,
        }
    }
}

impl<K: Hash + Eq> Quota<K> {
    /// Admits one more for `key`, or says when to come back. A `limit` of zero admits nothing.
    ///
    /// # Errors
    /// [`Exceeded`] when `limit` in `period_seconds` is used up.
    pub fn admit(&mut self, key: K, limit: u32, period_seconds: u32, now: Timestamp) -> Result<(), Exceeded> {
        let now = now.timestamp_micros();
        let period = i64::from(period_seconds) * 1_000_000;
        let Some(each) = period.checked_div(i64::from(limit)) else {
            return Err(Exceeded {
                retry_after_seconds: period_seconds.max(1),
            });
        };
        self.forget_idle(now);
        let entry = self.full_at.entry(key).or_insert(now);
        let next = (*entry).max(now) + each;
        let wait = next - now - period;
        if wait > 0 {
            let seconds = u32::try_from(wait.div_euclid(1_000_000) + 1).unwrap_or(u32::MAX);
            return Err(Exceeded {
                retry_after_seconds: seconds,
            });
        }
        *entry = next;
        Ok(())
    }

    fn forget_idle(&mut self, now: i64) {
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = (self.full_at.len() * 2).max(1024);
        }
    }
}

/// At most `limit` admissions in any one second for each key, however they lie in it. Bounded: idle keys are forgotten,
/// and no key is kept that was never admitted.
#[derive(Debug)]
struct AnySecond<K> {
    admitted: HashMap<K, VecDeque<i64>>,
    limit: usize,
    sweep_at: usize,
}

impl<K: Hash + Eq> AnySecond<K> {
    fn of(limit: usize) -> Self {
        Self {
            admitted: HashMap::new(),
            limit,
            sweep_at: 1024,
        }
    }

    fn has_room(&self, key: &K, now: i64) -> bool {
        let recent = self
            .admitted
            .get(key)
            .and_then(|times| times.get(times.len().checked_sub(self.limit)?));
        recent.is_none_or(|oldest| now - oldest >= MICROS)
    }

    fn take(&mut self, key: K, now: i64) {
        if self.admitted.len() >= self.sweep_at {
            self.admitted
                .retain(|_, times| times.back().is_some_and(|last| now - last < MICROS));
            self.sweep_at = (self.admitted.len() * 2).max(1024);
        }
        let times = self.admitted.entry(key).or_default();
        if times.len() >= self.limit {
            times.pop_front();
        }
        times.push_back(now);
    }
}

/// A second.
const MICROS: i64 = 1_000_000;

/// How many refusals of callers nobody knows the ledger takes: ten in any second of one source, a hundred of all
/// together (contract §6).
#[derive(Debug)]
pub struct StrangersQuota {
    each: AnySecond<IpAddr>,
    all: AnySecond<()>,
}

impl Default for StrangersQuota {
    fn default() -> Self {
        Self {
            each: AnySecond::of(10),
            all: AnySecond::of(100),
        }
    }
}

impl StrangersQuota {
    /// Whether there is room for one more. A source alone cannot use up what all have together.
    pub fn admits(&mut self, source: IpAddr, now: Timestamp) -> bool {
        let now = now.timestamp_micros();
        let admits = self.each.has_room(&source, now) && self.all.has_room(&(), now);
        if admits {
            self.each.take(source, now);
            self.all.take((), now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        chrono::DateTime::from_timestamp_millis(millis).expect("in range")
    }

    #[test]
    fn a_minute_admits_its_limit_and_then_one_each_refill() {
        let mut quota = Quota::default();
        for _ in 0..60 {
            assert_eq!(quota.admit("a", 60, 60, at(0)), Ok(()));
        }
        assert_eq!(
            quota.admit("a", 60, 60, at(0)),
            Err(Exceeded {
                retry_after_seconds: 2
            })
        );
        assert_eq!(quota.admit("b", 60, 60, at(0)), Ok(()), "another key has its own");
        assert_eq!(quota.admit("a", 60, 60, at(1000)), Ok(()));
        assert!(quota.admit("a", 60, 60, at(1000)).is_err());
    }

    #[test]
    fn idle_keys_are_forgotten() {
        let mut quota = Quota::default();
        for key in 0..5000 {
            assert_eq!(quota.admit(key, 1, 1, at(key * 2000)), Ok(()));
        }
        assert!(quota.full_at.len() <= 1024);
    }

    #[test]
    fn a_limit_of_zero_admits_nothing() {
        assert!(Quota::default().admit((), 0, 60, at(0)).is_err());
    }

    #[test]
    fn of_strangers_ten_of_a_source_and_a_hundred_of_all_pass_in_any_second() {
        let mut quota = StrangersQuota::default();
        let source = |last: u8| IpAddr::from([10, 0, 0, last]);
        let mut admitted = Vec::new();
        for millis in (0..5000).step_by(7) {
            if quota.admits(source(1), at(millis)) {
                admitted.push(millis);
            }
        }
        for window in admitted.windows(11) {
            assert!(window[10] - window[0] >= 1000, "{window:?}");
        }
        assert_eq!(admitted.len(), 50, "and it is not less than that");
        let all = (0..=255).filter(|last| quota.admits(source(*last), at(10_000)));
        assert_eq!(all.count(), 100);
        assert!(!quota.admits(source(200), at(10_999)) && quota.admits(source(200), at(11_000)));
    }
}
