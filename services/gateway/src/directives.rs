//! Directives held in memory: for minutes, and only while no later change of the zone's configuration is known.

use crate::sts_client::{Asking, Directive, DirectiveRequest, StsClient, StsError};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::{Epoch, ResourceIdentifier};
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;

const HELD_FOR: Duration = Duration::from_mins(5);
const HELD_AT_MOST: u64 = 10_000;

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

/// How old a directive may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// As of this epoch, or later: the last change of configuration we have heard of.
    SinceEpoch(Epoch),
    /// Asked for now: what we hold may be out of date.
    Now,
}

/// See the module.
#[derive(Debug)]
pub struct Directives {
    sts: Arc<StsClient>,
    held: Cache<Wanted, Arc<Directive>>,
}

impl Directives {
    /// An empty store.
    #[must_use]
    pub fn new(sts: Arc<StsClient>) -> Self {
        Self {
            sts,
            held: Cache::builder()
                .max_capacity(HELD_AT_MOST)
                .time_to_live(HELD_FOR)
                .build(),
        }
    }

    /// The directive, held or asked for; concurrent callers share one question.
    ///
    /// # Errors
    /// [`StsError`].
    pub async fn get(
        &self,
        wanted: Wanted,
        age: Age,
        asking: Asking<'_>,
    ) -> Result<Arc<Directive>, StsError> {
        let Age::SinceEpoch(floor) = age else {
            return self.ask(&wanted, asking).await;
        };
        if let Some(held) = self.held.get(&wanted).await {
            if held.epoch >= floor {
                return Ok(held);
            }
            self.held.invalidate(&wanted).await;
        }
        let shared = self
            .held
            .try_get_with(wanted.clone(), self.ask(&wanted, asking))
            .await;
        let directive = shared.map_err(|error| StsError::clone(&error))?;
        if directive.epoch < floor {
            // The STS has not heard yet what we have; good for this call, within the bound, but not to be kept.
            self.held.invalidate(&wanted).await;
        }
        Ok(directive)
    }

    /// Forgets everything, when changes may have been missed.
    pub fn clear(&self) {
        self.held.invalidate_all();
    }

    async fn ask(&self, wanted: &Wanted, asking: Asking<'_>) -> Result<Arc<Directive>, StsError> {
        let request = DirectiveRequest {
            zone_id: wanted.zone,
            application_id: wanted.application,
            resource: &wanted.resource,
        };
        self.sts.directive(&request, asking).await.map(Arc::new)
    }
}
