//! The STS as its callers see it, against the real binaries, a real PostgreSQL and a real NATS.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod bad_input;
mod clients;
mod discovery;
mod exchange;
mod introspection;
mod record;
mod strangers;
