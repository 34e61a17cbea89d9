//! The ledger's event (contract §6): what was decided, for whom, and why.

use crate::clock::Timestamp;
use crate::decision::Ruling;
use crate::id::{EventId, PolicySetId, PolicySetVersionId, ZoneId};
use crate::request_id::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EventType {
    /// A decision of the STS, one per resource.
    TokenExchange,
    /// A call admitted or refused by the gateway, before it is forwarded.
    GatewayRequest,
    /// The end of a forwarded call.
    GatewayResponse,
    /// A mandate presented a second time.
    ReplayDetected,
    /// What a shadow policy set would have said.
    PolicyShadow,
    /// A session's life: `session.<what>`.
    Session(String),
    /// An agent's life: `agent.<what>`.
    Agent(String),
    /// A delegation's life: `delegation.<what>`.
    Delegation(String),
    /// A step-up challenge's life: `step_up.<what>`.
    StepUp(String),
    /// A change, or refused change, of configuration: `admin.<what>`.
    Admin(String),
}

impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        match event_type {
            EventType::TokenExchange => "token_exchange".into(),
            EventType::GatewayRequest => "gateway_request".into(),
            EventType::GatewayResponse => "gateway_response".into(),
            EventType::ReplayDetected => "replay_detected".into(),
            EventType::PolicyShadow => "policy_shadow".into(),
            EventType::Session(what) => format!("session.{what}"),
            EventType::Agent(what) => format!("agent.{what}"),
            EventType::Delegation(what) => format!("delegation.{what}"),
            EventType::StepUp(what) => format!("step_up.{what}"),
            EventType::Admin(what) => format!("admin.{what}"),
        }
    }
}

/// The text names no event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event type")]
pub struct InvalidEventType;

impl TryFrom<String> for EventType {
    type Error = InvalidEventType;

    fn try_from(text: String) -> Result<Self, InvalidEventType> {
        let (family, what) = text.split_once('.').unwrap_or((text.as_str(), ""));
        let what = what.to_owned();
        match (family, what.is_empty()) {
            ("token_exchange", true) => Ok(Self::TokenExchange),
            ("gateway_request", true) => Ok(Self::GatewayRequest),
            ("gateway_response", true) => Ok(Self::GatewayResponse),
            ("replay_detected", true) => Ok(Self::ReplayDetected),
            ("policy_shadow", true) => Ok(Self::PolicyShadow),
            ("session", false) => Ok(Self::Session(what)),
            ("agent", false) => Ok(Self::Agent(what)),
            ("delegation", false) => Ok(Self::Delegation(what)),
            ("step_up", false) => Ok(Self::StepUp(what)),
            ("admin", false) => Ok(Self::Admin(what)),
            _ => Err(InvalidEventType),
        }
    }
}

/// How it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditDecision {
    /// Authority was given.
    Allow,
    /// It was refused.
    Deny,
    /// Some of what was asked for was given.
    Partial,
}

impl AuditDecision {
    /// The name stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Partial => "partial",
        }
    }

    /// The decision with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Allow, Self::Deny, Self::Partial]
            .into_iter()
            .find(|d| d.as_str() == name)
    }
}

/// One event of the ledger. Its JSON, keys sorted, is what the chain hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// The event's own id; the ledger keeps each once.
    pub id: EventId,
    /// Whose ledger it belongs to.
    pub zone_id: ZoneId,
    /// What it is about.
    pub event_type: EventType,
    /// The request it happened in.
    pub request_id: RequestId,
    /// How it was decided.
    pub decision: AuditDecision,
    /// `complete`, or why the evaluation was not.
    pub evaluation_status: String,
    /// The precise slug of a refusal.
    pub reason: Option<String>,
    /// The policy set that decided.
    pub policy_set_id: Option<PolicySetId>,
    /// Its version.
    pub policy_set_version_id: Option<PolicySetVersionId>,
    /// SHA-256 of its manifest, hex.
    pub manifest_sha: Option<String>,
    /// What decided, as the policies name it.
    pub determining_policies_json: Value,
    /// What the policies explained.
    pub diagnostics_json: Value,
    /// Everything else worth keeping, redacted by [`redact`].
    pub metadata_json: Value,
    /// When it happened.
    pub occurred_at: Timestamp,
}

impl AuditEvent {
    /// An event without policy detail. `metadata` is redacted here, so no event can carry a secret by accident.
    #[must_use]
    pub fn new(
        id: EventId,
        zone_id: ZoneId,
        event_type: EventType,
        request_id: RequestId,
        decision: AuditDecision,
        metadata: Value,
        occurred_at: Timestamp,
    ) -> Self {
        Self {
            id,
            zone_id,
            event_type,
            request_id,
            decision,
            evaluation_status: "complete".to_owned(),
            reason: None,
            policy_set_id: None,
            policy_set_version_id: None,
            manifest_sha: None,
            determining_policies_json: Value::Array(Vec::new()),
            diagnostics_json: Value::Array(Vec::new()),
            metadata_json: redact(metadata),
            occurred_at,
        }
    }

    /// Notes what the policies came to. What they name and explain is theirs, so it is redacted like everything else.
    pub fn rule(&mut self, ruling: &Ruling) {
        self.determining_policies_json = redact(Value::Array(ruling.determining_policies.clone()));
        self.diagnostics_json = redact(Value::Array(ruling.diagnostics.clone()));
    }

    /// The same event with the slug of a refusal.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }
}

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

/// What stands in place of a redacted value.
pub const REDACTED: &str = "[redacted]";

/// Replaces the value of every key that by its name may hold a secret, at any depth (contract §1, "Audit").
#[must_use]
pub fn redact(mut value: Value) -> Value {
    redact_within(&mut value);
    value
}

/// In place: every decision passes through here.
fn redact_within(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if is_secret_key(key) && !shows_nothing(inner) && !is_key_set(key, inner) {
                    *inner = Value::String(REDACTED.into());
                } else {
                    redact_within(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_within),
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
    fn event_types_survive_a_round_trip_and_strangers_are_refused() {
        for name in [
            "token_exchange",
            "gateway_request",
            "session.revoked",
            "admin.zone.create",
            "step_up.satisfied",
        ] {
            assert_eq!(
                EventType::try_from(name.to_owned()).map(String::from),
                Ok(name.to_owned())
            );
        }
        for name in ["", "session.", "session", "token_exchange.x", "other"] {
            assert_eq!(
                EventType::try_from(name.to_owned()),
                Err(InvalidEventType),
                "{name}"
            );
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
