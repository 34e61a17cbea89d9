//! The STS's rates: mandates per resource and application, and failed client authentications. Both count on this replica
//! only.

use caracal_domain::clock::Timestamp;
use caracal_domain::id::{ApplicationId, ResourceId, ZoneId};
use caracal_domain::quota::{Exceeded, Quota};
use moka::sync::Cache;
use parking_lot::Mutex;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;

const FAILURES_A_MINUTE: u32 = 60;
const RESTING: u64 = 100_000;

/// Who may not try again before when. Bounded: of too many the least used are let go early.
struct Rests<K: Hash + Eq>(Cache<K, Timestamp>);

impl<K: Hash + Eq> fmt::Debug for Rests<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rests")
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Default for Rests<K> {
    fn default() -> Self {
        Self(Cache::new(RESTING))
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Rests<K> {
    /// Rests `key` for as long as its rate is exceeded; for so many seconds.
    fn begin(&self, key: K, exceeded: Exceeded, now: Timestamp) -> u32 {
        let seconds = exceeded.retry_after_seconds;
        self.0
            .insert(key, now + chrono::Duration::seconds(i64::from(seconds)));
        seconds
    }

    /// For how many seconds more.
    fn left(&self, key: &K, now: Timestamp) -> Option<u32> {
        let until = self.0.get(key)?;
        let millis = (until - now).num_milliseconds();
        if millis <= 0 {
            self.0.invalidate(key);
            return None;
        }
        Some(u32::try_from(millis.saturating_add(999) / 1000).unwrap_or(1))
    }
}

/// See the module. Each lock is held for one hash-map operation, never across an await.
#[derive(Debug, Default)]
pub struct Quotas {
    mandates: Mutex<Quota<(ZoneId, ResourceId, ApplicationId)>>,
    failures: Mutex<Quota<(ApplicationId, IpAddr)>>,
    throttled: Rests<(ApplicationId, IpAddr)>,
}

impl Quotas {
    /// One more mandate of `application` for `resource` (contract §2, "Rate limit").
    ///
    /// # Errors
    /// [`Exceeded`] past the zone's `mint_rate_per_minute`.
    pub fn mint(
        &self,
        key: (ZoneId, ResourceId, ApplicationId),
        per_minute: u32,
        now: Timestamp,
    ) -> Result<(), Exceeded> {
        self.mandates.lock().admit(key, per_minute, 60, now)
    }

    /// Seconds for which this application may not try from `source`, while the failures of the last minute are used
    /// up.
    #[must_use]
    pub fn throttled(&self, application: ApplicationId, source: IpAddr, now: Timestamp) -> Option<u32> {
        self.throttled.left(&(application, source), now)
    }

    /// One more failure of `application` from `source`, whether or not there is such an application.
    ///
    /// # Errors
    /// Seconds to wait, when it is one too many.
    pub fn failed(&self, application: ApplicationId, source: IpAddr, now: Timestamp) -> Result<(), u32> {
        let who = (application, source);
        let admitted = self.failures.lock().admit(who, FAILURES_A_MINUTE, 60, now);
        admitted.map_err(|exceeded| self.throttled.begin(who, exceeded, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caracal_domain::Clock;
    use caracal_lifecycle::SystemClock;

    #[test]
    fn the_failure_that_is_one_too_many_is_told_to_wait() {
        let (quotas, now) = (Quotas::default(), SystemClock::default().now());
        let (application, source) = (uuid::Uuid::nil().into(), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..60 {
            assert_eq!(quotas.failed(application, source, now), Ok(()));
        }
        assert_eq!(quotas.throttled(application, source, now), None);
        let wait = quotas
            .failed(application, source, now)
            .expect_err("the sixty-first");
        assert_eq!(quotas.throttled(application, source, now), Some(wait));
        let over = now + chrono::Duration::seconds(i64::from(wait));
        assert_eq!(quotas.throttled(application, source, over), None);
    }
}
