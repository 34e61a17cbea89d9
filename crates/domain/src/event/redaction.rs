//! What an event does not keep: secrets, and more of a stranger's text than it is worth.

use serde_json::Value;

/// How much of a text is kept that a caller nobody knows has written.
const STRANGERS_TEXT_BYTES: usize = 1024;

/// Shortens every text in `value`, at any depth: what a stranger sends takes no more room than it is worth.
#[must_use]
pub fn shortened(mut value: Value) -> Value {
    match &mut value {
        Value::String(text) if text.len() > STRANGERS_TEXT_BYTES => {
            text.truncate(text.floor_char_boundary(STRANGERS_TEXT_BYTES));
            text.push('…');
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = shortened(item.take())),
        Value::Object(map) => map.values_mut().for_each(|item| *item = shortened(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// What stands in place of U+0000.
const NUL: &str = "\u{FFFD}";

/// What stands in place of a redacted value.
pub const REDACTED: &str = "[redacted]";

/// How deep a value may nest: readers of JSON give up (ours at 128), and an event nobody can read would hide what it is
/// about. A value is cut before it is wrapped, in a few levels of the event's own.
const DEEPEST: usize = 64;

/// What stands in place of what nests deeper.
const TOO_DEEP: &str = "[too deep]";

/// Replaces the value of every key that by its name may hold a secret, at any depth (contract §1, "Audit"); and what could
/// not be kept or read, so that nobody hides a decision by writing it: U+0000, which PostgreSQL has in no text, and what
/// nests too deep.
#[must_use]
pub fn redact(mut value: Value) -> Value {
    redact_within(&mut value, DEEPEST);
    value
}

/// The same of what was cut when it was kept, for those who read it.
#[must_use]
pub fn conceal(mut value: Value) -> Value {
    redact_within(&mut value, usize::MAX);
    value
}

/// In place: every decision passes through here.
fn redact_within(value: &mut Value, levels: usize) {
    match value {
        Value::Object(_) | Value::Array(_) if levels == 0 => *value = Value::String(TOO_DEEP.into()),
        Value::Object(map) => {
            if map.keys().any(|key| key.contains('\0')) {
                let members = std::mem::take(map).into_iter();
                *map = members
                    .map(|(key, inner)| (key.replace('\0', NUL), inner))
                    .collect();
            }
            for (key, inner) in map.iter_mut() {
                if is_secret_key(key) && !shows_nothing(inner) && !is_key_set(key, inner) {
                    *inner = Value::String(REDACTED.into());
                } else {
                    redact_within(inner, levels - 1);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact_within(item, levels - 1)),
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', NUL),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether it says no more than that a secret changed: from nothing or something to nothing or something.
fn shows_nothing(value: &Value) -> bool {
    let nothing = |(side, shown): (&String, &Value)| {
        matches!(side.as_str(), "from" | "to") && (shown.is_null() || shown == REDACTED)
    };
    value
        .as_object()
        .is_some_and(|change| change.len() == 2 && change.iter().all(nothing))
}

/// Whether it is the `keys` of a JWK Set (RFC 7517 §5.1), which are meant to be seen.
fn is_key_set(name: &str, value: &Value) -> bool {
    let are_keys = |keys: &Vec<Value>| keys.iter().all(|key| key.get("kty").is_some());
    name == "keys" && value.as_array().is_some_and(are_keys)
}

/// Whether a key by its name may hold a secret: in whatever case, with whatever between its words, in whatever width.
fn is_secret_key(key: &str) -> bool {
    let mut room = [0; 64];
    let mut more = Vec::new();
    let plain = if let Some(room) = room.get_mut(..key.len()) {
        plain(key, room)
    } else {
        more.resize(key.len(), 0);
        plain(key, &mut more)
    };
    !is_ours(plain) && (may_be_secret(plain) || has_secret_word(key))
}

/// The characters of a key; those that are ASCII in full width (U+FF01 to U+FF5E) as ASCII.
fn folded(key: &str) -> impl Iterator<Item = Option<u8>> {
    key.chars().map(|c| {
        let code = match u32::from(c) {
            wide @ 0xff01..=0xff5e => wide - 0xfee0,
            code => code,
        };
        u8::try_from(code).ok().filter(u8::is_ascii)
    })
}

/// The letters and digits of a key, in lower case.
fn plain<'a>(key: &str, into: &'a mut [u8]) -> &'a [u8] {
    let letters = folded(key).flatten().filter(u8::is_ascii_alphanumeric);
    let mut length = 0;
    for (place, letter) in into.iter_mut().zip(letters) {
        *place = letter.to_ascii_lowercase();
        length += 1;
    }
    into.get(..length).unwrap_or_default()
}

fn may_be_secret(plain: &[u8]) -> bool {
    const SECRET: [&str; 16] = [
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "privatekey",
        "credential",
        "cookie",
        "authorization",
        "assertion",
        "bearer",
        "jwt",
        "samlresponse",
    ];
    let holds = |word: &&str| plain.windows(word.len()).any(|part| part == word.as_bytes());
    plain.ends_with(b"key") || plain.ends_with(b"keys") || SECRET.iter().any(holds)
}

/// Whether one of a key's words is a secret's name that other words also contain (`opinion`, `author`, `compass`).
fn has_secret_word(key: &str) -> bool {
    const SECRET: [&[u8]; 5] = [b"pass", b"auth", b"otp", b"totp", b"pin"];
    let (mut word, mut length, mut was_lower) = ([0; 4], 0_usize, false);
    let is_secret =
        |word: &[u8; 4], length: usize| word.get(..length).is_some_and(|word| SECRET.contains(&word));
    for c in folded(key) {
        let letter = c.filter(u8::is_ascii_alphabetic);
        let begins = letter.is_none_or(|c| was_lower && c.is_ascii_uppercase());
        if begins {
            if is_secret(&word, length) {
                return true;
            }
            length = 0;
        }
        if let Some(c) = letter {
            if let Some(place) = word.get_mut(length) {
                *place = c.to_ascii_lowercase();
            }
            length += 1;
        }
        was_lower = letter.is_some_and(|c| c.is_ascii_lowercase());
    }
    is_secret(&word, length)
}

/// Whether it is a name of ours that has such a word in it and is of something that is no secret.
fn is_ours(plain: &[u8]) -> bool {
    const SAFE: [&str; 22] = [
        "publickey",
        "publickeys",
        "tokentype",
        "tokenid",
        "tokenuse",
        "tokenurl",
        "tokenendpoint",
        "tokenparams",
        "allowedtokenhosts",
        "subjecttokentype",
        "requestedtokentype",
        "authorizationurl",
        "authorizationendpoint",
        "authorizationparams",
        "authmode",
        "authmethod",
        "authtime",
        "clientauthmethod",
        "clientassertiontype",
        "credentialtype",
        "credentialproviderid",
        "secretconfigkeys",
    ];
    SAFE.iter().any(|safe| plain == safe.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_database_cannot_keep_is_not_kept() {
        let told = redact(json!({"a\0b": ["c\0", {"d": "\0"}], "tok\0en": "x", "e": "f"}));
        let kept =
            json!({"a\u{FFFD}b": ["c\u{FFFD}", {"d": "\u{FFFD}"}], "tok\u{FFFD}en": REDACTED, "e": "f"});
        assert_eq!(told, kept);
    }

    #[test]
    fn what_nests_too_deep_is_cut_where_everybody_can_still_read_it() {
        let nested = |depth| (0..depth).fold(json!("core"), |inner, _| json!([{ "in": inner }]));
        assert_eq!(redact(nested(DEEPEST / 2)), nested(DEEPEST / 2));
        let cut = redact(nested(DEEPEST / 2 + 1)).to_string();
        assert!(cut.contains(TOO_DEEP) && !cut.contains("core"), "{cut}");
        let wrapped = json!({ "delegator": { "policies": [{ "diagnostics": redact(nested(DEEPEST)) }] } });
        assert!(serde_json::from_str::<Value>(&wrapped.to_string()).is_ok());
        assert_eq!(conceal(wrapped.clone()), wrapped, "what was kept is shown");
    }

    #[test]
    fn secrets_are_redacted_at_any_depth_by_the_name_of_their_key() {
        let redacted = redact(json!({
            "a": [{"client_secret": "x", "n": 1}], "Authorization": "Bearer x", "api-key": "x", "Cookie": {"deep": 1},
            "client_assertion": "x", "token_type": "Bearer", "credential_type": "token"
        }));
        assert_eq!(
            redacted,
            json!({
                "a": [{"client_secret": REDACTED, "n": 1}], "Authorization": REDACTED, "api-key": REDACTED,
                "Cookie": REDACTED, "client_assertion": REDACTED, "token_type": "Bearer", "credential_type": "token"
            })
        );
    }

    #[test]
    fn a_secret_is_one_however_its_key_is_written_and_what_is_ours_stays_readable() {
        let long = format!("{}.client-secret", "nested.".repeat(20));
        for secret in [
            "privateKey",
            "private key",
            "signing_key",
            "access_key",
            "AWS-Access-Key-Id",
            "encryptionKey",
            "key",
            "KEY",
            "passwd",
            "Pass-Word",
            "db.password.value",
            "api_keys",
            "apiKeys",
            "secret_id",
            "secret_name",
            "refreshToken",
            "tokens",
            "id_token_url",
            "set-cookie",
            "Proxy-Authorization",
            "authorization_code",
            "SAMLAssertion",
            "credentials",
            "x-api-key",
            "pwd",
            "userPwd",
            "pass",
            "db_pass",
            "userPass",
            "auth",
            "X-Auth",
            "bearer",
            "jwt",
            "id_jwt",
            "otp",
            "otpCode",
            "pin",
            "SAMLResponse",
            "ｐａｓｓｗｏｒｄ",
            "Ｐｉｎ",
            "keys",
            &long,
        ] {
            assert!(is_secret_key(secret), "{secret}");
        }
        for open in [
            "secret_config_keys",
            "credential_provider_id",
            "token_endpoint",
            "tokenUrl",
            "allowed_token_hosts",
            "auth_mode",
            "client_auth_method",
            "author",
            "opinion",
            "compass",
            "pinned",
            "passed",
            "kid",
            "session_id",
            "requested_scopes",
            "actor",
            "authorized",
            "keyboard",
            "",
            "ключ",
        ] {
            assert!(!is_secret_key(open), "{open}");
        }
    }

    #[test]
    fn public_keys_and_the_mere_fact_of_a_change_are_shown() {
        let shown = json!({
            "jwks": {"keys": [{"kty": "EC", "x": "a"}]}, "client_secret": {"from": null, "to": REDACTED}, "n": {"keys": []}
        });
        assert_eq!(redact(shown.clone()), shown);
        for hidden in [
            json!({"keys": ["a"]}),
            json!({"keys": {"kty": "EC"}}),
            json!({"keys": [{"kty": "EC"}, "a"]}),
            json!({"Keys": "a"}),
            json!({"secret": {"from": null, "to": "a"}}),
            json!({"secret": {"from": REDACTED, "to": REDACTED, "by": "a"}}),
            json!({"secret": {}}),
        ] {
            let redacted = redact(hidden.clone());
            let only = redacted.as_object().and_then(|map| map.values().next());
            assert_eq!(only, Some(&json!(REDACTED)), "{hidden}");
        }
    }

    #[test]
    fn what_a_stranger_writes_is_shortened_between_characters() {
        let long = "é".repeat(5000);
        let kept =
            shortened(json!({"path": long, "deep": [{"a": format!("x{long}")}], "short": "é", "n": 1}));
        assert_eq!(kept["path"], json!(format!("{}…", "é".repeat(512))));
        assert_eq!(kept["deep"][0]["a"], json!(format!("x{}…", "é".repeat(511))));
        assert_eq!((&kept["short"], &kept["n"]), (&json!("é"), &json!(1)));
    }
}
