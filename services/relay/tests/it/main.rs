//! The relay against a real PostgreSQL and a real NATS, as library and as process.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod beating;
mod bench;
mod draining;
mod process;
mod sweeping;
