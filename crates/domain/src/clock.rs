//! Time as a parameter.

use chrono::{DateTime, Utc};

/// An instant in UTC; on the wire always RFC 3339.
pub type Timestamp = DateTime<Utc>;

/// Where the current time comes from. Only `lifecycle` implements it over the system clock.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// A clock that always answers the same instant, for tests and replays.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}
