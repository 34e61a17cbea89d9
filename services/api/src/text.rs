//! Names and slugs: parsed once, so that no handler checks them.

use crate::error::{Failure, Refusal};
use caracal_domain::{Scope, Timestamp, is_subject_name};
use caracal_storage::zones::ZoneRow;
use chrono::{DateTime, Datelike, SubsecRound, Timelike};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::HashSet;
use validator::Validate;

const MAX_NAME_CHARS: usize = 200;
const MAX_SUBJECT_CHARS: usize = 512;
const MAX_SLUG_BYTES: usize = 100;
/// Room in a derived slug for `-2`, `-3`, … up to `-9999999999`.
const NUMBER_BYTES: usize = 11;
/// Belongs to system zones (contract §1, "System zone").
pub(crate) const RESERVED: &str = "caracal.sys/";

/// A name people read: 1 to 200 characters, none of them control characters or invisible, not only blanks.
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
        if length > MAX_NAME_CHARS || !is_subject_name(&text) {
            return Err("must be 1 to 200 characters, not blank, without control and invisible characters");
        }
        Ok(Self(text))
    }
}

/// Whom a session is for: 1 to 512 characters, not blank and none of them control characters or invisible.
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
        if length > MAX_SUBJECT_CHARS || !is_subject_name(&text) {
            return Err("must be 1 to 512 characters, not blank, without control and invisible characters");
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
        slug.truncate(MAX_SLUG_BYTES - NUMBER_BYTES);
        let slug = slug.trim_end_matches('-');
        Self(if slug.is_empty() {
            "zone".to_owned()
        } else {
            slug.to_owned()
        })
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

/// Nothing: the body of a POST that takes none. It may be left out; what it would say is refused.
#[derive(Debug, Default, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A time as RFC 3339 writes it, of the years 1 to 9999: what the database holds and every reader of JSON understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Moment(pub(crate) Timestamp);

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let separated = text
            .as_bytes()
            .get(10)
            .is_some_and(|b| b.eq_ignore_ascii_case(&b'T'));
        let time = DateTime::parse_from_rfc3339(&text).ok().filter(|_| separated);
        // To the microsecond, as it is kept. A leap second is none of those that the database counts.
        time.map(|time| time.to_utc().trunc_subsecs(6))
            .filter(|time| (1..=9999).contains(&time.year()) && time.nanosecond() < 1_000_000_000)
            .map(Self)
            .ok_or("must be a time as RFC 3339 writes it, such as 2026-05-11T20:00:00Z")
    }
}

/// Refuses a name or identifier that belongs to system zones.
pub(crate) fn check_namespace(zone: &ZoneRow, names: &[&str]) -> Result<(), Failure> {
    if !zone.is_system && names.iter().any(|name| is_reserved(name)) {
        return Err(Refusal::ReservedNamespace.into());
    }
    Ok(())
}

/// Whether a name begins `caracal.sys/`, trimmed and without regard to case, nor to what selects a variation of nothing.
pub(crate) fn is_reserved(name: &str) -> bool {
    let selects = |c: &char| matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    let seen: String = name.chars().filter(|c| !selects(c)).collect();
    // Through capitals: a letter may have two small forms, such as s.
    let folded = seen.trim().to_uppercase().to_lowercase();
    folded.starts_with(RESERVED)
}

/// For fields of a POST that have a default: `null` is as good as absent.
pub(crate) fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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

/// Scopes as they are kept: in the order they were given, each once.
pub(crate) fn once_each(scopes: &[Scope]) -> Vec<String> {
    let mut seen = HashSet::new();
    let first = scopes.iter().filter(|scope| seen.insert(*scope));
    first.map(ToString::to_string).collect()
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
            assert!(Slug::try_from(format!("{slug}-12")).is_ok());
        }
        let long = Slug::derive(&name(&"x".repeat(200))).into_string();
        assert!(Slug::try_from(format!("{long}-9999999999")).is_ok());
    }

    #[test]
    fn blank_and_hostile_names_are_refused() {
        for bad in [
            "",
            "   ",
            "a\u{7}b",
            &"x".repeat(201),
            "\u{200b}caracal.sys/x",
            "a\u{feff}",
            "a\u{202e}b",
            "a\u{2028}b",
            "\u{e0041}",
        ] {
            assert!(Name::try_from((*bad).to_owned()).is_err(), "{bad:?}");
            // A subject may be longer.
            let is_subject = SubjectText::try_from((*bad).to_owned()).is_ok();
            assert_eq!(is_subject, bad.len() == 201, "{bad:?}");
        }
        assert!(Name::try_from("J\u{fc}rgen \u{65e5}\u{672c} \u{1f600}".to_owned()).is_ok());
    }

    #[test]
    fn a_moment_is_written_as_rfc_3339_has_it() {
        let read = |text: &str| Moment::try_from(text.to_owned());
        for good in [
            "2026-05-11T20:00:00Z",
            "2026-05-11t20:00:00.123456z",
            "2026-05-11T20:00:00+02:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        let kept = read("2026-05-11T20:00:00.1234567Z");
        assert_eq!(kept, read("2026-05-11T20:00:00.123456Z"), "as it is kept");
        for bad in [
            "",
            "2026",
            "2026-05-11",
            "2026-05-11 20:00:00Z",
            "2026-05-11T20:00:00",
            "2026-05-11T20:00Z",
            "2026-13-11T20:00:00Z",
            "+12026-05-11T20:00:00Z",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T23:59:60Z",
            "2026-06-30T23:59:60Z",
            "1789000000",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_reserved_namespace_is_seen_through_case_and_blanks() {
        assert!(is_reserved(" Caracal.SYS/gateway"));
        assert!(is_reserved("caracal.\u{17f}ys/x") && is_reserved("\u{fe0f}caracal.sys/x"));
        assert!(!is_reserved("caracal.system/gateway") && !is_reserved("x caracal.sys/"));
    }
}
