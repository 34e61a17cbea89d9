//! The STS as its callers see it, against the real binaries, a real PostgreSQL and a real NATS.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and signs with the time of day"
)]

mod actors;
mod bad_input;
mod client_credentials;
mod clients;
mod clocks;
mod connections;
mod cuts;
mod delegation;
mod discovery;
mod documented;
mod exchange;
mod grants;
mod hands;
mod introspection;
mod key_sets;
mod keys;
mod private_key_jwt;
mod provided;
mod record;
mod revocation;
mod shadow;
mod signing;
mod step_up;
mod strangers;
mod users;
mod workload;
