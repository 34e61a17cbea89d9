//! The audit service: decision events from NATS `JetStream` → the tamper-evident ledger in PostgreSQL.
//!
//! It must never acknowledge an event before the ledger holds it, never put one there twice, and never put one there
//! that it cannot parse or trust. Any number of ingesters may run side by side.
//!
//! Start with [`Ingester::run`], then [`Ledger::write`].

mod app;
mod config;
mod ingest;
mod ledger;
mod metrics;
mod sift;
mod trim;

pub use app::serve;
pub use config::Config;
pub use ingest::Ingester;
pub use ledger::{Ledger, Written};
pub use metrics::Metrics;
pub use sift::{Entry, sift};
