//! The STS as its callers see it, against the real binaries, a real PostgreSQL and a real NATS.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and signs with the time of day"
)]

mod actors;
mod aliases;
mod bad_input;
mod behind;
mod client_credentials;
mod client_failures;
mod clients;
mod clocks;
mod connections;
mod credentials;
mod cut_and_again;
mod cuts;
mod delegation;
mod discovery;
mod documented;
mod ended_sessions;
mod exchange;
mod faults;
mod forms;
mod grants;
mod hands;
mod hostile;
mod introspection;
mod just_made;
mod key_sets;
mod keys;
mod looked_for;
mod offline;
mod opened;
mod order;
mod other_zone;
mod policies;
mod policy_input;
mod private_key_jwt;
mod provided;
mod rate;
mod reasons;
mod reasons_revoked;
mod record;
mod reentry;
mod replayed;
mod revocation;
mod revoked_at_once;
mod rotation;
mod sentences;
mod shadow;
mod signing;
mod slow_bodies;
mod standards;
mod step_up;
mod step_up_times;
mod strangers;
mod stuck;
mod told;
mod user_subjects;
mod users;
mod workload;
