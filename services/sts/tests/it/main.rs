//! The STS as its callers see it, against the real binaries, a real PostgreSQL and a real NATS.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and signs with the time of day"
)]

mod actors;
mod bad_input;
<<<<<<< HEAD
mod behind;
||||||| de1afe4
=======
mod client_credentials;
>>>>>>> a428e31973fa3df60a2ccea0290536bea44b3c29
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
mod hostile;
mod introspection;
mod key_sets;
mod keys;
mod order;
mod other_zone;
mod private_key_jwt;
<<<<<<< HEAD
mod rate;
||||||| de1afe4
=======
mod provided;
>>>>>>> a428e31973fa3df60a2ccea0290536bea44b3c29
mod record;
mod reentry;
mod revocation;
mod rotation;
mod sentences;
mod shadow;
mod signing;
mod step_up;
mod strangers;
mod user_subjects;
mod users;
mod workload;
