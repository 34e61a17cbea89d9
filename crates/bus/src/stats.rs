//! What the bus counts; services export it as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Everything one [`Bus`](crate::Bus) has counted since it was connected.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Stats {
            /// Name, description and value of each, for a metrics page.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.get())),+]
            }
        }
    };
}

stats! {
    /// Messages acknowledged by `JetStream`, duplicates included.
    published,
    /// Publishes that failed or timed out.
    publish_failures,
    /// Messages whose signature did not hold: alert on any.
    untrusted,
    /// Trusted messages that could not be decoded.
    undecodable,
    /// Decisions written to the spool because `JetStream` did not acknowledge.
    spooled,
    /// Decisions that neither `JetStream` nor the spool took.
    unrecorded,
    /// Refusals dropped because the queue was full or no store took them: alert on any.
    notes_dropped,
    /// Refusals before authentication that were only counted.
    strangers_suppressed,
    /// Mandates presented a second time.
    replays,
    /// Times the breaker before `JetStream` opened.
    breaker_openings,
    /// Feed events applied.
    feed_events,
    /// Heartbeats applied.
    feed_heartbeats,
    /// Holes seen in the sequence of the feed.
    feed_gaps,
    /// Times the view was read again from PostgreSQL because the feed was not whole.
    feed_rebuilds,
}
