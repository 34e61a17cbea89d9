//! What the record of a refusal shows of a request. A caller may have put a secret anywhere: in the place of an id, in a
//! field of another name. So it shows what we know to be harmless, and of the rest that it was there.

use crate::routes::TABLE;
use caracal_domain::event::REDACTED;
use caracal_domain::id::EventId;
use serde_json::{Map, Value, json};

/// A longer path, or a body with more members, is cut.
const MOST: usize = 32;
const LONGEST_WORD: usize = 20;
const LONGEST_TEXT: usize = 256;

/// The fields whose texts a record of the deed itself would show as well.
const NAMES: [&str; 9] = [
    "name",
    "identifier",
    "slug",
    "org_id",
    "login_flow",
    "owner_type",
    "subject_prefix",
    "subject_id",
    "user_id",
];
/// How what is no name begins or goes on, in whatever case: a token of ours or of others, a key, an address with a password.
const NO_NAMES: [&str; 9] = [
    "cat_",
    "cadm_",
    "cinv_",
    "ccs_",
    "ghp_",
    "eyj",
    "bearer ",
    "-----begin",
    "://",
];

/// The path with every segment that is neither of a route, nor an id, nor a plain word, left out.
pub(super) fn path(path: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').take(MOST).map(segment).collect();
    if path.split('/').nth(MOST).is_some() {
        segments.push("…");
    }
    segments.join("/")
}

/// One segment, or that it is left out.
pub(super) fn segment(text: &str) -> &str {
    let is_word = is_word(text);
    let is_ours = || {
        TABLE
            .iter()
            .any(|route| route.path.split('/').any(|part| part == text))
    };
    if is_word || is_id(text) || is_ours() {
        text
    } else {
        REDACTED
    }
}

/// What the body would have changed: each of its members, with its value where it is of a kind that holds no secret.
pub(super) fn attempted(body: &[u8]) -> Option<Map<String, Value>> {
    let members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let shown = |(name, value): (String, Value)| {
        let to = match &value {
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
            Value::String(text) if is_harmless(&name, text) => value,
            Value::String(_) | Value::Array(_) | Value::Object(_) => {
                json!({"bytes": value.to_string().len()})
            }
        };
        let name = if is_field(&name) {
            name
        } else {
            REDACTED.to_owned()
        };
        (name, json!({"to": to}))
    };
    Some(members.into_iter().take(MOST).map(shown).collect())
}

fn is_harmless(name: &str, text: &str) -> bool {
    let lower = text.to_lowercase();
    let is_name = || text.len() <= LONGEST_TEXT && !NO_NAMES.iter().any(|sign| lower.contains(sign));
    is_id(text) || is_word(text) || (NAMES.contains(&name) && is_name())
}

/// A word, as a path or a choice has them.
fn is_word(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b == b'-' || b == b'.';
    text.len() <= LONGEST_WORD && text.bytes().all(is_plain)
}

/// An id as we spell it: 32 hexadecimal digits alone are many a key.
fn is_id(text: &str) -> bool {
    text.parse::<EventId>().is_ok()
}

fn is_field(name: &str) -> bool {
    name.len() <= 2 * LONGEST_WORD && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_shows_routes_ids_and_words_alone() {
        let id = "0198c0de-0000-7000-8000-00000000dead";
        for (asked, shown) in [
            (
                format!("/v1/zones/{id}/resources/{id}"),
                format!("/v1/zones/{id}/resources/{id}"),
            ),
            ("/v1/nope".to_owned(), "/v1/nope".to_owned()),
            (
                format!("/v1/zones/{id}/invitations/cinv_Abc1"),
                format!("/v1/zones/{id}/invitations/[redacted]"),
            ),
            ("/docs/page.js".to_owned(), "/docs/page.js".to_owned()),
            (
                "/v1/SECRET/hunter2".to_owned(),
                "/v1/[redacted]/[redacted]".to_owned(),
            ),
            ("/%63at_x".to_owned(), "/[redacted]".to_owned()),
        ] {
            assert_eq!(path(&asked), shown);
        }
        let long = "/x".repeat(20_000);
        assert!(path(&long).len() < 100);
    }

    #[test]
    fn a_body_shows_what_it_would_have_changed_and_no_secret() {
        let body = json!({"name": "a", "mint_rate_per_minute": 5, "dcr_enabled": true, "upstream_url": "https://u:p@h/",
            "jwks": {"keys": [{"d": "private"}]}, "kind": "Cat_token", "identifier": "CAT_token",
            "resource_id": "0198c0de00007000800000000000dead", "unheard_of": "hunter2"});
        let shown = Value::Object(attempted(body.to_string().as_bytes()).unwrap_or_default());
        assert_eq!(shown["name"], json!({"to": "a"}));
        assert_eq!(shown["mint_rate_per_minute"], json!({"to": 5}));
        assert_eq!(shown["dcr_enabled"], json!({"to": true}));
        for hidden in [
            "upstream_url",
            "jwks",
            "kind",
            "identifier",
            "resource_id",
            "unheard_of",
        ] {
            assert!(shown[hidden]["to"]["bytes"].is_u64(), "{hidden}: {shown}");
        }
        let text = shown.to_string();
        assert!(
            !["u:p", "private", "at_token", "0198c0de", "hunter2"]
                .iter()
                .any(|secret| text.contains(secret)),
            "{text}"
        );
        assert_eq!(attempted(b"not json"), None);
    }
}
