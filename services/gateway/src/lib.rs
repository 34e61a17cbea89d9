//! The gateway: verifies a bearer, asks nobody when it need not, records the use, injects the upstream's credential,
//! streams both ways and cuts on revocation (contract §5).
//!
//! It must never forward what it has not recorded, show a credential to a caller, or let a header through that the
//! allow-list does not name.
//!
//! Start with [`passage`], which reads as a call's life: admit, authenticate, decide, record, forward, finish. Then
//! [`views`] (what has been revoked) and [`running`] (what is cut when it is).

pub mod app;
mod beside;
pub mod call;
pub mod config;
pub mod confirm;
pub mod credentials;
pub mod directives;
pub mod error;
pub mod headers;
pub mod memory;
pub mod metadata;
pub mod metrics;
pub mod operations;
pub mod passage;
pub mod path;
pub mod routes;
pub mod running;
pub mod sts_client;
pub mod target;
pub mod upkeep;
pub mod upload;
pub mod views;
pub mod websocket;
pub mod zone_keys;

pub use app::{Gateway, serve};
pub use config::Config;
