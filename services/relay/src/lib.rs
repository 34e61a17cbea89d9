//! The relay: outbox and spool rows in PostgreSQL → NATS `JetStream`, and the heartbeat that proves it.
//!
//! It must never publish what is not committed, never forget a row before `JetStream` has acknowledged it, and never
//! send a heartbeat over a row that anybody still holds. Any number of relays may run side by side.
//!
//! Start with [`Relay::drain_outbox`], then [`Relay::beat`].

mod app;
mod config;
mod heartbeat;
mod metrics;
mod relay;
mod sweep;

pub use app::serve;
pub use config::Config;
pub use heartbeat::BeatError;
pub use metrics::Metrics;
pub use relay::{Moved, Relay};
