//! Storage against a real PostgreSQL: one scratch database per test, cloned from one migrated template.
//! Needs `CARACAL_SUPERUSER_URL`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests run on the real clock and on tasks of their own"
)]

mod assertions;
mod constraints;
mod encrypted;
mod epochs;
mod fixture;
mod isolation;
mod ledger;
mod lists;
mod migrations;
mod one_zone;
mod outbox;
mod plans;
mod policy_sets;
mod pool;
mod roles;
mod scratch;
mod sessions;
mod snapshot;
mod step_up;
mod sweep;
mod tokens;
