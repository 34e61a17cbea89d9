//! The HTTP conventions of every service (contract, "Conventions"): request ids, error bodies, strict bodies, queries
//! and path ids, 404 and 405, epochs in headers, and handlers that run to completion.
//!
//! This crate must never know a rule of the business: it turns wire into types, and refusals into answers.
//!
//! Start with [`app()`] (what every service's `App` is made of), then [`error`] and [`body`].

pub mod app;
pub mod body;
pub mod completion;
pub mod endpoint;
pub mod epoch;
pub mod error;
pub mod path;
pub mod peer;
pub mod query;
pub mod request_id;
mod validation;

pub use app::{Shell, app};
pub use body::{JsonBody, JsonBytes, OptionalBody, ReceivedBody};
pub use completion::{finish, settled, to_completion};
pub use endpoint::{Endpoint, endpoint};
pub use epoch::{CARACAL_MIN_EPOCH, CARACAL_ZONE_EPOCH, MinEpoch, zone_epoch};
pub use error::{ApiError, Issue, Place};
pub use path::{PathId, PathObject};
pub use peer::{bearer, source_address};
pub use query::QueryParams;
pub use request_id::{CurrentRequestId, RequestIds, X_REQUEST_ID};

/// The headers of an answer that holds a token (RFC 6749 §5.1).
pub const NO_STORE: [(&str, &str); 2] = [("Cache-Control", "no-store"), ("Pragma", "no-cache")];
