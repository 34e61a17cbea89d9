//! The STS's rates: mandates per resource and application, failed client authentications, and misses that are confirmed
//! with the database. All count on this replica only.

use caracal_domain::clock::{Clock, Timestamp};
use caracal_domain::id::{ApplicationId, ResourceId, ZoneId};
use caracal_domain::quota::{Exceeded, Quota};
use parking_lot::Mutex;
use std::net::IpAddr;

const FAILURES_A_MINUTE: u32 = 60;
/// How many misses of one caller the database is asked about in a second, and of all callers who are not proved.
const MISSES_A_SECOND: u32 = 20;
const STRANGERS_MISSES_A_SECOND: u32 = 200;

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

/// See the module. Each lock is held for one hash-map operation, never across an await.
#[derive(Debug, Default)]
pub struct Quotas {
    mandates: Mutex<Quota<(ZoneId, ResourceId, ApplicationId)>>,
    failures: Mutex<Quota<(ApplicationId, IpAddr)>>,
    throttled: Mutex<std::collections::HashMap<(ApplicationId, IpAddr), Timestamp>>,
    misses: Mutex<Quota<Account>>,
    strangers_misses: Mutex<Quota<()>>,
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
        let mut throttled = self.throttled.lock();
        throttled.retain(|_, until| *until > now);
        let until = throttled.get(&(application, source))?;
        let millis = (*until - now).num_milliseconds();
        Some(u32::try_from(millis.saturating_add(999) / 1000).unwrap_or(1))
    }

    /// One more failure of `application` from `source`.
    pub fn failed(&self, application: ApplicationId, source: IpAddr, clock: &dyn Clock) {
        let now = clock.now();
        if let Err(exceeded) = self
            .failures
            .lock()
            .admit((application, source), FAILURES_A_MINUTE, 60, now)
        {
            let until = now + chrono::Duration::seconds(i64::from(exceeded.retry_after_seconds));
            self.throttled.lock().insert((application, source), until);
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
}
