//! Which keys and shared secrets are too weak for production (contract §7).

use crate::config::common::Mode;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashSet;

const KEY_BYTES: usize = 32;
const LEAST_DISTINCT_BYTES: usize = 10;
const LEAST_SHARED_CHARACTERS: usize = 32;
const LEAST_DISTINCT_CHARACTERS: usize = 10;

/// Words that betray a value somebody copied from an example.
const TELL_TALES: [&str; 8] = [
    "changeme",
    "change-me",
    "change_me",
    "password",
    "example",
    "default",
    "insecure",
    "secret",
];

pub(super) fn check_keys(value: &SecretString, mode: Mode) -> Result<(), &'static str> {
    let mut ids = HashSet::new();
    for item in value.expose_secret().split(',') {
        let (id, hex) = item.trim().split_once(':').unwrap_or(("", item.trim()));
        let key = hex::decode(hex).map_err(|_| "must be 32 bytes in hex, or several as id:hex,id:hex")?;
        if key.len() != KEY_BYTES {
            return Err("must be 32 bytes in hex, or several as id:hex,id:hex");
        }
        if !ids.insert(id) {
            return Err("names a key id twice");
        }
        if mode == Mode::Production && is_weak(&key) {
            return Err("is a weak key (CARACAL_MODE=production); make one with: openssl rand -hex 32");
        }
    }
    Ok(())
}

pub(super) fn check_shared(value: &SecretString, mode: Mode) -> Result<(), &'static str> {
    let text = value.expose_secret();
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be visible ASCII without blanks");
    }
    let distinct = text.bytes().collect::<HashSet<_>>().len();
    let lower = text.to_ascii_lowercase();
    let weak = text.len() < LEAST_SHARED_CHARACTERS
        || distinct < LEAST_DISTINCT_CHARACTERS
        || TELL_TALES.iter().any(|word| lower.contains(word));
    if mode == Mode::Production && weak {
        return Err("is too weak (CARACAL_MODE=production): use 32 random characters or more");
    }
    Ok(())
}

/// Few distinct bytes, or a run that counts up or down: random keys fail this less than once in 10²⁰.
fn is_weak(key: &[u8]) -> bool {
    let distinct = key.iter().collect::<HashSet<_>>().len();
    let steps: HashSet<u8> = key
        .windows(2)
        .filter_map(|w| Some(w.get(1)?.wrapping_sub(*w.first()?)))
        .collect();
    distinct < LEAST_DISTINCT_BYTES || steps.len() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str, mode: Mode) -> Result<(), &'static str> {
        check_keys(&SecretString::from(text), mode)
    }

    #[test]
    fn weak_keys_pass_in_development_only() {
        let zeros = "0".repeat(64);
        let counting = hex::encode((0..32).collect::<Vec<u8>>());
        for weak in [&zeros, &"ab".repeat(32), &"deadbeef".repeat(8), &counting] {
            assert!(keys(weak, Mode::Dev).is_ok());
            assert!(keys(weak, Mode::Production).is_err(), "{weak}");
        }
        let good = "3b1f0a9d77c25e8846aa91c0d2f6e3b4185c7d29ef0342b6a8d15c9b70e4f3a1";
        assert!(keys(good, Mode::Production).is_ok());
        assert!(keys(&format!("new:{good},old:{good}"), Mode::Production).is_ok());
        assert!(keys(&format!("a:{good},a:{good}"), Mode::Production).is_err());
        assert!(keys("abcd", Mode::Dev).is_err());
    }

    #[test]
    fn copied_shared_secrets_pass_in_development_only() {
        let check = |text: &str, mode| check_shared(&SecretString::from(text), mode);
        for weak in [
            "short",
            &"ab".repeat(20),
            "please-changeme-0123456789-abcdefghijk",
        ] {
            assert!(check(weak, Mode::Dev).is_ok());
            assert!(check(weak, Mode::Production).is_err(), "{weak}");
        }
        assert!(check("cadm_5f0c3b9ae1d7428866b0f4c2d9e83a17aa", Mode::Production).is_ok());
        assert!(check("has a blank", Mode::Dev).is_err());
    }
}
