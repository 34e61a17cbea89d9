//! Providers that speak OAuth: opened, found by discovery, and asked for tokens.

use crate::app::Api;
use crate::error::Failure;
use crate::provider::open_secrets;
use caracal_domain::upstream_oauth::{
    ClientAuth, Flow, Grant, NotReady, OauthSecrets, OauthSettings, TokenAnswer, TokenRequest,
};
use caracal_egress::TokenError;
use caracal_jose::outgoing_assertion;
use caracal_storage::Conn;
use caracal_storage::providers::ProviderRow;
use serde::Deserialize;
use serde_json::Value;

/// A provider, opened. Holds secrets, so it has no `Debug`.
pub(crate) struct OauthProvider {
    pub(crate) flow: Flow,
    pub(crate) settings: OauthSettings,
    pub(crate) secrets: OauthSecrets,
}

/// Why a provider gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unasked {
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

impl Api {
    /// Opens a provider.
    pub(crate) async fn oauth_provider(
        &self,
        conn: &mut Conn,
        row: &ProviderRow,
    ) -> Result<OauthProvider, Failure> {
        let dek = self.dek(conn, row.zone_id).await?;
        let secrets = Value::Object(open_secrets(&dek, row)?);
        Ok(OauthProvider {
            flow: row.kind.flow(&row.config_json),
            settings: OauthSettings::read(&row.config_json)
                .map_err(|_| Failure::Fault("reading a provider's configuration"))?,
            secrets: OauthSecrets::deserialize(secrets)
                .map_err(|_| Failure::Fault("reading a provider's secrets"))?,
        })
    }

    /// The same with the endpoints that discovery names, where it is known by its issuer.
    pub(crate) async fn discovered(&self, provider: OauthProvider) -> Result<OauthProvider, Unasked> {
        if provider.flow != Flow::Oidc {
            return Ok(provider);
        }
        let issuer = provider
            .settings
            .issuer
            .clone()
            .ok_or(NotReady::Missing("issuer"))?;
        let found = self.outside.discover(&issuer).await?;
        Ok(OauthProvider {
            settings: provider.settings.discovered(found),
            ..provider
        })
    }

    /// Asks a provider for a token.
    pub(crate) async fn ask_token(
        &self,
        provider: &OauthProvider,
        grant: &Grant<'_>,
    ) -> Result<TokenAnswer, Unasked> {
        let assertion = self.assertion(provider)?;
        let request = provider
            .settings
            .token_request(grant, &provider.secrets, assertion)?;
        Ok(self.outside.token(&request).await?)
    }

    /// The request that gives a token back, where the provider takes it.
    pub(crate) fn revocation(
        &self,
        provider: &OauthProvider,
        token: &str,
        hint: &str,
    ) -> Result<Option<TokenRequest>, Unasked> {
        let assertion = self.assertion(provider)?;
        Ok(provider
            .settings
            .revocation_request(token, hint, &provider.secrets, assertion)?)
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
