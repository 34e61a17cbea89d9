//! Every zone this replica knows, kept current by the feed (architecture, "Freshness").
//!
//! While the feed is fresh a view is used as it is. While it is behind, each decision compares the view's epoch with
//! the database's first. A change is applied beside the traffic; the old view serves until the new one is ready, but
//! never past the bound.

use crate::error::Failure;
use crate::view::ZoneView;
use caracal_bus::FeedHandle;
use caracal_domain::id::{InstanceId, ZoneId};
use caracal_domain::{Clock, Epoch, FeedBody, FeedEvent, Refusal, Staleness};
use caracal_jose::Kek;
use caracal_lifecycle::Tasks;
use caracal_policy::Engine;
use caracal_storage::Database;
use modules::Lanes;
use slot::Slot;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

mod modules;
mod presence;
mod slot;

/// How long a decision waits for what it lacks, all in all: neither a stopped PostgreSQL nor a slow load may hold
/// callers.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many zones in a row that cannot be read are an outage.
const UNREADABLE_IN_A_ROW: u32 = 3;

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
    lanes: Lanes,
}

/// How stale and how many.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The bound on staleness, `FEED_MAX_LAG_MS`.
    pub max_lag: Duration,
    /// How many zones are kept.
    pub zones: u64,
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
            lanes: Lanes::default(),
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
        self: &Arc<Self>,
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
        self.known.get(&zone).is_some_and(|slot| slot.view().is_some())
    }

    /// The zone as the database has it now: what a "there is no such thing" is confirmed with, so that what was just
    /// created can be used at once (docs/decisions, 0007). One question at a time for a zone: its answer is good for
    /// everybody who came before it was asked. Without a database the view within the bound must do.
    pub async fn confirmed(self: &Arc<Self>, view: &Arc<ZoneView>) -> Arc<ZoneView> {
        let confirmed = self.confirm(view).await;
        confirmed.unwrap_or_else(|| Arc::clone(view))
    }

    /// The same for whom the view within the bound will not do: `None` when the database does not say in time, or what it
    /// says cannot be used yet.
    pub async fn confirm(self: &Arc<Self>, view: &Arc<ZoneView>) -> Option<Arc<ZoneView>> {
        let (zone, came) = (view.zone.config.id, Instant::now());
        let slot = self.slot(zone);
        let confirming = async {
            let mut last = slot.confirming().await;
            if last.is_some_and(|begun| begun >= came)
                && let Some(current) = slot.view()
            {
                return Some(current);
            }
            let begun = Instant::now();
            let current = self.read_through(zone, &slot).await.ok()??;
            *last = Some(begun);
            Some(current)
        };
        tokio::time::timeout(PATIENCE, confirming).await.ok().flatten()
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

    /// Compares every view with the database and reloads what differs: the slow poll, and the repair after a gap. A
    /// zone that cannot be loaded reads through from then on, and keeps no other from its turn.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn reconcile(self: &Arc<Self>) -> Result<(), Failure> {
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
        self.reload_changed(held, &epochs).await
    }

    async fn reload_changed(
        self: &Arc<Self>,
        held: Vec<(ZoneId, Arc<Slot>)>,
        epochs: &HashMap<ZoneId, Epoch>,
    ) -> Result<(), Failure> {
        let mut unreadable = 0;
        for (zone, slot) in held {
            let stored = epochs.get(&zone).copied();
            if slot.is_overflown() || slot.view().map(|view| view.epoch) == stored {
                continue;
            }
            let epoch = stored.unwrap_or_default();
            let Err(failure) = self.load(zone, &slot, epoch).await else {
                unreadable = 0;
                continue;
            };
            tracing::warn!(%zone, reason = failure.reason(), "a zone could not be reloaded; it reads through");
            slot.announce(epoch, self.announced_at());
            unreadable += u32::from(matches!(failure, Failure::Refused(Refusal::StaleState)));
            if unreadable == UNREADABLE_IN_A_ROW {
                return Err(failure);
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
        let Some(view) = slot.view() else {
            // Its first load is under way and may have read the database before this change. One of which nothing is
            // kept is read for each decision anyway.
            if !slot.is_overflown() {
                self.announce(event.zone_id, &slot, event.epoch);
            }
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
            slot.install(Arc::new(newer), None);
        }
        if !follows {
            self.announce(event.zone_id, &slot, event.epoch);
        }
    }

    fn announce(self: &Arc<Self>, zone: ZoneId, slot: &Arc<Slot>, epoch: Epoch) {
        if !slot.announce(epoch, self.announced_at()) {
            return;
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

    /// The zone as the database has it. Whoever waits longer than [`PATIENCE`] is refused, and while a load is stuck
    /// past the bound, at once; the load goes on.
    async fn read_through(
        self: &Arc<Self>,
        zone: ZoneId,
        slot: &Arc<Slot>,
    ) -> Result<Option<Arc<ZoneView>>, Failure> {
        if slot.is_stuck(self.bound) {
            return Err(Refusal::StaleState.into());
        }
        let reading = async {
            let stored = in_time(async {
                let mut conn = self.database.acquire_in(zone).await?;
                caracal_storage::zones::epoch(&mut conn, zone).await
            });
            if let Some(epoch) = stored.await? {
                self.load(zone, slot, epoch).await
            } else {
                self.known.invalidate(&zone);
                Ok(None)
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.unwrap_or(Err(Refusal::StaleState.into()))
    }

    /// Loads the zone unless the view already shows `epoch`, in a task of its own: who gives up waiting does not end it.
    async fn load(
        self: &Arc<Self>,
        zone: ZoneId,
        slot: &Arc<Slot>,
        epoch: Epoch,
    ) -> Result<Option<Arc<ZoneView>>, Failure> {
        let turn = slot.turn().await;
        if let Some(view) = slot.showing(epoch) {
            return Ok(Some(view));
        }
        let (zones, slot) = (Arc::clone(self), Arc::clone(slot));
        let (answer, loaded) = oneshot::channel();
        self.tasks.spawn("zone-load", async move {
            let _turn = turn;
            // Nobody may wait for it any more.
            let _ = answer.send(zones.load_now(zone, &slot).await);
        });
        loaded.await.unwrap_or(Err(Refusal::StaleState.into()))
    }

    async fn load_now(self: &Arc<Self>, zone: ZoneId, slot: &Slot) -> Result<Option<Arc<ZoneView>>, Failure> {
        let read_at = Instant::now();
        let snapshot = in_time(async {
            let mut conn = self.database.acquire().await?;
            caracal_storage::snapshot::load(&mut conn, zone).await
        })
        .await?;
        let Some(snapshot) = snapshot else {
            self.known.invalidate(&zone);
            return Ok(None);
        };
        let view = Arc::new(ZoneView::open(snapshot, &self.kek)?);
        // Meanwhile the view before this one serves, if there is one, but no longer than it may.
        let patience = slot.view().map_or(Duration::ZERO, |_| self.bound * 3 / 4);
        let warm = self.warmed(&view, patience).await?;
        let view = slot.install(view, Some(read_at));
        if warm {
            self.report(&view);
        }
        Ok(Some(view))
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
