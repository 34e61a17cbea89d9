//! PostgreSQL's time without asking it each time.

use caracal_domain::Timestamp;
use std::time::{Duration, Instant};

/// How long a measurement is believed: two monotonic clocks drift apart by milliseconds in this time, not more.
const TRUSTED_FOR: Duration = Duration::from_mins(10);

/// The database's clock, measured once and carried on by the monotonic clock of this machine.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseClock {
    database: Timestamp,
    at: Instant,
}

impl DatabaseClock {
    /// The database said `db`. `at` is the moment **before** it was asked: the round trip then makes this clock run
    /// ahead, so a replica believes itself older than it is, never younger.
    #[must_use]
    pub const fn measured(db: Timestamp, at: Instant) -> Self {
        Self { database: db, at }
    }

    /// The database's time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.database + self.at.elapsed()
    }

    /// The same, unless the measurement is too old to be believed.
    pub(crate) fn trusted_now(&self) -> Option<Timestamp> {
        (self.at.elapsed() <= TRUSTED_FOR).then(|| self.now())
    }
}
