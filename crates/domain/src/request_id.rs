//! The id that ties a request's log lines, spans and ledger events together.

use crate::clock::Clock;
use crate::id::EventId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The caller's `X-Request-Id` when it is 1–128 characters of `[A-Za-z0-9._:-]`, else a new `UUIDv7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// The caller's value if it is well formed, else a fresh one.
    #[must_use]
    pub fn accept_or_mint(offered: Option<&str>, clock: &dyn Clock) -> Self {
        offered
            .and_then(Self::accept)
            .unwrap_or_else(|| Self(EventId::mint(clock).to_string()))
    }

    /// The value if it is well formed.
    #[must_use]
    pub fn accept(text: &str) -> Option<Self> {
        let well_formed = (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'));
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
