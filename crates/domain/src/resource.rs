//! What a resource is called, and which resource an identifier means.

use crate::zone::Resource;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The text is not a resource identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a resource identifier is 1-2048 visible ASCII characters without quotes, angle brackets or backslash"
)]
pub struct InvalidResourceIdentifier;

/// A stable name such as `resource://orders`: visible ASCII, so that it survives headers, claims and URLs unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceIdentifier(String);

impl ResourceIdentifier {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a prefix resource of this name covers `asked`: it starts with it at a `/` boundary, and what follows
    /// has no empty, `.` or `..` segment.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        let Some(rest) = asked.0.strip_prefix(self.0.trim_end_matches('/')) else {
            return false;
        };
        let Some(below) = rest.strip_prefix('/') else {
            return false;
        };
        below
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
    }
}

impl FromStr for ResourceIdentifier {
    type Err = InvalidResourceIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidResourceIdentifier> {
        let visible = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
        if (1..=2048).contains(&text.len()) && text.bytes().all(visible) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidResourceIdentifier)
        }
    }
}

impl TryFrom<String> for ResourceIdentifier {
    type Error = InvalidResourceIdentifier;

    fn try_from(text: String) -> Result<Self, InvalidResourceIdentifier> {
        text.parse()
    }
}

impl From<ResourceIdentifier> for String {
    fn from(identifier: ResourceIdentifier) -> Self {
        identifier.0
    }
}

impl fmt::Display for ResourceIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The resource `asked` means: an exact name wins, then the longest prefix (contract §1).
pub fn find_resource<'a, I>(resources: I, asked: &ResourceIdentifier) -> Option<&'a Arc<Resource>>
where
    I: IntoIterator<Item = &'a Arc<Resource>>,
{
    let mut best: Option<&Arc<Resource>> = None;
    for resource in resources {
        if resource.identifier == *asked {
            return Some(resource);
        }
        let longer = best.is_none_or(|b| resource.identifier.as_str().len() > b.identifier.as_str().len());
        if resource.prefix && longer && resource.identifier.covers(asked) {
            best = Some(resource);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ResourceIdentifier {
        text.parse().expect("well formed")
    }

    #[test]
    fn a_prefix_covers_only_whole_clean_segments_below_it() {
        let base = id("https://api.example/v1");
        assert!(base.covers(&id("https://api.example/v1/orders")));
        assert!(id("https://api.example/v1/").covers(&id("https://api.example/v1/orders/7")));
        for asked in [
            "https://api.example/v1",
            "https://api.example/v10/x",
            "https://api.example/v1/",
            "https://api.example/v1/../admin",
            "https://api.example/v1//x",
            "https://api.example/v1/.",
        ] {
            assert!(!base.covers(&id(asked)), "{asked}");
        }
    }

    #[test]
    fn identifiers_are_visible_ascii() {
        for bad in ["", "a b", "caf\u{e9}", "a\nb", "a\"b", "\u{202e}x"] {
            assert!(bad.parse::<ResourceIdentifier>().is_err(), "{bad:?}");
        }
    }
}
