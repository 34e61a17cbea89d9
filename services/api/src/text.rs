//! Names and slugs: parsed once, so that no handler checks them.

use crate::error::{Failure, Refusal};
use caracal_storage::zones::ZoneRow;
use serde::{Deserialize, Deserializer, Serialize};

const MAX_NAME_CHARS: usize = 200;
const MAX_SUBJECT_CHARS: usize = 512;
const MAX_SLUG_BYTES: usize = 100;
/// Belongs to system zones (contract §1, "System zone").
const RESERVED: &str = "caracal.sys/";

/// A name people read: 1 to 200 characters, none of them control characters, not only blanks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(min_length = 1, max_length = 200)]
#[serde(try_from = "String")]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let length = text.chars().count();
        if text.trim().is_empty() || length > MAX_NAME_CHARS || text.chars().any(char::is_control) {
            return Err("must be 1 to 200 characters, not blank and without control characters");
        }
        Ok(Self(text))
    }
}

/// Whom a session is for: 1 to 512 characters, not blank and none of them control characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct SubjectText(String);

impl SubjectText {
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for SubjectText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let length = text.chars().count();
        if text.trim().is_empty() || length > MAX_SUBJECT_CHARS || text.chars().any(char::is_control) {
            return Err("must be 1 to 512 characters, not blank and without control characters");
        }
        Ok(Self(text))
    }
}

/// A zone's slug: `^[a-z0-9-]+$`, at most 100 characters (seed `004`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[schema(pattern = "^[a-z0-9-]+$", min_length = 1, max_length = 100)]
#[serde(try_from = "String")]
pub(crate) struct Slug(String);

impl Slug {
    /// The slug a zone of this name gets when it has not chosen one.
    pub(crate) fn derive(name: &Name) -> Self {
        let mut slug = String::new();
        for c in name.as_str().chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        slug.truncate(MAX_SLUG_BYTES - 8);
        let slug = slug.trim_end_matches('-');
        Self(if slug.is_empty() {
            "zone".to_owned()
        } else {
            slug.to_owned()
        })
    }

    /// The same slug, `-2`, `-3` and so on.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        if number < 2 {
            self.clone()
        } else {
            Self(format!("{}-{number}", self.0))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Slug {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=MAX_SLUG_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err("must be 1 to 100 characters of a-z, 0-9 and -")
        }
    }
}

/// Refuses a name or identifier that belongs to system zones.
pub(crate) fn check_namespace(zone: &ZoneRow, names: &[&str]) -> Result<(), Failure> {
    if !zone.is_system && names.iter().any(|name| is_reserved(name)) {
        return Err(Refusal::ReservedNamespace.into());
    }
    Ok(())
}

/// Whether a name begins `caracal.sys/`, trimmed and without regard to case.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.trim().to_lowercase().starts_with(RESERVED)
}

/// For fields of a PATCH that cannot be removed: present means a value, and `null` is a mistake.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// For fields of a PATCH that can be removed: `null` removes.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(crate) fn given_or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.to_owned().try_into().expect("a name")
    }

    #[test]
    fn slugs_are_derived_from_names() {
        for (from, slug) in [
            ("Production", "production"),
            ("  Pied Piper -- EU! ", "pied-piper-eu"),
            ("\u{dc}ber", "ber"),
            ("\u{65e5}\u{672c}", "zone"),
            ("caracal.sys", "caracal-sys"),
        ] {
            let derived = Slug::derive(&name(from));
            assert_eq!(derived.as_str(), slug);
            assert!(Slug::try_from(derived.numbered(12).into_string()).is_ok());
        }
        assert!(
            Slug::derive(&name(&"x".repeat(200)))
                .numbered(9999)
                .as_str()
                .len()
                <= MAX_SLUG_BYTES
        );
    }

    #[test]
    fn blank_and_hostile_names_are_refused() {
        for bad in ["", "   ", "a\u{7}b", &"x".repeat(201)] {
            assert!(Name::try_from((*bad).to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_reserved_namespace_is_seen_through_case_and_blanks() {
        assert!(is_reserved(" Caracal.SYS/gateway"));
        assert!(!is_reserved("caracal.system/gateway") && !is_reserved("x caracal.sys/"));
    }
}
