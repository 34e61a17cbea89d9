//! Where each resource's calls go, as the STS says.

use crate::memory::{Age, Dated, Memory};
use crate::sts_client::{Asking, Directive, DirectiveRequest, StsClient, StsError};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::{Epoch, ResourceIdentifier, Timestamp};
use std::sync::Arc;

/// Whose directive for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The zone.
    pub zone: ZoneId,
    /// The application the bearer was issued to.
    pub application: ApplicationId,
    /// The resource as the call names it.
    pub resource: ResourceIdentifier,
}

impl Dated for Directive {
    fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// See the module.
#[derive(Debug)]
pub struct Directives {
    sts: Arc<StsClient>,
    held: Memory<Wanted, Directive>,
}

impl Directives {
    /// An empty store.
    #[must_use]
    pub fn new(sts: Arc<StsClient>) -> Self {
        Self {
            sts,
            held: Memory::default(),
        }
    }

    /// The directive, held or asked for.
    ///
    /// # Errors
    /// [`StsError`].
    pub async fn get(
        &self,
        wanted: &Wanted,
        age: Age,
        now: Timestamp,
        asking: Asking<'_>,
    ) -> Result<Arc<Directive>, StsError> {
        let request = DirectiveRequest {
            zone_id: wanted.zone,
            application_id: wanted.application,
            resource: &wanted.resource,
        };
        let ask = self.sts.directive(&request, asking);
        self.held.get(wanted, age, now, ask).await
    }

    /// Forgets everything, when changes may have been missed.
    pub fn clear(&self) {
        self.held.clear();
    }
}
