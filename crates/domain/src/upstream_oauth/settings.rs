//! What an OAuth provider is configured with, and the requests that follow from it.

use super::answer::Discovery;
use super::{ClientAuth, NotReady};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use url::Url;
use zeroize::Zeroize;

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
pub struct OauthSecrets {
    /// A shared secret.
    pub client_secret: Option<String>,
    /// A private key in PEM or as a JWK.
    pub private_key: Option<String>,
}

impl Drop for OauthSecrets {
    fn drop(&mut self) {
        self.client_secret.zeroize();
        self.private_key.zeroize();
    }
}

impl fmt::Debug for OauthSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OauthSecrets")
    }
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

/// A request to a token or revocation endpoint. It holds secrets, so it has no `Debug` and is wiped when dropped.
pub struct TokenRequest {
    /// Where to.
    pub endpoint: Url,
    /// The form.
    pub form: Vec<(String, String)>,
    /// Name and secret for HTTP Basic.
    pub basic: Option<(String, String)>,
}

impl Drop for TokenRequest {
    fn drop(&mut self) {
        self.form.iter_mut().for_each(|(_, value)| value.zeroize());
        if let Some((_, secret)) = &mut self.basic {
            secret.zeroize();
        }
    }
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
