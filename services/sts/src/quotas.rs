//! The STS's rates: mandates per resource and application, and failed client authentications. All count on this replica
//! only.

use caracal_domain::clock::{Clock, Timestamp};
use caracal_domain::id::{ApplicationId, ResourceId, ZoneId};
use caracal_domain::quota::{Exceeded, Quota};
use parking_lot::Mutex;
use std::net::IpAddr;

const FAILURES_A_MINUTE: u32 = 60;

/// See the module. Each lock is held for one hash-map operation, never across an await.
#[derive(Debug, Default)]
pub struct Quotas {
    mandates: Mutex<Quota<(ZoneId, ResourceId, ApplicationId)>>,
    failures: Mutex<Quota<(ApplicationId, IpAddr)>>,
    throttled: Mutex<std::collections::HashMap<(ApplicationId, IpAddr), Timestamp>>,
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
}
