//! Stories that cross services, told against the real binaries, a real PostgreSQL and a real NATS.
//!
//! Each file is one story; `load.rs` is the agent that keeps calling while something is done to the stack.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, measures by printing, and starts its own tasks"
)]

mod activations;
mod broken_policy;
mod freshness;
mod half_open;
mod ledger;
mod load;
mod nats_down;
mod parts_down;
mod postgres_down;
mod postgres_frozen;
mod processes;
mod replay;
mod revocation;
mod straight_path;
mod sudden_death;
mod traces;
mod warm_mint;
