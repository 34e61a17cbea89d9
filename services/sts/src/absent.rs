//! What is not there: zones and applications that nobody has. Whoever asks for them is nobody we know, so the database is
//! asked at the rate of misses only, and not again at once for the same name.

use crate::app::Sts;
use crate::error::Failure;
use crate::view::ZoneView;
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::{Epoch, Refusal};
use moka::sync::Cache;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Ids are ours to give, so what nobody has is not about to be made.
const REMEMBERED: Duration = Duration::from_secs(5);
const NAMES: u64 = 50_000;

/// See the module.
#[derive(Debug)]
pub struct Absent {
    zones: Cache<ZoneId, ()>,
    applications: Cache<ApplicationId, ()>,
}

impl Default for Absent {
    fn default() -> Self {
        Self {
            zones: names(),
            applications: names(),
        }
    }
}

fn names<K: Hash + Eq + Send + Sync + 'static>() -> Cache<K, ()> {
    Cache::builder()
        .max_capacity(NAMES)
        .time_to_live(REMEMBERED)
        .build()
}

impl Sts {
    /// The zone as somebody at `source` names it, who has proved nothing yet.
    ///
    /// # Errors
    /// As [`Zones::view`](crate::zones::Zones::view), or 429 after too many misses.
    pub(crate) async fn zone_named(
        &self,
        zone: ZoneId,
        at_least: Option<Epoch>,
        source: IpAddr,
    ) -> Result<Option<Arc<ZoneView>>, Failure> {
        if self.zones.holds(zone) {
            return self.zones.view(zone, at_least).await;
        }
        self.unless_absent(&self.absent.zones, zone, source, self.zones.view(zone, at_least))
            .await
    }

    /// The zone of an application that names none.
    ///
    /// # Errors
    /// When the database cannot be read, or 429 after too many misses.
    pub(crate) async fn zone_of(
        &self,
        application: ApplicationId,
        source: IpAddr,
    ) -> Result<Option<ZoneId>, Failure> {
        if let Some(zone) = self.zone_of_application.get(&application) {
            return Ok(Some(zone));
        }
        let asked = self.stored(async {
            let mut conn = self.database.acquire().await?;
            caracal_storage::applications::zone_of(&mut conn, application).await
        });
        let zone = self
            .unless_absent(&self.absent.applications, application, source, asked)
            .await?;
        if let Some(zone) = zone {
            self.zone_of_application.insert(application, zone);
        }
        Ok(zone)
    }

    async fn unless_absent<K, T>(
        &self,
        absent: &Cache<K, ()>,
        name: K,
        source: IpAddr,
        look: impl Future<Output = Result<Option<T>, Failure>>,
    ) -> Result<Option<T>, Failure>
    where
        K: Hash + Eq + Send + Sync + 'static,
    {
        if absent.contains_key(&name) {
            return Ok(None);
        }
        if let Some(wait) = self.quotas.rests(source, self.clock.now()) {
            return Err(Failure::Wait(Refusal::ClientThrottled, wait));
        }
        let found = look.await?;
        if found.is_none() {
            absent.insert(name, ());
            self.quotas.missed(source, self.clock.now());
        }
        Ok(found)
    }
}
