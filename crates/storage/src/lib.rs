//! Every table, row and query of Caracal, over PostgreSQL.
//!
//! This crate must never decide anything, never open a transaction on its own behalf where a use-case could need one
//! around it, and never let a diesel type reach `domain`: rows become domain types by `TryFrom` here. A use-case opens
//! the transaction ([`Database::begin`]) and calls free functions on it; inside it there is SQL and nothing else.
//!
//! Start with [`database`] (connections), then [`zones`] (a table module like all others, and the epoch), then
//! [`snapshot`] (one consistent picture of a zone) and [`outbox`] (how a change is told).

pub mod activation_loads;
pub mod admin_tokens;
pub mod agents;
pub mod anchors;
pub mod applications;
pub mod audit;
pub mod checkpoints;
mod column;
pub mod connections;
pub mod database;
pub mod dead_letters;
pub mod delegations;
pub mod endings;
pub mod error;
pub mod grants;
pub mod idempotency;
pub mod invitations;
mod kept;
pub mod keys;
pub mod ledger_keys;
pub mod migrations;
pub mod modules;
mod notifications;
pub mod outbox;
pub mod page;
pub mod policies;
pub mod policy_sets;
pub mod providers;
pub mod replicas;
pub mod resources;
mod schema;
pub mod sessions;
pub mod snapshot;
pub mod spool;
pub mod step_up;
pub mod subject_blocks;
pub mod subject_issuers;
pub mod sweep;
mod target;
pub mod upkeep;
pub mod used_assertions;
pub mod zones;

pub use database::{Conn, Connection, Database, DatabaseConfig, Transaction, database_time};
pub use error::{Error, Result};
pub use page::Page;
pub use target::{check_url, places};
