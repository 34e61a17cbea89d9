//! Every zone this replica knows, kept current by the feed (architecture, "Freshness").
//!
//! While the feed is fresh a view is used as it is. While it is behind, each decision compares the view's epoch with
//! the database's first. A change is applied beside the traffic; the old view serves until the new one is ready, but
//! never past the bound.

use crate::error::Failure;
use crate::view::ZoneView;
use arc_swap::ArcSwapOption;
use caracal_bus::FeedHandle;
use caracal_domain::id::{InstanceId, ZoneId};
use caracal_domain::zone::Manifest;
use caracal_domain::{Clock, Epoch, FeedBody, FeedEvent, Refusal, Staleness};
use caracal_jose::Kek;
use caracal_lifecycle::Tasks;
use caracal_policy::Engine;
use caracal_storage::Database;
use caracal_storage::activation_loads::Load;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

mod presence;

/// How long a decision waits for the database: a stopped PostgreSQL must not hold callers.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub struct Zones {
    database: Database,
    kek: Kek,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    instance: InstanceId,
    bound: Duration,
    feed: OnceLock<FeedHandle>,
    known: moka::sync::Cache<ZoneId, Arc<Slot>>,
}

/// How stale and how many.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The bound on staleness, `FEED_MAX_LAG_MS`.
    pub max_lag: Duration,
    /// How many zones are kept.
    pub zones: u64,
}

/// One zone's place: its view, whether a newer one is on its way, and the lock that makes loading single-flight.
#[derive(Default)]
struct Slot {
    view: ArcSwapOption<ZoneView>,
    overdue: Mutex<Option<Overdue>>,
    loading: tokio::sync::Mutex<()>,
}

/// A change that was announced and is not in the view yet.
#[derive(Clone, Copy)]
struct Overdue {
    epoch: Epoch,
    since: Instant,
}

impl Slot {
    /// The view, unless a change it lacks is older than the bound.
    fn current(&self, bound: Duration) -> Option<Arc<ZoneView>> {
        let late = self
            .overdue
            .lock()
            .is_some_and(|overdue| overdue.since.elapsed() > bound);
        if late { None } else { self.view.load_full() }
    }

    /// Puts a view in place unless a newer one is there, and settles what it covers.
    fn install(&self, view: Arc<ZoneView>) -> Arc<ZoneView> {
        let mut overdue = self.overdue.lock();
        let newer = self.view.load_full().filter(|held| held.epoch > view.epoch);
        let installed = newer.unwrap_or(view);
        self.view.store(Some(Arc::clone(&installed)));
        if overdue.is_some_and(|change| change.epoch <= installed.epoch) {
            *overdue = None;
        }
        installed
    }
}

impl Zones {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(
        database: Database,
        kek: Kek,
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        limits: Limits,
    ) -> Self {
        let known = moka::sync::Cache::builder().max_capacity(limits.zones).build();
        let instance = InstanceId::mint(&*clock);
        Self {
            database,
            kek,
            engine,
            clock,
            tasks,
            instance,
            bound: limits.max_lag,
            feed: OnceLock::new(),
            known,
        }
    }

    /// Says where freshness is to be read; until then every decision reads through.
    pub fn follow(&self, feed: FeedHandle) {
        // A second call would be a second feed for the same replica; the first one holds.
        let _ = self.feed.set(feed);
    }

    /// The zone, current within the bound and at `at_least` or later; `None` when there is no such live zone.
    ///
    /// # Errors
    /// [`Refusal::StaleState`] when that cannot be confirmed, [`Refusal::EpochAhead`] when `at_least` does not exist
    /// yet, or the fault of reading it.
    pub async fn view(
        &self,
        zone: ZoneId,
        at_least: Option<Epoch>,
    ) -> Result<Option<Arc<ZoneView>>, Failure> {
        let slot = self.slot(zone);
        if self.is_fresh()
            && let Some(view) = slot.current(self.bound)
            && at_least.is_none_or(|epoch| view.epoch >= epoch)
        {
            return Ok(Some(view));
        }
        let view = self.read_through(zone, &slot).await?;
        match (&view, at_least) {
            (Some(view), Some(epoch)) if view.epoch < epoch => Err(Refusal::EpochAhead.into()),
            _ => Ok(view),
        }
    }

    /// Whether a view of the zone is in memory, however old.
    #[must_use]
    pub fn holds(&self, zone: ZoneId) -> bool {
        self.known
            .get(&zone)
            .is_some_and(|slot| slot.view.load().is_some())
    }

    /// The zone as the database has it now: what a "there is no such thing" is confirmed with, so that what was just
    /// created can be used at once. Without a database the view within the bound must do.
    pub async fn confirmed(&self, view: Arc<ZoneView>) -> Arc<ZoneView> {
        let zone = view.zone.config.id;
        match self.read_through(zone, &self.slot(zone)).await {
            Ok(Some(current)) => current,
            Ok(None) | Err(_) => view,
        }
    }

    /// Whether the feed is within the bound.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.feed
            .get()
            .is_some_and(|feed| feed.staleness() == Staleness::Fresh)
    }

    /// How far a view may lag; `None` when that cannot be known.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        self.feed.get().and_then(FeedHandle::lag)
    }

    /// Compares every view with the database and reloads what differs: the slow poll, and the repair after a gap.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn reconcile(&self) -> Result<(), Failure> {
        let held: Vec<(ZoneId, Arc<Slot>)> = self.known.iter().map(|(id, slot)| (*id, slot)).collect();
        if held.is_empty() {
            return Ok(());
        }
        let ids: Vec<ZoneId> = held.iter().map(|(id, _)| *id).collect();
        let epochs = in_time(async {
            let mut conn = self.database.acquire().await?;
            caracal_storage::zones::epochs(&mut conn, &ids).await
        })
        .await?;
        for (id, slot) in held {
            let stored = epochs.get(&id).copied();
            if slot.view.load().as_ref().map(|view| view.epoch) != stored {
                self.load(id, &slot, stored.unwrap_or_default()).await?;
            }
        }
        Ok(())
    }

    /// Applies one feed event: anchors at once, configuration beside the traffic.
    pub fn apply(self: &Arc<Self>, event: &FeedEvent) {
        if let FeedBody::PolicyCompiled { modules } = &event.body {
            self.warm(modules.clone());
            return;
        }
        let Some(slot) = self.known.get(&event.zone_id) else {
            // Activated to be used: the zone's first mint here then finds it warm, and the activation is reported.
            if matches!(
                event.body,
                FeedBody::PolicyActivated {
                    policy_set_version_id: Some(_)
                }
            ) {
                self.announce(event.zone_id, &self.slot(event.zone_id), event.epoch);
            }
            return;
        };
        let Some(view) = slot.view.load_full() else {
            // Its first load is under way and may have read the database before this change.
            self.announce(event.zone_id, &slot, event.epoch);
            return;
        };
        if event.epoch <= view.epoch {
            return;
        }
        let follows = view.epoch == event.previous_epoch && !event.body.changes_configuration();
        if follows || !event.body.anchors().is_empty() {
            let complete = follows.then_some(event.epoch);
            let mut newer = view.with_anchors(event.body.anchors(), complete, &*self.clock);
            if matches!(
                event.body,
                FeedBody::AgentsEnded { .. } | FeedBody::DelegationsRevoked { .. }
            ) {
                newer = newer.with_graph_changed(event.epoch);
            }
            slot.install(Arc::new(newer));
        }
        if !follows {
            self.announce(event.zone_id, &slot, event.epoch);
        }
    }

    fn announce(self: &Arc<Self>, zone: ZoneId, slot: &Arc<Slot>, epoch: Epoch) {
        {
            let mut overdue = slot.overdue.lock();
            let since = overdue.map_or_else(|| self.announced_at(), |earlier| earlier.since);
            *overdue = Some(Overdue { epoch, since });
        }
        let (zones, slot) = (Arc::clone(self), Arc::clone(slot));
        self.tasks.spawn("zone-reload", async move {
            if let Err(failure) = zones.load(zone, &slot, epoch).await {
                tracing::warn!(%zone, reason = failure.reason(), "a zone could not be reloaded; it reads through");
            }
        });
    }

    /// The change was committed after the last heartbeat applied, so it is at most that old.
    fn announced_at(&self) -> Instant {
        let lag = self.lag().unwrap_or(self.bound);
        let now = Instant::now();
        now.checked_sub(lag).unwrap_or(now)
    }

    fn slot(&self, zone: ZoneId) -> Arc<Slot> {
        self.known.get_with(zone, Arc::default)
    }

    async fn read_through(&self, zone: ZoneId, slot: &Slot) -> Result<Option<Arc<ZoneView>>, Failure> {
        let stored = in_time(async {
            let mut conn = self.database.acquire_in(zone).await?;
            caracal_storage::zones::epoch(&mut conn, zone).await
        })
        .await?;
        let Some(epoch) = stored else {
            self.known.invalidate(&zone);
            return Ok(None);
        };
        self.load(zone, slot, epoch).await
    }

    /// Loads the zone unless the view already shows `epoch`. Single flight: whoever waits finds it done.
    async fn load(&self, zone: ZoneId, slot: &Slot, epoch: Epoch) -> Result<Option<Arc<ZoneView>>, Failure> {
        let _alone = slot.loading.lock().await;
        if let Some(view) = slot
            .view
            .load_full()
            .filter(|view| view.epoch >= epoch && epoch > Epoch::default())
        {
            return Ok(Some(view));
        }
        let snapshot = in_time(async {
            let mut conn = self.database.acquire().await?;
            caracal_storage::snapshot::load(&mut conn, zone).await
        })
        .await?;
        let Some(snapshot) = snapshot else {
            self.known.invalidate(&zone);
            return Ok(None);
        };
        for manifest in snapshot.active.iter().chain(&snapshot.shadow) {
            self.load_modules(manifest).await?;
        }
        let view = slot.install(Arc::new(ZoneView::open(snapshot, &self.kek)?));
        self.report(&view);
        Ok(Some(view))
    }

    /// A module that cannot be loaded is left out: the engine answers `policy_error` for it, so the zone refuses.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load_modules(&self, manifest: &Manifest) -> Result<(), Failure> {
        for entry in &manifest.policies {
            self.load_module(&entry.module).await?;
        }
        Ok(())
    }

    async fn load_module(&self, name: &str) -> Result<(), Failure> {
        if self.engine.is_loaded(name) {
            return Ok(());
        }
        let stored = in_time(async {
            let mut conn = self.database.acquire().await?;
            caracal_storage::modules::get(&mut conn, name).await
        })
        .await?;
        let Some(module) = stored else {
            tracing::error!(module = name, "a policy module is missing from the database");
            return Ok(());
        };
        if let Err(fault) = self.engine.load(name, module.wasm, &module.wasm_sha256).await {
            tracing::error!(module = name, %fault, "a policy module could not be loaded");
        }
        Ok(())
    }

    /// Tells the control plane what this replica decides by from now on: the answer to "has my activation arrived?".
    fn report(&self, view: &ZoneView) {
        let Some(active) = view.zone.config.active.as_ref() else {
            return;
        };
        let missing = active
            .policies
            .iter()
            .find(|entry| !self.engine.is_loaded(&entry.module));
        let load = Load {
            zone_id: view.zone.config.id,
            instance: self.instance.to_string(),
            version_id: active.version_id,
            epoch: view.epoch,
            failure: missing
                .map(|entry| format!("the policy version {} cannot be loaded", entry.policy_version_id)),
        };
        let database = self.database.clone();
        self.tasks.spawn("activation-report", async move {
            let recorded = in_time(async {
                let mut conn = database.acquire().await?;
                caracal_storage::activation_loads::record(&mut conn, &load).await
            });
            if let Err(failure) = recorded.await {
                tracing::debug!(reason = failure.reason(), "an activation was not reported");
            }
        });
    }

    fn warm(self: &Arc<Self>, modules: Vec<String>) {
        let zones = Arc::clone(self);
        self.tasks.spawn("policy-warm", async move {
            for module in modules {
                if let Err(failure) = zones.load_module(&module).await {
                    tracing::warn!(
                        module,
                        reason = failure.reason(),
                        "a policy module could not be warmed"
                    );
                }
            }
        });
    }
}

/// Reads state for a decision. An outage, or a database that has stopped answering, means that the state cannot be
/// confirmed.
async fn in_time<T>(read: impl Future<Output = Result<T, caracal_storage::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) if !error.is_unavailable() => Err(error.into()),
        Ok(Err(_)) | Err(_) => Err(Refusal::StaleState.into()),
    }
}
