//! The system clock.

use caracal_domain::{Clock, Timestamp};

/// The system's clock; the only one that is not a fixture.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    fn now(&self) -> Timestamp {
        chrono::Utc::now()
    }
}
