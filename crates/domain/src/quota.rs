//! Rates as a pure rule: the generic cell rate algorithm over any key, with time as a parameter.

use crate::clock::Timestamp;
use std::collections::HashMap;
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

/// How many refusals of callers nobody knows the ledger takes: ten a second of one source, a hundred of all together
/// (contract §6).
#[derive(Debug, Default)]
pub struct StrangersQuota {
    each: Quota<IpAddr>,
    all: Quota<()>,
}

impl StrangersQuota {
    /// Whether there is room for one more. A source alone cannot use up what all have together: its own rate is asked
    /// first.
    pub fn admits(&mut self, source: IpAddr, now: Timestamp) -> bool {
        self.each.admit(source, 10, 1, now).is_ok() && self.all.admit((), 100, 1, now).is_ok()
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
}
