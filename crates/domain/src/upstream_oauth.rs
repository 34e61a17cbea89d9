//! Speaking OAuth to somebody else's authorization server, as far as it needs no wire: what a provider's configuration
//! says (contract §1, "Providers"), the requests that follow from it, and how answers are read.

use crate::zone::ProviderKind;
use serde::Deserialize;
use serde_json::Value;

mod answer;
mod settings;

pub use answer::{Discovery, TokenAnswer, UnusableAnswer, token_error};
pub use settings::{Grant, OauthSecrets, OauthSettings, TokenRequest};

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

impl Flow {
    /// Whether users consent to it, each for themselves.
    #[must_use]
    pub const fn is_consented(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::Oidc)
    }
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

#[cfg(test)]
mod tests;
