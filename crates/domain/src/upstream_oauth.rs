//! Speaking OAuth to somebody else's authorization server, as far as it needs no wire: what a provider's configuration
//! says (contract §1, "Providers"), the requests that follow from it, and how answers are read.

use crate::zone::ProviderKind;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use url::Url;

/// The longest token that is taken.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How a provider comes by a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A user consents (RFC 6749 §4.1).
    AuthorizationCode,
    /// The same, with the endpoints found by discovery.
    Oidc,
    /// The client itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A configured key.
    ApiKey,
    /// A configured token.
    BearerToken,
    /// A workload identity.
    Workload,
}

impl ProviderKind {
    /// How a provider of this kind with this configuration comes by a credential: `oauth2` is authorization code when
    /// it has an authorization endpoint, else client credentials.
    #[must_use]
    pub fn flow(self, config: &Value) -> Flow {
        let authorizes = ["authorization_endpoint", "authorization_url"]
            .iter()
            .any(|name| config.get(name).is_some());
        match self {
            Self::Oauth2 if authorizes => Flow::AuthorizationCode,
            Self::Oauth2AuthorizationCode => Flow::AuthorizationCode,
            Self::Oauth2 | Self::Oauth2ClientCredentials => Flow::ClientCredentials,
            Self::Oidc => Flow::Oidc,
            Self::Apikey | Self::ApiKey => Flow::ApiKey,
            Self::BearerToken => Flow::BearerToken,
            Self::Workload => Flow::Workload,
        }
    }
}

/// How we prove ourselves at a token endpoint (RFC 8414 `token_endpoint_auth_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// HTTP Basic.
    ClientSecretBasic,
    /// In the body.
    ClientSecretPost,
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt,
    /// Not at all: a public client.
    None,
}

/// What an OAuth provider is configured with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct OauthSettings {
    /// Where users consent.
    #[serde(alias = "authorization_url")]
    pub authorization_endpoint: Option<Url>,
    /// Where tokens are had.
    #[serde(alias = "token_url")]
    pub token_endpoint: Option<Url>,
    /// Where tokens are given back (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// Whose discovery document names the endpoints.
    pub issuer: Option<String>,
    /// Who we are there.
    pub client_id: Option<String>,
    /// What is asked for unless something else is.
    pub scopes: Vec<String>,
    /// How we prove ourselves; with a secret in HTTP Basic unless it says otherwise.
    pub client_auth_method: Option<ClientAuth>,
    /// Further parameters of the authorization request.
    pub authorization_params: BTreeMap<String, String>,
    /// Further parameters of the token request.
    pub token_params: BTreeMap<String, String>,
    /// When not empty, the only hosts a token endpoint may have.
    pub allowed_token_hosts: Vec<String>,
    /// For whom a client's own token is.
    pub audience: Option<String>,
    /// For which resource a client's own token is (RFC 8707).
    pub resource: Option<String>,
}

/// The secrets of an OAuth provider.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct OauthSecrets {
    /// A shared secret.
    pub client_secret: Option<String>,
    /// A private key in PEM or as a JWK.
    pub private_key: Option<String>,
}

impl fmt::Debug for OauthSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OauthSecrets")
    }
}

/// Why a provider cannot be spoken to yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The stored configuration cannot be read.
    #[error("its configuration cannot be read")]
    Unreadable,
    /// A setting is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The token endpoint is not on the list.
    #[error("the token endpoint's host is not among allowed_token_hosts")]
    TokenHostNotAllowed,
}

/// What is exchanged for a token.
pub enum Grant<'a> {
    /// A code that a user's consent brought.
    Code {
        /// The code.
        code: &'a str,
        /// The PKCE verifier (RFC 7636).
        verifier: &'a str,
        /// Where the consent came back to.
        redirect_uri: &'a str,
    },
    /// A refresh token.
    Refresh(&'a str),
    /// Nothing: the client's own authority.
    ClientCredentials,
}

/// A request to a token or revocation endpoint. It holds secrets, so it has no `Debug`.
pub struct TokenRequest {
    /// Where to.
    pub endpoint: Url,
    /// The form.
    pub form: Vec<(String, String)>,
    /// Name and secret for HTTP Basic.
    pub basic: Option<(String, String)>,
}

impl OauthSettings {
    /// Reads a stored configuration.
    ///
    /// # Errors
    /// [`NotReady::Unreadable`].
    pub fn read(config: &Value) -> Result<Self, NotReady> {
        Self::deserialize(config).map_err(|_| NotReady::Unreadable)
    }

    /// How we prove ourselves.
    #[must_use]
    pub fn auth(&self) -> ClientAuth {
        self.client_auth_method.unwrap_or(ClientAuth::ClientSecretBasic)
    }

    /// Takes what discovery found where the configuration says nothing itself.
    #[must_use]
    pub fn discovered(mut self, found: Discovery) -> Self {
        self.authorization_endpoint = self.authorization_endpoint.or(Some(found.authorization_endpoint));
        self.token_endpoint = self.token_endpoint.or(Some(found.token_endpoint));
        self.revocation_endpoint = self.revocation_endpoint.or(found.revocation_endpoint);
        self
    }

    /// The token endpoint, if tokens may be asked of it.
    ///
    /// # Errors
    /// [`NotReady`]: there is none, or its host is not allowed.
    pub fn token_endpoint(&self) -> Result<&Url, NotReady> {
        let endpoint = self
            .token_endpoint
            .as_ref()
            .ok_or(NotReady::Missing("token_endpoint"))?;
        let host = endpoint.host_str().unwrap_or_default();
        let port = endpoint.port_or_known_default();
        let listed = |entry: &String| {
            let named = entry.eq_ignore_ascii_case(host);
            named || port.is_some_and(|port| entry.eq_ignore_ascii_case(&format!("{host}:{port}")))
        };
        if self.allowed_token_hosts.is_empty() || self.allowed_token_hosts.iter().any(listed) {
            Ok(endpoint)
        } else {
            Err(NotReady::TokenHostNotAllowed)
        }
    }

    /// Who we are.
    ///
    /// # Errors
    /// [`NotReady::Missing`].
    pub fn client_id(&self) -> Result<&str, NotReady> {
        self.client_id.as_deref().ok_or(NotReady::Missing("client_id"))
    }

    /// The address a user's browser is sent to (RFC 6749 §4.1.1, RFC 7636 §4.3).
    ///
    /// # Errors
    /// [`NotReady::Missing`].
    pub fn authorization_url(
        &self,
        redirect_uri: &str,
        state: &str,
        code_challenge: &str,
        scopes: &[String],
    ) -> Result<Url, NotReady> {
        let endpoint = self.authorization_endpoint.as_ref();
        let mut url = endpoint
            .ok_or(NotReady::Missing("authorization_endpoint"))?
            .clone();
        let client_id = self.client_id()?;
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(&self.authorization_params);
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", client_id)
                .append_pair("redirect_uri", redirect_uri)
                .append_pair("state", state)
                .append_pair("code_challenge", code_challenge)
                .append_pair("code_challenge_method", "S256");
            if !scopes.is_empty() {
                query.append_pair("scope", &scopes.join(" "));
            }
        }
        Ok(url)
    }

    /// The request for a token. `assertion` is needed for [`ClientAuth::PrivateKeyJwt`].
    ///
    /// # Errors
    /// [`NotReady`].
    pub fn token_request(
        &self,
        grant: &Grant<'_>,
        secrets: &OauthSecrets,
        assertion: Option<String>,
    ) -> Result<TokenRequest, NotReady> {
        let mut request = self.authenticated(self.token_endpoint()?.clone(), secrets, assertion)?;
        let extra = self
            .token_params
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        request.form.extend(extra);
        let mut add = |name: &str, value: &str| request.form.push((name.to_owned(), value.to_owned()));
        match grant {
            Grant::Code {
                code,
                verifier,
                redirect_uri,
            } => {
                add("grant_type", "authorization_code");
                add("code", code);
                add("code_verifier", verifier);
                add("redirect_uri", redirect_uri);
            }
            Grant::Refresh(token) => {
                add("grant_type", "refresh_token");
                add("refresh_token", token);
            }
            Grant::ClientCredentials => {
                add("grant_type", "client_credentials");
                if !self.scopes.is_empty() {
                    add("scope", &self.scopes.join(" "));
                }
                if let Some(audience) = &self.audience {
                    add("audience", audience);
                }
                if let Some(resource) = &self.resource {
                    add("resource", resource);
                }
            }
        }
        Ok(request)
    }

    /// The request that gives a token back (RFC 7009 §2.1); `None` where the provider has no place for it.
    ///
    /// # Errors
    /// [`NotReady`].
    pub fn revocation_request(
        &self,
        token: &str,
        hint: &str,
        secrets: &OauthSecrets,
        assertion: Option<String>,
    ) -> Result<Option<TokenRequest>, NotReady> {
        let Some(endpoint) = self.revocation_endpoint.clone() else {
            return Ok(None);
        };
        let mut request = self.authenticated(endpoint, secrets, assertion)?;
        request.form.push(("token".to_owned(), token.to_owned()));
        request.form.push(("token_type_hint".to_owned(), hint.to_owned()));
        Ok(Some(request))
    }

    fn authenticated(
        &self,
        endpoint: Url,
        secrets: &OauthSecrets,
        assertion: Option<String>,
    ) -> Result<TokenRequest, NotReady> {
        const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let id = self.client_id()?.to_owned();
        let secret = || {
            secrets
                .client_secret
                .clone()
                .ok_or(NotReady::Missing("client_secret"))
        };
        let field = |name: &str, value: String| (name.to_owned(), value);
        let (form, basic) = match self.auth() {
            ClientAuth::ClientSecretBasic => (Vec::new(), Some((id, secret()?))),
            ClientAuth::ClientSecretPost => (
                vec![field("client_id", id), field("client_secret", secret()?)],
                None,
            ),
            ClientAuth::PrivateKeyJwt => {
                let assertion = assertion.ok_or(NotReady::Missing("private_key"))?;
                let kind = field("client_assertion_type", ASSERTION_TYPE.to_owned());
                (
                    vec![field("client_id", id), kind, field("client_assertion", assertion)],
                    None,
                )
            }
            ClientAuth::None => (vec![field("client_id", id)], None),
        };
        Ok(TokenRequest {
            endpoint,
            form,
            basic,
        })
    }
}

/// What a token endpoint answered (RFC 6749 §5.1). It holds secrets, so it has no `Debug`.
pub struct TokenAnswer {
    /// The token.
    pub access_token: String,
    /// What renews it.
    pub refresh_token: Option<String>,
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
            access_token: wire.access_token,
            refresh_token: wire.refresh_token,
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

#[cfg(test)]
mod tests {
    #![expect(clippy::ok_expect, clippy::needless_pass_by_value, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn settings(extra: Value) -> OauthSettings {
        let mut config = json!({
            "authorization_url": "https://as.example/authorize?tenant=1", "token_url": "https://as.example/token",
            "client_id": "cid",
        });
        for (name, value) in extra.as_object().expect("an object") {
            config[name] = value.clone();
        }
        OauthSettings::read(&config).expect("settings")
    }

    #[test]
    fn the_kind_decides_the_flow_and_oauth2_by_its_endpoints() {
        let (none, url) = (json!({}), json!({"authorization_url": "https://a.example"}));
        assert_eq!(ProviderKind::Oauth2.flow(&none), Flow::ClientCredentials);
        assert_eq!(ProviderKind::Oauth2.flow(&url), Flow::AuthorizationCode);
        assert_eq!(
            ProviderKind::Oauth2AuthorizationCode.flow(&none),
            Flow::AuthorizationCode
        );
        assert_eq!(ProviderKind::Apikey.flow(&none), ProviderKind::ApiKey.flow(&none));
    }

    #[test]
    fn the_authorization_url_has_ours_after_theirs() {
        let url = settings(json!({"authorization_params": {"prompt": "consent"}}))
            .authorization_url("https://api.example/cb", "s", "c", &["a".into(), "b".into()])
            .expect("a URL");
        assert_eq!(
            url.query(),
            Some(
                "tenant=1&prompt=consent&response_type=code&client_id=cid&redirect_uri=https%3A%2F%2Fapi.example%2Fcb\
                 &state=s&code_challenge=c&code_challenge_method=S256&scope=a+b"
            )
        );
    }

    #[test]
    fn each_way_of_proving_ourselves() {
        let secrets = OauthSecrets {
            client_secret: Some("sec".into()),
            private_key: None,
        };
        let request = |method: &str, assertion: Option<&str>| {
            settings(json!({"client_auth_method": method})).token_request(
                &Grant::ClientCredentials,
                &secrets,
                assertion.map(str::to_owned),
            )
        };
        let has = |request: &TokenRequest, name: &str| request.form.iter().any(|(field, _)| field == name);
        let basic = request("client_secret_basic", None).ok().expect("a request");
        assert!(basic.basic.is_some() && !has(&basic, "client_id"));
        let post = request("client_secret_post", None).ok().expect("a request");
        assert!(post.basic.is_none() && has(&post, "client_secret"));
        let jwt = request("private_key_jwt", Some("a.b.c")).ok().expect("a request");
        assert!(has(&jwt, "client_assertion") && !has(&jwt, "client_secret"));
        assert_eq!(
            request("private_key_jwt", None).err(),
            Some(NotReady::Missing("private_key"))
        );
        let none = request("none", None).ok().expect("a request");
        assert!(none.basic.is_none() && has(&none, "client_id") && !has(&none, "client_secret"));
    }

    #[test]
    fn a_token_host_off_the_list_is_refused() {
        let listed = |hosts: Value| {
            settings(json!({"allowed_token_hosts": hosts}))
                .token_endpoint()
                .map(drop)
        };
        assert_eq!(listed(json!(["as.example"])), Ok(()));
        assert_eq!(listed(json!(["AS.example:443"])), Ok(()));
        assert_eq!(
            listed(json!(["other.example"])),
            Err(NotReady::TokenHostNotAllowed)
        );
        assert_eq!(listed(json!([])), Ok(()));
    }

    #[test]
    fn only_usable_tokens_are_taken() {
        let parse =
            |value: Value| TokenAnswer::parse(value.to_string().as_bytes()).map(|answer| answer.expires_in);
        assert_eq!(
            parse(json!({"access_token": "t", "token_type": "bearer", "expires_in": "60"})),
            Ok(Some(60))
        );
        assert_eq!(parse(json!({"access_token": "t"})), Ok(None));
        for bad in [
            json!({}),
            json!({"access_token": ""}),
            json!({"access_token": "a b"}),
            json!({"access_token": "t\r\nX: y"}),
            json!({"access_token": "t", "token_type": "DPoP"}),
            json!({"access_token": "x".repeat(20_000)}),
        ] {
            assert_eq!(parse(bad), Err(UnusableAnswer));
        }
        assert_eq!(
            token_error(b"{\"error\":\"invalid_client\"}").as_deref(),
            Some("invalid_client")
        );
        assert_eq!(token_error(b"{\"error\":\"<script>\"}"), None);
    }

    #[test]
    fn a_document_of_another_issuer_is_refused() {
        let document = json!({"issuer": "https://a.example", "authorization_endpoint": "https://a.example/a",
            "token_endpoint": "https://a.example/t"});
        let text = document.to_string();
        assert!(Discovery::parse(text.as_bytes(), "https://a.example/").is_ok());
        assert!(Discovery::parse(text.as_bytes(), "https://b.example").is_err());
        assert!(Discovery::parse(b"[]", "https://a.example").is_err());
    }
}
