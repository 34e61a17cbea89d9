//! Where a resource's calls go and with which credential: for our gateways only, never for an application.

use crate::app::Sts;
use crate::error::{Failure, Fault};
use crate::view::{Zone, ZoneView};
use caracal_domain::id::ResourceId;
use caracal_domain::zone::{AuthMode, Operation, Provider, ProviderKind, Resource};
use caracal_domain::{Epoch, Refusal, ResourceIdentifier};
use caracal_jose::Purpose;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// What a gateway needs to forward calls of one resource.
#[derive(Serialize)]
pub struct Directive {
    /// The resource.
    pub resource_id: ResourceId,
    /// The identifier asked for.
    pub identifier: ResourceIdentifier,
    /// Whether the resource covers what lies below its identifier.
    pub prefix: bool,
    /// The base of the upstream.
    pub upstream_url: url::Url,
    /// How to authenticate to it.
    pub auth_mode: AuthMode,
    /// With what; `null` in modes without one.
    pub credential: Option<Credential>,
    /// When not empty, the only calls that pass.
    pub operations: Vec<Operation>,
    /// Request headers that pass beyond the gateway's own list.
    pub forward_headers: Vec<String>,
    /// The epoch this shows.
    pub epoch: Epoch,
}

/// A provider's credential, ready to be put in place. Wiped when dropped; has no `Debug`.
#[derive(Serialize)]
pub struct Credential {
    location: Location,
    name: String,
    #[serde(serialize_with = "exposed")]
    value: Zeroizing<String>,
}

/// The one place a provider's credential leaves the process: in the answer to a gateway.
fn exposed<S: Serializer>(value: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Location {
    #[default]
    Header,
    Query,
}

/// The configuration of an API-key provider (contract §1, "Providers").
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

impl Sts {
    /// The directive for `resource`, asked for as `identifier`.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNotAllowed`] for a resource without upstream, [`Refusal::ProviderNotReady`] when its
    /// credential is not there, or the fault of opening it.
    pub fn directive(
        &self,
        view: &ZoneView,
        identifier: &ResourceIdentifier,
        resource: &Resource,
    ) -> Result<Directive, Failure> {
        let upstream_url = resource.upstream_url.clone().ok_or(Refusal::UpstreamNotAllowed)?;
        let credential = match resource.auth_mode {
            AuthMode::CaracalJwt | AuthMode::None => None,
            AuthMode::ProviderApikey | AuthMode::ProviderOauth => Some(credential(&view.zone, resource)?),
        };
        Ok(Directive {
            resource_id: resource.id,
            identifier: identifier.clone(),
            prefix: resource.prefix,
            upstream_url,
            auth_mode: resource.auth_mode,
            credential,
            operations: resource.operations.clone(),
            forward_headers: resource.forward_headers.clone(),
            epoch: view.epoch,
        })
    }
}

fn credential(zone: &Zone, resource: &Resource) -> Result<Credential, Failure> {
    let provider = resource.provider_id.and_then(|id| zone.config.providers.get(&id));
    let provider = provider.ok_or(Refusal::ProviderNotReady)?;
    let secrets = open(zone, provider)?;
    match provider.kind {
        ProviderKind::Apikey | ProviderKind::ApiKey => api_key(provider, secrets),
        ProviderKind::BearerToken => {
            let token = Zeroizing::new(secrets.bearer_token.ok_or(Refusal::ProviderNotReady)?);
            let value = Zeroizing::new(format!("Bearer {}", token.as_str()));
            Ok(Credential {
                location: Location::Header,
                name: "Authorization".to_owned(),
                value,
            })
        }
        ProviderKind::Oauth2
        | ProviderKind::Oidc
        | ProviderKind::Workload
        | ProviderKind::Oauth2AuthorizationCode
        | ProviderKind::Oauth2ClientCredentials => Err(Refusal::ProviderNotReady.into()),
    }
}

fn api_key(provider: &Provider, secrets: Secrets) -> Result<Credential, Failure> {
    let config = ApiKeyConfig::deserialize(&provider.config).map_err(|_| Refusal::ProviderNotReady)?;
    let key = Zeroizing::new(secrets.api_key.ok_or(Refusal::ProviderNotReady)?);
    let value = match config.scheme {
        Some(scheme) => Zeroizing::new(format!("{scheme} {}", key.as_str())),
        None => key,
    };
    Ok(Credential {
        location: config.location,
        name: config.name,
        value,
    })
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
