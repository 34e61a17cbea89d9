//! Where a resource's calls go: for our gateways only, never for an application.

use crate::credential::Credential;
use crate::view::ZoneView;
use caracal_domain::id::ResourceId;
use caracal_domain::zone::{AuthMode, Operation, Resource};
use caracal_domain::{Epoch, Refusal, ResourceIdentifier};
use serde::Serialize;

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
    pub url: url::Url,
    /// How to authenticate to it.
    pub auth_mode: AuthMode,
    /// With what, in the answer to an exchange; `null` in modes without one.
    pub credential: Option<Credential>,
    /// When not empty, the only calls that pass.
    pub operations: Vec<Operation>,
    /// Request headers that pass beyond the gateway's own list.
    pub forward_headers: Vec<String>,
    /// The epoch this shows.
    pub epoch: Epoch,
}

impl Directive {
    /// The directive for `resource`, asked for as `identifier`, without a credential.
    ///
    /// # Errors
    /// [`Refusal::UpstreamNotAllowed`] for a resource without upstream.
    pub fn of(
        view: &ZoneView,
        identifier: &ResourceIdentifier,
        resource: &Resource,
    ) -> Result<Self, Refusal> {
        let url = resource.upstream_url.clone().ok_or(Refusal::UpstreamNotAllowed)?;
        Ok(Self {
            resource_id: resource.id,
            identifier: identifier.clone(),
            prefix: resource.prefix,
            url,
            auth_mode: resource.auth_mode,
            credential: None,
            operations: resource.operations.clone(),
            forward_headers: resource.forward_headers.clone(),
            epoch: view.epoch,
        })
    }
}
