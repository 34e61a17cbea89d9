//! With what calls prove themselves upstream: had of the STS for each mandate's holder, and never shown to anybody else.

use crate::memory::{Age, Dated, Memory};
use crate::sts_client::{Asking, Credential, CredentialAnswer, CredentialRequest, StsClient, StsError};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::{Claims, Epoch, ResourceIdentifier, SubjectType, Timestamp};
use moka::sync::Cache;
use std::sync::Arc;
use std::time::Duration;

/// How long we remember, to say so when we ask again, that an upstream refused a credential.
const REMEMBERED: Duration = Duration::from_mins(1);
const REMEMBERED_AT_MOST: u64 = 10_000;

/// Whose credential for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The zone.
    pub zone: ZoneId,
    /// The application the bearer was issued to.
    pub application: ApplicationId,
    /// The user it acts for, if it acts for one.
    pub user: Option<String>,
    /// The resource as the call names it.
    pub resource: ResourceIdentifier,
}

impl Wanted {
    /// What the holder of a token needs for a resource.
    #[must_use]
    pub fn by(claims: &Claims, resource: &ResourceIdentifier) -> Self {
        let is_user = claims.sub_type == SubjectType::User;
        Self {
            zone: claims.zone_id,
            application: claims.client_id,
            user: is_user.then(|| claims.sub.clone()),
            resource: resource.clone(),
        }
    }
}

impl Dated for CredentialAnswer {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn use_until(&self) -> Option<Timestamp> {
        self.credential.as_ref()?.use_until
    }
}

/// See the module.
#[derive(Debug)]
pub struct Credentials {
    sts: Arc<StsClient>,
    held: Memory<Wanted, CredentialAnswer>,
    rejected: Cache<Wanted, String>,
}

impl Credentials {
    /// An empty store.
    #[must_use]
    pub fn new(sts: Arc<StsClient>) -> Self {
        Self {
            sts,
            held: Memory::default(),
            rejected: Cache::builder()
                .max_capacity(REMEMBERED_AT_MOST)
                .time_to_live(REMEMBERED)
                .build(),
        }
    }

    /// The credential, held or asked for.
    ///
    /// # Errors
    /// [`StsError`].
    pub async fn get(
        &self,
        wanted: &Wanted,
        age: Age,
        now: Timestamp,
        asking: Asking<'_>,
    ) -> Result<Arc<CredentialAnswer>, StsError> {
        let rejected = self.rejected(wanted);
        let request = CredentialRequest {
            zone_id: wanted.zone,
            application_id: wanted.application,
            user_id: wanted.user.as_deref(),
            resource: &wanted.resource,
            rejected: rejected.as_deref(),
        };
        let ask = self.sts.credential(&request, asking);
        self.held.get(wanted, age, now, ask).await
    }

    /// The upstream has refused this one: the next call asks again, and says so. One that is configured stays what it is.
    pub async fn reject(&self, wanted: &Wanted, credential: &Credential) {
        if let Some(id) = &credential.id {
            self.rejected.insert(wanted.clone(), id.clone());
            self.held.forget(wanted).await;
        }
    }

    /// The id of the credential that the upstream refused last.
    #[must_use]
    pub fn rejected(&self, wanted: &Wanted) -> Option<String> {
        self.rejected.get(wanted)
    }

    /// Forgets everything, when changes may have been missed.
    pub fn clear(&self) {
        self.held.clear();
    }
}
