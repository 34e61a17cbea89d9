//! The control plane: zones, applications, resources, providers, policies, sessions and the reading of the ledger, over
//! REST (seed `004`, contract §1).
//!
//! This service must never decide about authority at run time, never show a secret it did not just generate, and never
//! change configuration without telling: every write draws its zone's epoch, leaves a message in the outbox and a
//! record in the spool, all in the transaction that makes the change (`change.rs`).
//!
//! Start with [`routes`], then one noun: `resource.rs` is its HTTP, `resource/manage.rs` what is done.

mod actor;
mod admin_token;
mod app;
mod application;
mod attempt;
mod audit;
mod bootstrap;
mod change;
mod config;
mod connection;
mod docs;
mod ending;
mod error;
mod grant;
mod idempotency;
mod invitation;
mod ledger;
mod oauth;
pub mod openapi;
mod paging;
mod policy;
mod policy_set;
mod provider;
mod refusals;
mod reply;
mod resource;
pub mod routes;
mod seed;
mod session;
mod sight;
mod signing_key;
mod step_up;
mod subject;
mod subject_issuer;
mod tails;
mod template;
mod text;
mod upkeep;
mod zone;

pub use app::{Api, serve};
pub use config::Config;
