//! With what a governed call proves itself upstream: for our gateways only, never for an application, never logged, never
//! in the ledger (contract §2, "Success"; §1, "Providers").
//!
//! A configured key is there at once, an assertion is signed at once. What another server must be asked for is asked for
//! by one flight at a time, kept until shortly before it ends (`place`), and refused with a reason when it cannot be
//! had; a provider in trouble is left alone for a few seconds.

mod asked;
mod client;
mod connection;
mod fixed;
mod place;
mod workload;

use crate::app::Sts;
use crate::error::Failure;
use crate::view::ZoneView;
use asked::Wish;
use caracal_domain::id::{ApplicationId, ProviderId, ResourceId, ZoneId};
use caracal_domain::upstream_oauth::Flow;
use caracal_domain::zone::{AuthMode, Resource};
use caracal_domain::{Refusal, Timestamp};
use caracal_provider::Asker;
use chrono::TimeDelta;
use moka::sync::Cache;
use place::Place;
use serde::{Deserialize, Serialize, Serializer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

const CLIENTS: u64 = 10_000;
const USERS: u64 = 100_000;
/// A place that nobody looks at any more is cleared, and what it held is wiped.
const IDLE: Duration = Duration::from_hours(1);
/// Each renewal of a user's connection holds a connection to the database while the provider is asked.
const RENEWALS_AT_ONCE: usize = 8;
/// So that no zone's slow provider keeps the others from renewing.
const RENEWALS_OF_A_ZONE: usize = 2;
const ZONES: u64 = 10_000;

/// A provider's credential, ready to be put in place. Wiped when dropped; has no `Debug`.
#[derive(Clone, Serialize)]
pub struct Credential {
    location: Location,
    name: String,
    #[serde(serialize_with = "exposed")]
    value: Zeroizing<String>,
    /// Which one of several it is, so that a gateway can say that the upstream refused this one; `null` when there are no
    /// others.
    id: Option<String>,
    /// Until when it may be used; `null` for as long as the configuration stands.
    use_until: Option<Timestamp>,
}

/// The one place a provider's credential leaves the process: in the answer to a gateway.
fn exposed<S: Serializer>(value: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

/// Where a credential goes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Location {
    #[default]
    Header,
    Query,
}

impl Credential {
    /// A bearer token that must not be used past `use_until`.
    fn bearer(token: &str, id: Option<String>, use_until: Option<Timestamp>) -> Self {
        Self {
            location: Location::Header,
            name: "Authorization".to_owned(),
            value: Zeroizing::new(format!("Bearer {token}")),
            id,
            use_until,
        }
    }
}

/// For whose call a credential is.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// The application.
    pub application: ApplicationId,
    /// The user it acts for, if it acts for one.
    pub user: Option<&'a str>,
    /// The id of the credential that the upstream has just refused.
    pub rejected: Option<&'a str>,
    /// The one clock of this decision.
    pub now: Timestamp,
}

/// What has been had of providers.
pub struct Credentials {
    asker: Asker,
    clients: Cache<(ZoneId, ProviderId), Arc<Place>>,
    users: Cache<(ZoneId, ResourceId, ProviderId, String), Arc<Place>>,
    renewals: Arc<Semaphore>,
    renewals_of: Cache<ZoneId, Arc<Semaphore>>,
}

impl Credentials {
    /// Holds nothing yet.
    #[must_use]
    pub fn new(asker: Asker) -> Self {
        Self {
            asker,
            clients: Cache::builder().max_capacity(CLIENTS).time_to_idle(IDLE).build(),
            users: Cache::builder().max_capacity(USERS).time_to_idle(IDLE).build(),
            renewals: Arc::new(Semaphore::new(RENEWALS_AT_ONCE)),
            renewals_of: Cache::builder().max_capacity(ZONES).time_to_idle(IDLE).build(),
        }
    }

    /// Whose turns a renewal in `zone` takes, in this order.
    fn turns(&self, zone: ZoneId) -> [Arc<Semaphore>; 2] {
        let of_zone = || Arc::new(Semaphore::new(RENEWALS_OF_A_ZONE));
        [
            self.renewals_of.get_with(zone, of_zone),
            Arc::clone(&self.renewals),
        ]
    }
}

impl Sts {
    /// The credential for calls of `resource`; `None` in modes without one.
    ///
    /// # Errors
    /// Why there is none: [`Refusal::ProviderNotReady`], [`Refusal::ConnectionRequired`], or what the provider said.
    pub async fn credential(
        &self,
        view: &ZoneView,
        resource: &Resource,
        holder: Holder<'_>,
    ) -> Result<Option<Credential>, Failure> {
        match resource.auth_mode {
            AuthMode::CaracalJwt | AuthMode::None => return Ok(None),
            AuthMode::ProviderApikey | AuthMode::ProviderOauth => {}
        }
        let provider = resource
            .provider_id
            .and_then(|id| view.zone.config.providers.get(&id))
            .ok_or(Refusal::ProviderNotReady)?;
        let wish = Wish {
            zone: &view.zone,
            epoch: view.epoch,
            provider,
            holder,
        };
        let credential = match provider.kind.flow(&provider.config) {
            Flow::ApiKey => fixed::api_key(&view.zone, provider)?,
            Flow::BearerToken => fixed::bearer_token(&view.zone, provider)?,
            Flow::Workload => self.assertion_for(&wish, resource)?,
            Flow::ClientCredentials => self.client_token(&wish).await?,
            Flow::AuthorizationCode | Flow::Oidc => self.connection_token(&wish, resource).await?,
        };
        Ok(Some(credential))
    }
}

/// How long before its end a credential that lives `lifetime` is no longer used: a minute, of a short one a fifth.
fn margin(lifetime: TimeDelta) -> TimeDelta {
    (lifetime / 5).clamp(TimeDelta::zero(), TimeDelta::minutes(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_left_a_minute_before_its_end_or_a_fifth_of_its_life() {
        assert_eq!(margin(TimeDelta::hours(1)), TimeDelta::minutes(1));
        assert_eq!(margin(TimeDelta::seconds(30)), TimeDelta::seconds(6));
        assert_eq!(margin(TimeDelta::seconds(-30)), TimeDelta::zero());
    }
}
