//! Credentials that are configured: API keys and bearer tokens.

use super::{Credential, Location};
use crate::error::{Failure, Fault};
use crate::view::Zone;
use caracal_domain::Refusal;
use caracal_domain::zone::Provider;
use caracal_jose::Purpose;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

/// The configuration of an API-key provider.
#[derive(Deserialize)]
struct ApiKeyConfig {
    #[serde(default)]
    location: Location,
    #[serde(default = "default_name")]
    name: String,
    scheme: Option<String>,
}

fn default_name() -> String {
    "X-API-Key".to_owned()
}

#[derive(Deserialize)]
struct Secrets {
    api_key: Option<String>,
    bearer_token: Option<String>,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.api_key.zeroize();
        self.bearer_token.zeroize();
    }
}

/// The key, where its configuration wants it.
pub(super) fn api_key(zone: &Zone, provider: &Provider) -> Result<Credential, Failure> {
    let config = ApiKeyConfig::deserialize(&provider.config).map_err(|_| Refusal::ProviderNotReady)?;
    let secrets = open(zone, provider)?;
    let key = secrets.api_key.as_deref().ok_or(Refusal::ProviderNotReady)?;
    let value = match config.scheme {
        Some(scheme) => format!("{scheme} {key}"),
        None => key.to_owned(),
    };
    Ok(Credential {
        location: config.location,
        name: config.name,
        value: Zeroizing::new(value),
        id: None,
        use_until: None,
    })
}

/// The token.
pub(super) fn bearer_token(zone: &Zone, provider: &Provider) -> Result<Credential, Failure> {
    let secrets = open(zone, provider)?;
    let token = secrets.bearer_token.as_deref();
    let token = token.ok_or(Refusal::ProviderNotReady)?;
    Ok(Credential::bearer(token, None, None))
}

fn open(zone: &Zone, provider: &Provider) -> Result<Secrets, Failure> {
    let sealed = provider
        .sealed_secrets
        .as_ref()
        .ok_or(Refusal::ProviderNotReady)?;
    let json = zone.dek.open(
        zone.config.id,
        Purpose::ProviderSecret,
        provider.id.into(),
        sealed,
    )?;
    Ok(serde_json::from_slice(&json).map_err(Fault::ProviderSecrets)?)
}
