//! What a provider of each kind may be configured with, and what of it is secret (contract §1, "Providers").

use crate::error::Failure;
use caracal_domain::zone::ProviderKind;
use caracal_egress::headers::{is_value, may_carry_a_key};
use caracal_egress::{EgressPolicy, check_url};
use caracal_jose::check_private_key;
use serde_json::{Map, Value};

/// A configuration taken apart: what may be shown and what may not. `null` stands for a secret to be removed.
pub(super) struct Configuration {
    pub(super) shown: Map<String, Value>,
    pub(super) secrets: Map<String, Value>,
}

/// How a field's value is checked.
#[derive(Clone, Copy)]
enum Shape {
    Endpoint,
    Text,
    Texts,
    TextMap,
    Seconds,
    OneOf(&'static [&'static str]),
}

type Fields = &'static [(&'static str, Shape)];

const AUTH_METHODS: Shape = Shape::OneOf(&[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "none",
]);

const CLIENT: Fields = &[
    ("revocation_endpoint", Shape::Endpoint),
    ("client_id", Shape::Text),
    ("scopes", Shape::Texts),
    ("client_auth_method", AUTH_METHODS),
    ("token_params", Shape::TextMap),
    ("allowed_token_hosts", Shape::Texts),
];
const AUTHORIZATION_CODE: Fields = &[
    ("authorization_endpoint", Shape::Endpoint),
    ("authorization_url", Shape::Endpoint),
    ("token_endpoint", Shape::Endpoint),
    ("token_url", Shape::Endpoint),
    ("authorization_params", Shape::TextMap),
];
const CLIENT_CREDENTIALS: Fields = &[
    ("token_endpoint", Shape::Endpoint),
    ("token_url", Shape::Endpoint),
    ("audience", Shape::Text),
    ("resource", Shape::Text),
];
const OIDC: Fields = &[
    ("issuer", Shape::Endpoint),
    ("authorization_params", Shape::TextMap),
];
const API_KEY: Fields = &[
    ("location", Shape::OneOf(&["header", "query"])),
    ("name", Shape::Text),
    ("scheme", Shape::Text),
];
const WORKLOAD: Fields = &[
    ("audience", Shape::Text),
    ("subject", Shape::Text),
    ("ttl_seconds", Shape::Seconds),
];

/// Takes a configuration apart by the rule of seed `004` and checks both halves against the provider's kind.
pub(super) fn read(
    kind: ProviderKind,
    config: Map<String, Value>,
    secret_config: Map<String, Value>,
    egress: &EgressPolicy,
) -> Result<Configuration, Failure> {
    let (secrets, shown): (Map<_, _>, Map<_, _>) = config
        .into_iter()
        .chain(secret_config)
        .partition(|(key, _)| is_secret(key));
    // What is null is as good as absent, but of the kind all the same.
    let (absent, shown): (Map<_, _>, Map<_, _>) = shown.into_iter().partition(|(_, value)| value.is_null());
    let (fields, secret_names) = permitted(kind, &shown);
    for (key, value) in shown.iter().chain(&absent) {
        let mut known = fields.iter().flat_map(|fields| fields.iter());
        let shape = known.find(|(name, _)| name == key);
        let place = format!("config_json.{key}");
        let (_, shape) =
            shape.ok_or_else(|| Failure::field(&place, "is not a field of this kind of provider"))?;
        if !value.is_null() {
            check(*shape, value, egress).map_err(|why| Failure::field(&place, why))?;
        }
    }
    for (key, value) in &secrets {
        let place = format!("secret_config.{key}");
        if !secret_names.contains(&key.as_str()) {
            return Err(Failure::field(&place, "is not a secret of this kind of provider"));
        }
        if !value.is_null() && value.as_str().is_none_or(|text| !is_secret_text(text)) {
            return Err(Failure::field(
                &place,
                "must be a text of 1 to 16384 characters, or null to remove it",
            ));
        }
        let key_text = value.as_str().filter(|_| key == "private_key");
        if key_text.is_some_and(|text| check_private_key(text).is_err()) {
            let why = "must be a private key of P-256, P-384, Ed25519 or RSA, in PEM or as a JWK";
            return Err(Failure::field(&place, why));
        }
    }
    check_header(&shown, &secrets)?;
    check_aliases(&shown)?;
    check_params(&shown)?;
    Ok(Configuration { shown, secrets })
}

/// The two members of a body are one (seed `004`), so what both of them hold is the same in both.
pub(super) fn agree(config: &Map<String, Value>, secret_config: &Map<String, Value>) -> Result<(), Failure> {
    let differs =
        |(key, value): &(&String, &Value)| secret_config.get(*key).is_some_and(|other| other != *value);
    match config.iter().find(differs) {
        Some((key, _)) => {
            let place = format!("secret_config.{key}");
            Err(Failure::field(&place, "is not what config_json says it is"))
        }
        None => Ok(()),
    }
}

fn permitted(kind: ProviderKind, shown: &Map<String, Value>) -> (Vec<Fields>, &'static [&'static str]) {
    const OF_CLIENT: &[&str] = &["client_secret", "private_key"];
    let authorizes = shown.contains_key("authorization_endpoint") || shown.contains_key("authorization_url");
    match kind {
        ProviderKind::Oauth2 if authorizes => (vec![CLIENT, AUTHORIZATION_CODE], OF_CLIENT),
        ProviderKind::Oauth2AuthorizationCode => (vec![CLIENT, AUTHORIZATION_CODE], OF_CLIENT),
        ProviderKind::Oauth2 | ProviderKind::Oauth2ClientCredentials => {
            (vec![CLIENT, CLIENT_CREDENTIALS], OF_CLIENT)
        }
        ProviderKind::Oidc => (vec![CLIENT, OIDC], OF_CLIENT),
        ProviderKind::Apikey | ProviderKind::ApiKey => (vec![API_KEY], &["api_key"]),
        ProviderKind::BearerToken => (vec![], &["bearer_token"]),
        ProviderKind::Workload => (vec![WORKLOAD], &[]),
    }
}

/// `/secret|password|token|api[_-]?key|private[_-]?key|credential|passphrase/i`, but never what only names or locates.
pub(super) fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 7] = [
        "secret",
        "password",
        "token",
        "apikey",
        "privatekey",
        "credential",
        "passphrase",
    ];
    const ENDINGS: [&str; 6] = ["_url", "_endpoint", "_uri", "_header", "_scheme", "_name"];
    const NEVER: [&str; 2] = ["allowed_token_hosts", "token_params"];
    let key = key.to_ascii_lowercase();
    let bare: String = key.chars().filter(|c| !matches!(c, '_' | '-')).collect();
    WORDS.iter().any(|word| bare.contains(word))
        && !ENDINGS.iter().any(|ending| key.ends_with(ending))
        && !NEVER.contains(&key.as_str())
}

fn is_secret_text(text: &str) -> bool {
    (1..=16_384).contains(&text.len())
}

fn check(shape: Shape, value: &Value, egress: &EgressPolicy) -> Result<(), String> {
    let is_text = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| (1..=2048).contains(&text.len()))
    };
    let fits = match shape {
        Shape::Endpoint => {
            let url = value.as_str().ok_or("must be a URL")?;
            let url = check_url(egress, url).map_err(|why| why.to_string())?;
            // RFC 6749 §3.1, §3.2.
            return url
                .fragment()
                .map_or(Ok(()), |_| Err("must have no fragment".to_owned()));
        }
        Shape::Text => is_text(value),
        Shape::Texts => value
            .as_array()
            .is_some_and(|items| items.len() <= 256 && items.iter().all(is_text)),
        Shape::TextMap => value
            .as_object()
            .is_some_and(|map| map.len() <= 64 && map.values().all(is_text)),
        Shape::Seconds => value
            .as_u64()
            .is_some_and(|seconds| (1..=3600).contains(&seconds)),
        Shape::OneOf(names) => value.as_str().is_some_and(|text| names.contains(&text)),
    };
    if fits { Ok(()) } else { Err(expected(shape)) }
}

fn expected(shape: Shape) -> String {
    match shape {
        Shape::Endpoint => "must be a URL".to_owned(),
        Shape::Text => "must be a text".to_owned(),
        Shape::Texts => "must be a list of texts".to_owned(),
        Shape::TextMap => "must be an object of texts".to_owned(),
        Shape::Seconds => "must be from 1 to 3600".to_owned(),
        Shape::OneOf(names) => format!("must be one of {}", names.join(", ")),
    }
}

/// An API key travels under this name and after this scheme, so both must be fit for a header.
fn check_header(shown: &Map<String, Value>, secrets: &Map<String, Value>) -> Result<(), Failure> {
    let text = |key: &str| shown.get(key).and_then(Value::as_str);
    let token = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let in_header = text("location") != Some("query");
    let may_be = |name: &str| token(name) && (!in_header || may_carry_a_key(name));
    if text("name").is_some_and(|name| !may_be(name)) {
        return Err(Failure::field(
            "config_json.name",
            "must be a header or parameter name the key may have",
        ));
    }
    if text("scheme").is_some_and(|scheme| !token(scheme)) {
        return Err(Failure::field(
            "config_json.scheme",
            "must be one word such as Bearer",
        ));
    }
    for key in ["api_key", "bearer_token"] {
        let secret = secrets.get(key).and_then(Value::as_str);
        if in_header && secret.is_some_and(|secret| !is_value(secret)) {
            return Err(Failure::field(
                &format!("secret_config.{key}"),
                "must be visible ASCII, as it travels in a header",
            ));
        }
    }
    Ok(())
}

/// A setting under both its names must say the same.
fn check_aliases(shown: &Map<String, Value>) -> Result<(), Failure> {
    const ALIASES: [(&str, &str); 2] = [
        ("token_url", "token_endpoint"),
        ("authorization_url", "authorization_endpoint"),
    ];
    for (alias, name) in ALIASES {
        if shown.contains_key(alias) && shown.contains_key(name) {
            let why = format!("is another name of {name}, which is there too");
            return Err(Failure::field(&format!("config_json.{alias}"), why));
        }
    }
    Ok(())
}

/// Further parameters never take the place of those that we set.
fn check_params(shown: &Map<String, Value>) -> Result<(), Failure> {
    const OURS: [&str; 16] = [
        "response_type",
        "response_mode",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "redirect_uri",
        "state",
        "scope",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "grant_type",
        "refresh_token",
        "request_uri",
    ];
    for field in ["authorization_params", "token_params"] {
        let named = shown.get(field).and_then(Value::as_object);
        let taken = named.and_then(|params| params.keys().find(|name| OURS.contains(&name.as_str())));
        if let Some(name) = taken {
            return Err(Failure::field(
                &format!("config_json.{field}.{name}"),
                "is set by Caracal",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(kind: ProviderKind, config: &Value, secret: &Value) -> Result<Configuration, Failure> {
        let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
        read(kind, object(config), object(secret), &EgressPolicy::default())
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for secret in [
            "client_secret",
            "API-KEY",
            "apiKey",
            "private_key",
            "bearer_token",
            "db_password",
            "credential",
            "key_passphrase",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for shown in [
            "token_url",
            "token_endpoint",
            "api_key_header",
            "token_params",
            "allowed_token_hosts",
            "client_id",
        ] {
            assert!(!is_secret(shown), "{shown}");
        }
    }

    #[test]
    fn a_secret_is_taken_out_wherever_it_stands() {
        let config = json!({"name": "X-Key", "api_key": "k1"});
        let read = read_json(ProviderKind::Apikey, &config, &json!({})).unwrap_or_else(|f| panic!("{f:?}"));
        assert_eq!(Value::Object(read.shown), json!({"name": "X-Key"}));
        assert_eq!(Value::Object(read.secrets), json!({"api_key": "k1"}));
    }

    #[test]
    fn what_is_not_of_the_kind_is_refused() {
        use ProviderKind::{Apikey, BearerToken, Oauth2, Workload};
        for (kind, config, secret) in [
            (Apikey, json!({"color": "red"}), json!({})),
            (Apikey, json!({"location": "cookie"}), json!({})),
            (Apikey, json!({"name": "a b"}), json!({})),
            (Apikey, json!({"name": "Host"}), json!({})),
            (Apikey, json!({"name": "Proxy-Connection"}), json!({})),
            (Apikey, json!({"name": "X-Forwarded-For"}), json!({})),
            (Apikey, json!({"name": "X-Request-Id"}), json!({})),
            (Apikey, json!({}), json!({"api_key": "a\r\nX: y"})),
            (BearerToken, json!({}), json!({"bearer_token": "caf\u{e9}"})),
            (Apikey, json!({}), json!({"client_secret": "x"})),
            (Apikey, json!({}), json!({"api_key": 7})),
            (Apikey, json!({}), json!({"api_key": ""})),
            (BearerToken, json!({"location": "header"}), json!({})),
            (Workload, json!({"ttl_seconds": 0}), json!({})),
            (Workload, json!({"ttl_seconds": 3601}), json!({})),
            (Oauth2, json!({"token_url": "http://127.0.0.1/"}), json!({})),
            (Oauth2, json!({"authorization_params": {}}), json!({})),
        ] {
            assert!(
                read_json(kind, &config, &secret).is_err(),
                "{kind:?} {config} {secret}"
            );
        }
        let in_query = json!({"location": "query", "name": "host"});
        assert!(read_json(Apikey, &in_query, &json!({"api_key": "caf\u{e9}"})).is_ok());
        assert!(
            read_json(
                Apikey,
                &json!({"name": "Authorization"}),
                &json!({"api_key": "k"})
            )
            .is_ok()
        );
        let seed = json!({"token_url": "https://github.com/login/oauth/access_token"});
        assert!(read_json(Oauth2, &seed, &json!({"client_secret": "x"})).is_ok());
    }
}
