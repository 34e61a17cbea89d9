//! The audit service against a real PostgreSQL and a real NATS, as library and as process.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod bench;
mod chaining;
mod dead_letters;
mod process;
