//! The one adapter to NATS `JetStream`: signed publishing, the record of decisions, the feed, durable consumption.
//!
//! This crate must never touch the database, decide anything, or hand out a message whose signature does not hold as
//! if it did. Whoever needs both NATS and PostgreSQL passes the PostgreSQL side in as a trait ([`Spool`],
//! [`FeedSink`]).
//!
//! Start with [`Recorder::record`] (no record, no mandate) and [`Feed::follow`] (how fresh a replica is).

mod bounded_wait;
mod breaker;
mod cause;
mod connection;
mod consume;
mod database_clock;
mod feed;
mod feed_position;
mod record;
mod signature;
mod stats;
mod strangers;
mod streams;

pub use caracal_wire::{AUDIT_SUBJECT, USES_SUBJECT};
pub use connection::{Ack, Bus, BusConfig, Error, PublishError, StoredMessage, check_url};
pub use consume::{Delivery, Puller, Reached};
pub use database_clock::DatabaseClock;
pub use feed::{Feed, FeedConfig, FeedSink};
pub use feed_position::FeedHandle;
pub use record::{NoRecord, Recorded, Recorder, Spool, Use};
pub use signature::{InvalidKeys, StreamKeys, Untrusted, UntrustedReason};
pub use stats::{Counter, Stats};
pub use strangers::{Strangers, StrangersConfig};
pub use streams::{AUDIT_STREAM, FEED_STREAM, USES_STREAM};

/// Any error of the other side of a trait of this crate.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
