//! Asking upstream providers for tokens: configuration and secrets opened, endpoints discovered, clients proved, tokens
//! asked for and given back (RFC 6749, RFC 7009, RFC 7523; contract §1, "Providers"). What the API does once, at a
//! user's consent or a readiness check, the STS does for every credential it hands to a gateway: by the same code.
//!
//! This is the one crate below the services that may see both key material and what leaves the house. It must never keep
//! anything, nor decide who may have a token.
//!
//! Start with [`Asker`].

mod tokens;

pub use tokens::Tokens;

use caracal_domain::Clock;
use caracal_domain::id::ZoneId;
use caracal_domain::upstream_oauth::{
    ClientAuth, Flow, Grant, NotReady, OauthSecrets, OauthSettings, TokenAnswer,
};
use caracal_domain::zone::Provider;
use caracal_egress::{TokenError, Upstreams};
use caracal_jose::{Dek, Purpose, outgoing_assertion};
use std::fmt;
use std::sync::Arc;

/// A provider, opened. Holds secrets, so it has no `Debug`.
pub struct OauthProvider {
    /// How it gives tokens.
    pub flow: Flow,
    /// What it is configured with.
    pub settings: OauthSettings,
    /// What proves us there.
    pub secrets: OauthSecrets,
}

/// Why a provider could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    /// Its secrets are not sealed for it under this key.
    #[error("opening a provider's secrets")]
    Sealed(#[from] caracal_jose::Error),
    /// What is stored is not what was written.
    #[error("reading a provider's secrets")]
    Secrets(#[source] serde_json::Error),
    /// Its configuration cannot be read.
    #[error(transparent)]
    Configuration(#[from] NotReady),
}

/// Why a provider gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    /// Its configuration does not suffice.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// Its private key cannot sign.
    #[error("its private_key cannot be used")]
    PrivateKey,
    /// It was asked, in vain.
    #[error(transparent)]
    Asked(#[from] TokenError),
}

impl OauthProvider {
    /// Opens a provider of `zone`.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(dek: &Dek, zone: ZoneId, provider: &Provider) -> Result<Self, Unopened> {
        let secrets = match &provider.sealed_secrets {
            Some(sealed) => {
                let text = dek.open(zone, Purpose::ProviderSecret, provider.id.into(), sealed)?;
                serde_json::from_slice(&text).map_err(Unopened::Secrets)?
            }
            None => OauthSecrets::default(),
        };
        Ok(Self {
            flow: provider.kind.flow(&provider.config),
            settings: OauthSettings::read(&provider.config)?,
            secrets,
        })
    }
}

/// Asks providers; everything goes through the egress rules.
#[derive(Clone)]
pub struct Asker {
    outside: Upstreams,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

impl Asker {
    /// One that goes out by `outside` and signs by `clock`.
    #[must_use]
    pub fn new(outside: Upstreams, clock: Arc<dyn Clock>) -> Self {
        Self { outside, clock }
    }

    /// The provider with the endpoints that discovery names, where it is known by its issuer.
    ///
    /// # Errors
    /// [`Unasked`].
    pub async fn discovered(&self, provider: OauthProvider) -> Result<OauthProvider, Unasked> {
        if provider.flow != Flow::Oidc {
            return Ok(provider);
        }
        let issuer = provider.settings.issuer.as_deref();
        let found = self
            .outside
            .discover(issuer.ok_or(NotReady::Missing("issuer"))?)
            .await?;
        Ok(OauthProvider {
            settings: provider.settings.discovered(found),
            ..provider
        })
    }

    /// Asks a provider for a token.
    ///
    /// # Errors
    /// [`Unasked`].
    pub async fn token(&self, provider: &OauthProvider, grant: &Grant<'_>) -> Result<TokenAnswer, Unasked> {
        let assertion = self.assertion(provider)?;
        let request = provider
            .settings
            .token_request(grant, &provider.secrets, assertion)?;
        Ok(self.outside.token(&request).await?)
    }

    /// Gives a token back, where the provider takes it (RFC 7009).
    ///
    /// # Errors
    /// [`Unasked`].
    pub async fn revoke(&self, provider: &OauthProvider, token: &str, hint: &str) -> Result<(), Unasked> {
        let assertion = self.assertion(provider)?;
        let request = provider
            .settings
            .revocation_request(token, hint, &provider.secrets, assertion)?;
        match request {
            Some(request) => Ok(self.outside.revoke(&request).await?),
            None => Ok(()),
        }
    }

    fn assertion(&self, provider: &OauthProvider) -> Result<Option<String>, Unasked> {
        if provider.settings.auth() != ClientAuth::PrivateKeyJwt {
            return Ok(None);
        }
        let key = provider.secrets.private_key.as_deref();
        let key = key.ok_or(NotReady::Missing("private_key"))?;
        let (id, audience) = (
            provider.settings.client_id()?,
            provider.settings.token_endpoint()?,
        );
        outgoing_assertion(key, id, audience.as_str(), self.clock.now().timestamp())
            .map(Some)
            .map_err(|_| Unasked::PrivateKey)
    }
}
