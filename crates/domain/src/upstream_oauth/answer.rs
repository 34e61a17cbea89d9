//! What token endpoints and discovery answer, read strictly.

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

/// The longest token that is taken.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// What a token endpoint answered (RFC 6749 §5.1). It holds secrets, so it has no `Debug` and is wiped when
/// dropped.
pub struct TokenAnswer {
    /// The token.
    pub access_token: Zeroizing<String>,
    /// What renews it.
    pub refresh_token: Option<Zeroizing<String>>,
    /// How long it lives, in seconds.
    pub expires_in: Option<i64>,
    /// What was granted, when that is not what was asked for.
    pub scope: Option<String>,
}

/// The text is no answer of a token endpoint, or not one that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable token answer")]
pub struct UnusableAnswer;

impl TokenAnswer {
    /// Reads a successful answer. Only bearer tokens that fit into a header can be used.
    ///
    /// # Errors
    /// [`UnusableAnswer`].
    pub fn parse(body: &[u8]) -> Result<Self, UnusableAnswer> {
        #[derive(Deserialize)]
        struct Wire {
            access_token: String,
            token_type: Option<String>,
            refresh_token: Option<String>,
            expires_in: Option<Value>,
            scope: Option<String>,
        }
        let wire: Wire = serde_json::from_slice(body).map_err(|_| UnusableAnswer)?;
        let usable = |token: &str| {
            (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let bearer = wire
            .token_type
            .as_deref()
            .is_none_or(|name| name.eq_ignore_ascii_case("bearer"));
        if !bearer || !usable(&wire.access_token) || !wire.refresh_token.as_deref().is_none_or(usable) {
            return Err(UnusableAnswer);
        }
        Ok(Self {
            access_token: Zeroizing::new(wire.access_token),
            refresh_token: wire.refresh_token.map(Zeroizing::new),
            // Some servers write the number as a text.
            expires_in: wire
                .expires_in
                .as_ref()
                .and_then(seconds)
                .filter(|seconds| *seconds > 0),
            scope: wire.scope,
        })
    }
}

fn seconds(value: &Value) -> Option<i64> {
    const YEAR: i64 = 366 * 24 * 3600;
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    Some(number.min(YEAR))
}

/// The `error` of a refused token request (RFC 6749 §5.2).
#[must_use]
pub fn token_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire {
        error: String,
    }
    let wire: Wire = serde_json::from_slice(body).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    ((1..=100).contains(&wire.error.len()) && wire.error.bytes().all(plain)).then_some(wire.error)
}

/// What a discovery document says (`OpenID` Connect Discovery, RFC 8414).
#[derive(Debug, Clone, Deserialize)]
pub struct Discovery {
    issuer: String,
    /// Where users consent.
    pub authorization_endpoint: Url,
    /// Where tokens are had.
    pub token_endpoint: Url,
    /// Where tokens are given back.
    pub revocation_endpoint: Option<Url>,
}

impl Discovery {
    /// Where the document of an issuer is.
    #[must_use]
    pub fn address(issuer: &str) -> String {
        format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        )
    }

    /// Reads the document of `issuer`; one that says it is another's is refused (Discovery §4.3).
    ///
    /// # Errors
    /// [`UnusableAnswer`].
    pub fn parse(body: &[u8], issuer: &str) -> Result<Self, UnusableAnswer> {
        let found: Self = serde_json::from_slice(body).map_err(|_| UnusableAnswer)?;
        let same = found.issuer.trim_end_matches('/') == issuer.trim_end_matches('/');
        if same { Ok(found) } else { Err(UnusableAnswer) }
    }
}
