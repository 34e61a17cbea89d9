//! A zone's epoch: the order in which its configuration changed and its authority was taken away.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Drawn last in a writing transaction, under the zone's row lock; within a zone, epoch order is commit order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(i64);

impl Epoch {
    /// The value as stored.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl From<i64> for Epoch {
    fn from(value: i64) -> Self {
        Self(value)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not a non-negative decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an epoch")]
pub struct InvalidEpoch;

impl FromStr for Epoch {
    type Err = InvalidEpoch;

    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidEpoch);
        }
        text.parse().map(Self).map_err(|_| InvalidEpoch)
    }
}
