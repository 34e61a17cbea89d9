//! The three streams, and why each keeps what it keeps.

use crate::connection::{Bus, Error};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use caracal_wire::{AUDIT_SUBJECT, HEARTBEAT_SUBJECT, USES_SUBJECT};
use std::time::Duration;

/// Every invalidation and revocation, and the heartbeat.
pub const FEED_STREAM: &str = "CARACAL_FEED";
/// Decision events on their way to the ledger.
pub const AUDIT_STREAM: &str = "CARACAL_AUDIT";
/// Admitted mandates: at once the durable record and the replay table.
pub const USES_STREAM: &str = "CARACAL_USES";

impl Bus {
    /// Creates the streams that do not exist. What exists stays as it is: an operator may have given it replicas or
    /// limits of its own. Safe when several services start at once.
    ///
    /// # Errors
    /// When `JetStream` does not answer, or refuses a stream.
    pub async fn ensure_streams(&self) -> Result<(), Error> {
        for config in [feed(), audit(), uses()] {
            let name = config.name.clone();
            let created = self.jetstream.get_or_create_stream(config).await;
            created.map_err(|source| Error::Stream {
                name,
                source: source.into(),
            })?;
        }
        Ok(())
    }
}

/// Replicas read PostgreSQL when they start, so an hour of history only bridges disconnections.
fn feed() -> Config {
    let subjects = [
        "caracal.policy.invalidate",
        "caracal.keys.invalidate",
        "caracal.zones.invalidate",
        "caracal.sessions.revoke",
        "caracal.delegations.invalidate",
        "caracal.agents.lifecycle",
        HEARTBEAT_SUBJECT,
    ];
    Config {
        max_age: Duration::from_hours(1),
        duplicate_window: Duration::from_mins(2),
        discard: DiscardPolicy::Old,
        ..stream(FEED_STREAM, &subjects)
    }
}

/// A work queue: an event leaves only when the ingester has acknowledged it, which it does after its commit, however
/// long that takes. When the disk is full new events are refused, and the publisher hears of it.
fn audit() -> Config {
    Config {
        retention: RetentionPolicy::WorkQueue,
        duplicate_window: Duration::from_mins(2),
        ..stream(AUDIT_STREAM, &[AUDIT_SUBJECT])
    }
}

/// Kept after it was ingested, because the stored message is what tells a replay from an own retry. The duplicate
/// window is longer than a mandate can live (15 min and leeway), the age longer than the window.
fn uses() -> Config {
    Config {
        max_age: Duration::from_hours(24),
        duplicate_window: Duration::from_mins(20),
        ..stream(USES_STREAM, &[USES_SUBJECT])
    }
}

fn stream(name: &str, subjects: &[&str]) -> Config {
    Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        num_replicas: 1,
        ..Config::default()
    }
}
