//! Everything that leaves the house: one client for every URL that comes from configuration or a fetched document.
//!
//! The address is checked where the connection is made, IP literals included, and the connection goes to the address
//! that was checked. There are no redirects, no proxies, and no way to switch the check off.
//!
//! [`Internal`] is the other client, for the one address that the operator gave us ourselves (`STS_URL`).
//!
//! Start with [`policy`] (what the text of a URL shows), [`address`] (what an address is), [`connect`] (where both meet).

pub mod address;
pub mod body;
pub mod connect;
pub mod error;
pub mod headers;
pub mod internal;
pub mod metadata;
pub mod oauth;
mod own;
pub mod policy;
mod tls;
pub mod upstreams;

pub use body::{Body, BoxError};
pub use connect::Judged;
pub use error::EgressError;
pub use internal::Internal;
pub use metadata::{FetchError, Metadata};
pub use oauth::TokenError;
pub use own::{Own, places_of};
pub use policy::{EgressPolicy, Forbidden, check_url};
pub use upstreams::Upstreams;
