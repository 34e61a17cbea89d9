//! The policy modules a zone decides by: loaded beside the traffic, loaded again when they were evicted, and reported to
//! the control plane.

use super::{PATIENCE, Zones, in_time};
use crate::error::Failure;
use crate::view::ZoneView;
use caracal_domain::Refusal;
use caracal_domain::zone::Manifest;
use caracal_storage::activation_loads::Load;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

/// Where whoever wants a module loaded waits for a turn.
type Lane = Arc<Mutex<()>>;

/// What somebody waits for is not behind what may be needed some day: a zone that warms large policies holds up nobody's
/// activation.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    needed: Lane,
    ahead: Lane,
    /// The modules that are being loaded now, one a lane: who has the turn in one waits for what the other is at.
    under_way: parking_lot::Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl Lanes {
    /// Waits until nobody else loads the module.
    async fn alone(&self, name: &str) -> OwnedMutexGuard<()> {
        let module = Arc::clone(self.under_way.lock().entry(name.to_owned()).or_default());
        module.lock_owned().await
    }

    fn done(&self, name: &str) {
        self.under_way.lock().remove(name);
    }
}

impl Zones {
    /// Has a manifest's modules at hand; warm, this is one look into a map for each. One that cannot be loaded is left
    /// out: the engine answers `policy_error` for it, so the zone refuses.
    ///
    /// # Errors
    /// When the database cannot be read, and [`Refusal::StaleState`] when loading takes too long for a caller to wait;
    /// it goes on beside the traffic.
    pub async fn load_modules(self: &Arc<Self>, manifest: &Manifest) -> Result<(), Failure> {
        if self.has_modules(manifest) {
            return Ok(());
        }
        let loaded = tokio::time::timeout(PATIENCE, self.load_missing(manifest)).await;
        loaded.unwrap_or(Err(Refusal::StaleState.into()))
    }

    /// Has the modules of a new view at hand, as far as that goes in so long; whether they are. What is lacking then goes on
    /// loading, and is reported once it is there. Whoever needs no policy is not kept waiting for it; everybody else waits, or
    /// is refused, at [`Zones::load_modules`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn warmed(
        self: &Arc<Self>,
        view: &Arc<ZoneView>,
        patience: Duration,
    ) -> Result<bool, Failure> {
        let config = &view.zone.config;
        let mut manifests = config.active.iter().chain(&config.shadow);
        if manifests.all(|manifest| self.has_modules(manifest)) {
            return Ok(true);
        }
        let (zones, view) = (Arc::clone(self), Arc::clone(view));
        let (answer, loaded) = oneshot::channel();
        self.tasks.spawn("policy-set-load", async move {
            let first = zones.load_all(&view).await;
            let Err(mut late) = answer.send(first) else {
                return;
            };
            // Nobody waits any more: the view is in place, and this is all that loads what it lacks.
            while late.is_err() {
                tokio::time::sleep(PATIENCE).await;
                late = zones.load_all(&view).await;
            }
            zones.report(&view);
        });
        match tokio::time::timeout(patience, loaded).await {
            Ok(Ok(outcome)) => outcome.map(|()| true),
            Ok(Err(_)) => Err(Refusal::StaleState.into()),
            Err(_) => Ok(false),
        }
    }

    async fn load_all(self: &Arc<Self>, view: &ZoneView) -> Result<(), Failure> {
        let config = &view.zone.config;
        for manifest in config.active.iter().chain(&config.shadow) {
            self.load_missing(manifest).await?;
        }
        Ok(())
    }

    async fn load_missing(self: &Arc<Self>, manifest: &Manifest) -> Result<(), Failure> {
        for entry in &manifest.policies {
            self.load_module(&entry.module, &self.lanes.needed).await?;
        }
        Ok(())
    }

    fn has_modules(&self, manifest: &Manifest) -> bool {
        let mut policies = manifest.policies.iter();
        policies.all(|entry| self.engine.is_loaded(&entry.module))
    }

    /// One module at a time in each lane: compiling takes a processor, and whoever waited may find it done. Whoever gives
    /// up waiting leaves the one under way to its end.
    async fn load_module(self: &Arc<Self>, name: &str, lane: &Lane) -> Result<(), Failure> {
        if self.engine.is_loaded(name) {
            return Ok(());
        }
        let turn = Arc::clone(lane).lock_owned().await;
        let alone = self.lanes.alone(name).await;
        if self.engine.is_loaded(name) {
            self.lanes.done(name);
            return Ok(());
        }
        let (zones, name) = (Arc::clone(self), name.to_owned());
        let (answer, loaded) = oneshot::channel();
        self.tasks.spawn("policy-load", async move {
            let _held = (turn, alone);
            let fetched = zones.fetch_module(&name).await;
            zones.lanes.done(&name);
            // Nobody may wait for it any more.
            let _ = answer.send(fetched);
        });
        loaded.await.unwrap_or(Err(Refusal::StaleState.into()))
    }

    async fn fetch_module(&self, name: &str) -> Result<(), Failure> {
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

    /// Loads modules that are about to be used.
    pub(super) fn warm(self: &Arc<Self>, modules: Vec<String>) {
        let zones = Arc::clone(self);
        self.tasks.spawn("policy-warm", async move {
            for module in modules {
                if let Err(failure) = zones.load_module(&module, &zones.lanes.ahead).await {
                    tracing::warn!(
                        module,
                        reason = failure.reason(),
                        "a policy module could not be warmed"
                    );
                }
            }
        });
    }

    /// Tells the control plane what this replica decides by from now on: the answer to "has my activation arrived?".
    pub(super) fn report(&self, view: &ZoneView) {
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
}
