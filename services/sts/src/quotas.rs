//! The STS's rates: mandates per resource and application, failed client authentications, and misses that are confirmed
//! with the database. All count on this replica only.

use caracal_domain::clock::Timestamp;
use caracal_domain::id::{ApplicationId, ResourceId, ZoneId};
use caracal_domain::quota::{Exceeded, Quota};
use moka::sync::Cache;
use parking_lot::Mutex;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;

const FAILURES_A_MINUTE: u32 = 60;
/// How many misses of one caller the database is asked about in a second, and of all callers who are not proved.
const MISSES_A_SECOND: u32 = 20;
const STRANGERS_MISSES_A_SECOND: u32 = 200;
const RESTING: u64 = 100_000;

/// On whose account a miss is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Account {
    /// Nobody who is proved yet: whoever sits at this address.
    Source(IpAddr),
    /// An application that has proved itself.
    Application(ApplicationId),
    /// The gateways, for this zone.
    Gateway(ZoneId),
}

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
    misses: Mutex<Quota<Account>>,
    strangers_misses: Mutex<Quota<()>>,
    missing: Rests<Option<IpAddr>>,
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

    /// Seconds for which the database is not asked about what `source` names and nobody holds.
    #[must_use]
    pub fn rests(&self, source: IpAddr, now: Timestamp) -> Option<u32> {
        let own = self.missing.left(&Some(source), now);
        own.or_else(|| self.missing.left(&None, now))
    }

    /// The database was asked about something that is not there.
    pub fn missed(&self, source: IpAddr, now: Timestamp) {
        let own = Account::Source(source);
        if let Err(exceeded) = self.misses.lock().admit(own, MISSES_A_SECOND, 1, now) {
            self.missing.begin(Some(source), exceeded, now);
        } else if let Err(exceeded) =
            self.strangers_misses
                .lock()
                .admit((), STRANGERS_MISSES_A_SECOND, 1, now)
        {
            self.missing.begin(None, exceeded, now);
        }
    }

    /// Whether the database may be asked about one more miss on this account. A source alone cannot use up what all
    /// strangers have together: its own rate is asked first.
    #[must_use]
    pub fn confirms(&self, account: Account, now: Timestamp) -> bool {
        let own = self.misses.lock().admit(account, MISSES_A_SECOND, 1, now).is_ok();
        let stranger = matches!(account, Account::Source(_));
        own && (!stranger
            || self
                .strangers_misses
                .lock()
                .admit((), STRANGERS_MISSES_A_SECOND, 1, now)
                .is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caracal_domain::Clock;
    use caracal_lifecycle::SystemClock;

    #[test]
    fn misses_are_confirmed_at_a_rate_of_each_caller_and_of_all_strangers() {
        let (quotas, now) = (Quotas::default(), SystemClock::default().now());
        let confirmed = |account: &dyn Fn(u8) -> Account| {
            (0..=u8::MAX)
                .filter(|n| quotas.confirms(account(*n), now))
                .count()
        };
        let one = Account::Source(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(confirmed(&|_| one), 20, "one source");
        let many = confirmed(&|n| Account::Source(IpAddr::from([198, 51, 100, n])));
        assert_eq!(many, 180, "all strangers together");
        let application = Account::Application(uuid::Uuid::nil().into());
        assert_eq!(
            confirmed(&|_| application),
            20,
            "whoever is proved has a rate of its own"
        );
        let later = now + chrono::Duration::seconds(1);
        assert!(quotas.confirms(one, later));
    }

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

    #[test]
    fn a_source_that_misses_too_often_rests_and_no_other_does() {
        let (quotas, now) = (Quotas::default(), SystemClock::default().now());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..20 {
            quotas.missed(one, now);
        }
        assert_eq!(quotas.rests(one, now), None);
        quotas.missed(one, now);
        assert!(quotas.rests(one, now).is_some());
        assert_eq!(quotas.rests(other, now), None);
        assert_eq!(quotas.rests(one, now + chrono::Duration::seconds(2)), None);
    }
}
