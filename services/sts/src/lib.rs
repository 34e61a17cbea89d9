//! The security token service: exchanges what an application has for a narrower, shorter-lived token, if policy says
//! yes and the decision is on record (RFC 8693; contract §2).
//!
//! It must never sign before the record, widen what was presented, or decide on state it cannot vouch for.
//!
//! Start with [`routes`], then walk: [`token`] → [`exchange`] → [`decide`] → [`settle`].

pub mod about_token;
pub mod absent;
pub mod acting;
pub mod actor;
pub mod app;
pub mod assertion;
pub mod authenticate;
pub mod config;
pub mod credential;
pub mod decide;
pub mod directive;
pub mod discovery;
pub mod error;
pub mod evaluate;
pub mod exchange;
pub mod external;
pub mod feed;
pub mod form;
pub mod graph;
pub mod internal;
pub mod introspect;
pub mod kek;
pub mod key_sets;
pub mod metrics;
pub mod naming;
pub mod narrow;
pub mod outrun;
pub mod prove;
pub mod quotas;
pub mod record;
pub mod revoke;
pub mod routes;
pub mod settle;
pub mod shadow;
pub mod step_up;
pub mod subject;
pub mod token;
pub mod told;
pub mod view;
pub mod zones;

pub use app::serve;
pub use config::Config;
