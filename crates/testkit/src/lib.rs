//! A whole Caracal for a test: a PostgreSQL database of its own, a NATS server of its own, the real binaries as
//! processes, small real upstreams, and typed callers.
//!
//! It must never be more than a development dependency: it panics on everything that goes wrong, since that is how a
//! test fails.
//!
//! Start with [`Stack`], then [`World`] (a zone with all that one governed call needs).
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking, and reads its own environment"
)]

pub mod binaries;
pub mod callers;
pub mod cluster;
pub mod database;
pub mod documents;
mod local_server;
pub mod nats;
pub mod oauth_server;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod settings;
pub mod stack;
pub mod upstream;
pub mod world;

pub use callers::{Answer, Client, client};
pub use cluster::Cluster;
pub use database::Database;
pub use documents::{Conduct, Documents};
pub use nats::Nats;
pub use oauth_server::OauthServer;
pub use stack::{Service, Stack};
pub use upstream::Upstream;
pub use world::World;

use std::future::Future;
use std::time::{Duration, Instant};

/// Asks `probe` every few milliseconds until it answers `Some`, and fails the test after `patience`.
pub async fn eventually<T, F>(what: &str, patience: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            started.elapsed() < patience,
            "after {patience:?} there is still no: {what}"
        );
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
