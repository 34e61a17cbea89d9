//! Rates as a pure rule: a sliding window over any key, with time as a parameter.

use crate::clock::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

/// Into how many parts a window is cut at most: admissions closer together than one count as the later of them.
const PARTS: i64 = 1024;

/// Why a rate said no: when the same key may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Whole seconds to wait, at least one: the value of `Retry-After`.
    pub retry_after_seconds: u32,
}

/// Never more than `limit` admissions for each key in any stretch of time as long as the period. Bounded: idle keys are
/// forgotten.
#[derive(Debug)]
pub struct Quota<K> {
    windows: HashMap<K, Window>,
    sweep_at: usize,
}

/// The admissions of one key that still count.
#[derive(Debug, Default)]
struct Window {
    admitted: VecDeque<Admissions>,
    count: u32,
    /// When the last of them ceases to count.
    idle_at: i64,
}

/// Admissions so close together that they cease to count together.
#[derive(Debug)]
struct Admissions {
    first: i64,
    last: i64,
    count: u32,
}

impl<K: Hash + Eq> Default for Quota<K> {
    fn default() -> Self {
        Self {
            windows: HashMap::new(),
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
        self.forget_idle(now);
        let window = self.windows.entry(key).or_default();
        window.forget(now - period);
        if window.count < limit {
            window.add(now, period);
            return Ok(());
        }
        let wait = (window.below(limit).unwrap_or(now) + period - now).clamp(1, period.max(1));
        let seconds = wait.div_euclid(1_000_000) + i64::from(wait.rem_euclid(1_000_000) > 0);
        Err(Exceeded {
            retry_after_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
        })
    }

    fn forget_idle(&mut self, now: i64) {
        if self.windows.len() >= self.sweep_at {
            self.windows.retain(|_, window| window.idle_at > now);
            self.sweep_at = (self.windows.len() * 2).max(1024);
        }
    }
}

impl Window {
    /// Drops what was admitted at `until` or before.
    fn forget(&mut self, until: i64) {
        while let Some(oldest) = self.admitted.pop_front_if(|oldest| oldest.last <= until) {
            self.count = self.count.saturating_sub(oldest.count);
        }
    }

    /// The admission that has to leave before there are fewer than `limit`.
    fn below(&self, limit: u32) -> Option<i64> {
        let mut left = self.count;
        let mut leaving = self.admitted.iter();
        let last = leaving.find(|oldest| {
            left = left.saturating_sub(oldest.count);
            left < limit
        });
        last.map(|oldest| oldest.last)
    }

    fn add(&mut self, now: i64, period: i64) {
        self.count += 1;
        self.idle_at = self.idle_at.max(now + period);
        match self.admitted.back_mut() {
            Some(latest) if now - latest.first <= period / PARTS => {
                latest.last = latest.last.max(now);
                latest.count += 1;
            }
            _ => self.admitted.push_back(Admissions {
                first: now,
                last: now,
                count: 1,
            }),
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
    fn a_window_admits_its_limit_and_no_more_until_the_first_has_left_it() {
        let mut quota = Quota::default();
        for second in 0..60 {
            assert_eq!(quota.admit("a", 60, 60, at(second * 500)), Ok(()));
        }
        let wait = |retry_after_seconds| Err(Exceeded { retry_after_seconds });
        assert_eq!(quota.admit("a", 60, 60, at(29_500)), wait(31));
        assert_eq!(
            quota.admit("b", 60, 60, at(29_500)),
            Ok(()),
            "another key has its own"
        );
        assert_eq!(quota.admit("a", 60, 60, at(59_999)), wait(1));
        assert_eq!(quota.admit("a", 60, 60, at(60_000)), Ok(()), "the first has left");
        assert_eq!(
            quota.admit("a", 60, 60, at(60_000)),
            wait(1),
            "the second has not"
        );
    }

    #[test]
    fn a_burst_waits_for_its_whole_period_and_never_longer() {
        let mut quota = Quota::default();
        for _ in 0..1_000 {
            assert_eq!(quota.admit((), 1_000, 60, at(0)), Ok(()));
        }
        let refused = quota.admit((), 1_000, 60, at(1));
        assert_eq!(refused.map_err(|e| e.retry_after_seconds), Err(60));
        assert_eq!(quota.admit((), 1_000, 60, at(60_000)), Ok(()));
    }

    #[test]
    fn a_lowered_limit_is_waited_for_until_it_holds() {
        let mut quota = Quota::default();
        for second in 0..4 {
            assert_eq!(quota.admit((), 4, 60, at(second * 10_000)), Ok(()));
        }
        let refused = quota.admit((), 2, 60, at(30_000));
        assert_eq!(
            refused.map_err(|e| e.retry_after_seconds),
            Err(50),
            "three must leave"
        );
        assert_eq!(quota.admit((), 2, 60, at(80_000)), Ok(()));
    }

    #[test]
    fn no_stretch_of_a_period_holds_more_than_the_limit() {
        let (mut quota, mut admitted) = (Quota::default(), Vec::new());
        // Faster than allowed, with steps that fall across the window's parts.
        for step in 0..40_000_i64 {
            let now = step * 7 + step % 13;
            if quota.admit((), 100, 60, at(now)).is_ok() {
                admitted.push(now);
            }
        }
        assert!(admitted.len() >= 400, "{}", admitted.len());
        for (first, after) in admitted.iter().zip(admitted.iter().skip(100)) {
            assert!(after - first >= 60_000, "{first} to {after}");
        }
    }

    #[test]
    fn idle_keys_are_forgotten() {
        let mut quota = Quota::default();
        for key in 0..5000 {
            assert_eq!(quota.admit(key, 1, 1, at(key * 2000)), Ok(()));
        }
        assert!(quota.windows.len() <= 1024);
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
