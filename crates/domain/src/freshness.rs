//! How old a replica's view may be, as a pure rule.

use crate::clock::Timestamp;
use std::time::Duration;

/// Whether a replica may decide from what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// Everything committed up to `FEED_MAX_LAG` ago has been applied.
    Fresh,
    /// Something may be missing: decide only after reading through.
    Behind,
}

/// Where a replica stands in the feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedPosition {
    /// The last heartbeat applied in stream order.
    pub heartbeat: Option<Timestamp>,
    /// A message was missed, or could not be trusted, and the view has not been rebuilt since.
    pub broken: bool,
}

impl FeedPosition {
    /// Fresh only while the last applied heartbeat is at most `bound` old by the database's clock; an unknown
    /// database time counts as behind.
    #[must_use]
    pub fn staleness(&self, database_now: Option<Timestamp>, bound: Duration) -> Staleness {
        match self.lag(database_now) {
            Some(lag) if lag <= bound => Staleness::Fresh,
            Some(_) | None => Staleness::Behind,
        }
    }

    /// How far the view may lag; `None` when that cannot be known.
    #[must_use]
    pub fn lag(&self, database_now: Option<Timestamp>) -> Option<Duration> {
        if self.broken {
            return None;
        }
        let lag = database_now?.signed_duration_since(self.heartbeat?);
        Some(lag.to_std().unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        chrono::DateTime::from_timestamp_millis(millis).expect("in range")
    }

    #[test]
    fn fresh_up_to_the_bound_and_not_a_millisecond_longer() {
        let position = FeedPosition {
            heartbeat: Some(at(10_000)),
            broken: false,
        };
        let bound = Duration::from_secs(2);
        assert_eq!(position.staleness(Some(at(12_000)), bound), Staleness::Fresh);
        assert_eq!(position.staleness(Some(at(12_001)), bound), Staleness::Behind);
        assert_eq!(
            position.staleness(Some(at(9_990)), bound),
            Staleness::Fresh,
            "a clock slightly behind"
        );
    }

    #[test]
    fn what_is_unknown_is_behind() {
        let bound = Duration::from_secs(2);
        let beaten = FeedPosition {
            heartbeat: Some(at(10_000)),
            broken: false,
        };
        assert_eq!(beaten.staleness(None, bound), Staleness::Behind);
        assert_eq!(
            FeedPosition::default().staleness(Some(at(10_000)), bound),
            Staleness::Behind
        );
        assert_eq!(
            FeedPosition {
                broken: true,
                ..beaten
            }
            .staleness(Some(at(10_000)), bound),
            Staleness::Behind
        );
    }
}
