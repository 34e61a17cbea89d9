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

    /// Whether a prefix resource of this name covers `asked`: it starts with it at a `/` boundary, and what follows is a
    /// plain path: no query, no fragment, and no empty, `.` or `..` segment in any encoding.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        let rest = asked.0.strip_prefix(&self.0);
        let below = if self.0.ends_with('/') {
            rest
        } else {
            rest.and_then(|rest| rest.strip_prefix('/'))
        };
        below.is_some_and(is_plain_path)
    }
}

fn is_plain_path(path: &str) -> bool {
    let hides_a_segment = |at: &[u8]| {
        let [b'%', high, low] = at else { return false };
        let code = [*high, low.to_ascii_lowercase()];
        matches!(&code, b"2e" | b"2f" | b"5c" | b"25")
    };
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..");
    !path.contains(['#', '?'])
        && !path.as_bytes().windows(3).any(hides_a_segment)
        && path.split('/').all(is_segment)
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
    use crate::scope::ScopeSet;
    use crate::zone::AuthMode;
    use proptest::prelude::*;

    fn id(text: &str) -> ResourceIdentifier {
        text.parse().expect("well formed")
    }

    fn resource(identifier: &str, prefix: bool) -> Arc<Resource> {
        Arc::new(Resource {
            id: uuid::Uuid::nil().into(),
            name: identifier.to_owned(),
            identifier: id(identifier),
            prefix,
            scopes: ScopeSet::default(),
            upstream_url: None,
            provider_id: None,
            auth_mode: AuthMode::None,
            operations: Vec::new(),
            forward_headers: Vec::new(),
        })
    }

    fn found<'a>(resources: &'a [Arc<Resource>], asked: &str) -> Option<&'a str> {
        find_resource(resources, &id(asked)).map(|found| found.identifier.as_str())
    }

    #[test]
    fn an_exact_name_wins_over_the_prefix_that_covers_it() {
        for is_prefix in [false, true] {
            let mut all = [resource("api://a", true), resource("api://a/b", is_prefix)];
            let below = if is_prefix { "api://a/b" } else { "api://a" };
            for _ in 0..2 {
                assert_eq!(found(&all, "api://a/b"), Some("api://a/b"), "{is_prefix}");
                assert_eq!(found(&all, "api://a"), Some("api://a"), "{is_prefix}");
                assert_eq!(found(&all, "api://a/b/c"), Some(below), "{is_prefix}");
                all.reverse();
            }
        }
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
            "https://api.example/v1/%2e%2e/admin",
            "https://api.example/v1/.%2E/admin",
            "https://api.example/v1/a%2Fb",
            "https://api.example/v1/a%5cb",
            "https://api.example/v1/%252e",
            "https://api.example/v1/a?b",
            "https://api.example/v1/a#b",
        ] {
            assert!(!base.covers(&id(asked)), "{asked}");
        }
        assert!(base.covers(&id("https://api.example/v1/a%20b")));
    }

    #[test]
    fn a_prefix_that_ends_in_slashes_is_a_boundary_as_it_is_written() {
        let store = id("store://");
        assert!(store.covers(&id("store://x")) && store.covers(&id("store://x/y")));
        for asked in ["store:/x", "store:///x", "store://", "store:x", "stores://x"] {
            assert!(!store.covers(&id(asked)), "{asked}");
        }
        let folder = id("a/b/");
        assert!(folder.covers(&id("a/b/c")) && !folder.covers(&id("a/b")) && !folder.covers(&id("a/b//c")));
    }

    proptest! {
        #[test]
        fn the_longest_prefix_wins_in_whatever_order_they_are(
            names in Just(vec!["api://a", "api://a/b", "api://a/b/c", "api://a/bc", "api://a/b/d/"]).prop_shuffle(),
        ) {
            let all: Vec<_> = names.iter().map(|name| resource(name, true)).collect();
            for (asked, wanted) in [
                ("api://a/x", Some("api://a")),
                ("api://a/b/x", Some("api://a/b")),
                ("api://a/b/c/x/y", Some("api://a/b/c")),
                ("api://a/b/d/x", Some("api://a/b/d/")),
                ("api://a/b/d", Some("api://a/b")),
                ("api://a/bc/x", Some("api://a/bc")),
                ("api://a/bcd/x", Some("api://a")),
                ("api://ab/x", None),
            ] {
                prop_assert_eq!((asked, found(&all, asked)), (asked, wanted));
            }
        }

        #[test]
        fn what_a_prefix_covers_lies_below_it(base in "[a-z:/%.25eE]{1,8}", tail in "[a-c/.%25eE#?]{0,8}") {
            let (base, asked) = (id(&base), id(&format!("{base}{tail}")));
            if base.covers(&asked) {
                let below = asked.as_str().strip_prefix(base.as_str()).expect("it begins with it");
                let below = if base.as_str().ends_with('/') { below } else { &below[1..] };
                prop_assert!(!below.is_empty() && asked.as_str().len() > base.as_str().len());
                prop_assert!(!below.contains("//") && !below.starts_with('/') && !below.contains(['#', '?']));
                prop_assert!(below.split('/').all(|part| part != "." && part != ".." && !part.is_empty()));
                let lower = below.to_lowercase();
                prop_assert!(["%2e", "%2f", "%5c", "%25"].iter().all(|hidden| !lower.contains(hidden)));
            }
        }

        #[test]
        fn a_plain_path_below_a_prefix_is_covered(base in "[a-z]{1,5}(://)?(/[a-z]{1,3}){0,2}/?", tail in "[a-z]{1,4}(/[a-z]{1,4}){0,3}") {
            let slash = if base.ends_with('/') { "" } else { "/" };
            let asked = id(&format!("{base}{slash}{tail}"));
            prop_assert!(id(&base).covers(&asked));
        }
    }

    #[test]
    fn identifiers_are_visible_ascii() {
        for bad in ["", "a b", "caf\u{e9}", "a\nb", "a\"b", "\u{202e}x"] {
            assert!(bad.parse::<ResourceIdentifier>().is_err(), "{bad:?}");
        }
    }
}
