//! The system clock.

use caracal_domain::{Clock, Timestamp};
use chrono::{Duration, SubsecRound};

/// The system's clock; the only one that is not a fixture. In development it may run ahead or behind
/// (`CLOCK_OFFSET_MS`), so that what happens when machines disagree can be tried on one.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    offset: Duration,
}

impl SystemClock {
    /// A clock that is so many milliseconds ahead; negative is behind.
    #[must_use]
    pub fn ahead_by(milliseconds: i32) -> Self {
        Self {
            offset: Duration::milliseconds(milliseconds.into()),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            offset: Duration::zero(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    fn now(&self) -> Timestamp {
        // PostgreSQL keeps microseconds: a time has one spelling, whether it was stored meanwhile or not.
        (chrono::Utc::now() + self.offset).trunc_subsecs(6)
    }
}
