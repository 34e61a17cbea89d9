//! What every process needs and no business knows: configuration, telemetry, probes, background tasks, drain.
//!
//! This crate must never name a zone, a token or a policy. It is also the only place that asks the system for the time
//! ([`SystemClock`]) and the only one that starts a background task ([`Tasks`]).
//!
//! Start with [`service::run`], which is all that a `main.rs` calls; then [`config`] and [`probes`].

pub mod clock;
pub mod config;
pub mod counters;
pub mod healthcheck;
pub mod metrics;
pub mod probes;
pub mod serve;
pub mod service;
pub mod tasks;
pub mod telemetry;

pub use caracal_trace as trace;
pub use clock::SystemClock;
pub use config::{Common, Env, Mode};
pub use probes::ProbeSet;
pub use service::{Host, Service, run};
pub use tasks::{Tasks, spawn};

/// A mandate is made in some two hundred small allocations on one thread and freed on the same: glibc's allocator took a
/// seventh of what one cost, this one takes a third of that (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An error of any kind that ends a process.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a process exits with when its configuration is wrong (`EX_USAGE`, contract §7).
pub const EXIT_CONFIG: u8 = 64;
