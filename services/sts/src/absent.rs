//! What this replica does not hold: zones, and the zones of applications. Whoever names them is nobody we know, so the
//! database is asked about a few at once, and not again at once for a name that nobody has. A name that the database has
//! is never refused for other people's misses (docs/decisions, 0007).

use crate::app::Sts;
use crate::error::Failure;
use crate::view::ZoneView;
use caracal_domain::Refusal;
use caracal_domain::id::{ApplicationId, ZoneId};
use moka::sync::Cache;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Ids are ours to give, so what nobody has is not about to be made.
const REMEMBERED: Duration = Duration::from_secs(5);
const NAMES: u64 = 50_000;
/// Of the connections to the database, how many may be busy with what strangers name.
const LOOKED_FOR_AT_ONCE: usize = 4;
/// How many may wait for that, and for how long.
const WAITING: usize = 2_000;
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Absent {
    zones: Cache<ZoneId, ()>,
    applications: Cache<ApplicationId, ()>,
    waiting: Semaphore,
    looking: Semaphore,
}

impl Default for Absent {
    fn default() -> Self {
        Self {
            zones: names(),
            applications: names(),
            waiting: Semaphore::new(WAITING),
            looking: Semaphore::new(LOOKED_FOR_AT_ONCE),
        }
    }
}

fn names<K: Hash + Eq + Send + Sync + 'static>() -> Cache<K, ()> {
    Cache::builder()
        .max_capacity(NAMES)
        .time_to_live(REMEMBERED)
        .build()
}

impl Absent {
    /// What `look` finds under `name`, when it is its turn.
    async fn unless<K, T>(
        &self,
        names: &Cache<K, ()>,
        name: K,
        look: impl Future<Output = Result<Option<T>, Failure>>,
    ) -> Result<Option<T>, Failure>
    where
        K: Hash + Eq + Send + Sync + 'static,
    {
        if names.contains_key(&name) {
            return Ok(None);
        }
        // What could not be looked for is not known to be absent.
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(Refusal::StaleState.into());
        };
        let Ok(Ok(_turn)) = tokio::time::timeout(PATIENCE, self.looking.acquire()).await else {
            return Err(Refusal::StaleState.into());
        };
        if names.contains_key(&name) {
            return Ok(None);
        }
        let found = look.await?;
        if found.is_none() {
            names.insert(name, ());
        }
        Ok(found)
    }
}

impl Sts {
    /// The zone as somebody names it who has proved nothing yet.
    ///
    /// # Errors
    /// As [`Zones::view`](crate::zones::Zones::view), or 503 when too many zones that are not held are named at once.
    pub(crate) async fn zone_named(&self, zone: ZoneId) -> Result<Option<Arc<ZoneView>>, Failure> {
        let view = self.zones.view(zone, None);
        if self.zones.holds(zone) {
            return view.await;
        }
        self.absent.unless(&self.absent.zones, zone, view).await
    }

    /// The zone of an application that names none.
    ///
    /// # Errors
    /// 503 when the database cannot be read, or too many applications that are not known are named at once.
    pub(crate) async fn zone_of(&self, application: ApplicationId) -> Result<Option<ZoneId>, Failure> {
        if let Some(zone) = self.zone_of_application.get(&application) {
            return Ok(Some(zone));
        }
        let asked = self.stored(async {
            let mut conn = self.database.acquire().await?;
            caracal_storage::applications::zone_of(&mut conn, application).await
        });
        let names = &self.absent.applications;
        let zone = self.absent.unless(names, application, asked).await?;
        if let Some(zone) = zone {
            self.zone_of_application.insert(application, zone);
        }
        Ok(zone)
    }
}
