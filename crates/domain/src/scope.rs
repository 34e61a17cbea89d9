//! Scopes, and the only function that narrows them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is 1-200 characters of a-z, 0-9 and : _ . / -")]
pub struct InvalidScope;

/// One action a token may take, such as `orders:read`: `^[a-z0-9:_./-]+$`, at most 200 characters (seed `004`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

impl Scope {
    /// The platform's own scope, which any authenticated application may hold on a session token.
    pub const AGENT_LIFECYCLE: &'static str = "agent:lifecycle";

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is [`Scope::AGENT_LIFECYCLE`].
    #[must_use]
    pub fn is_agent_lifecycle(&self) -> bool {
        self.0 == Self::AGENT_LIFECYCLE
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b":_./-".contains(&b);
        if (1..=200).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidScope)
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of scopes. On the wire a space-separated string (RFC 6749 §3.3) or a JSON array.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeSet(BTreeSet<Scope>);

/// What was asked for and is not within the ceiling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is beyond the ceiling")]
pub struct BeyondCeiling(pub Scope);

impl ScopeSet {
    /// Whether there is no scope at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many scopes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether `scope` is in the set.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Whether every scope here is also in `ceiling`.
    #[must_use]
    pub fn is_subset(&self, ceiling: &Self) -> bool {
        self.0.is_subset(&ceiling.0)
    }

    /// The set without the platform's own scope, which no resource has.
    #[must_use]
    pub fn without_agent_lifecycle(&self) -> Self {
        self.0
            .iter()
            .filter(|s| !s.is_agent_lifecycle())
            .cloned()
            .collect()
    }

    /// Narrows `ceiling` to what is asked for. All or nothing: the result is exactly `self`, never a trimmed or a
    /// larger set, so narrowing cannot widen.
    ///
    /// # Errors
    /// [`BeyondCeiling`] with the first scope that the ceiling lacks.
    pub fn narrow(&self, ceiling: &Self) -> Result<Self, BeyondCeiling> {
        match self.0.difference(&ceiling.0).next() {
            Some(beyond) => Err(BeyondCeiling(beyond.clone())),
            None => Ok(self.clone()),
        }
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for ScopeSet {
    type Err = InvalidScope;

    /// Parses `scope` of RFC 6749 §3.3: scopes separated by single spaces. The empty string is the empty set.
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(' ').map(Scope::from_str).collect()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            scope.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scopes() -> impl Strategy<Value = ScopeSet> {
        proptest::collection::btree_set("[a-d]{1,2}", 0..6)
            .prop_map(|set| set.into_iter().map(|s| s.parse().expect("well formed")).collect())
    }

    proptest! {
        #[test]
        fn narrowing_never_widens(asked in scopes(), ceiling in scopes()) {
            match asked.narrow(&ceiling) {
                Ok(got) => prop_assert!(got.is_subset(&ceiling) && got == asked),
                Err(BeyondCeiling(scope)) => prop_assert!(asked.contains(&scope) && !ceiling.contains(&scope)),
            }
        }

        #[test]
        fn text_survives_a_round_trip(set in scopes()) {
            prop_assert_eq!(set.to_string().parse::<ScopeSet>().expect("own text"), set);
        }

        #[test]
        fn hostile_text_never_becomes_a_scope(text in "\\PC*") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert!(scope.as_str().bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
            }
        }
    }

    #[test]
    fn double_spaces_and_capitals_are_refused() {
        assert!("a  b".parse::<ScopeSet>().is_err());
        assert!(" a".parse::<ScopeSet>().is_err());
        assert!("Orders:read".parse::<ScopeSet>().is_err());
        assert!("a".repeat(201).parse::<Scope>().is_err());
    }
}
