//! Compiled modules by name, within a memory budget, each with its pool of warm instances.

use super::answer::Answer;
use super::instance::{Instance, Limits};
use caracal_domain::decision::PolicyFault;
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Instances kept warm per module; a burst beyond it makes its own and drops them.
const WARM_INSTANCES: usize = 8;

/// Every module that can be asked.
pub(super) struct Modules {
    wasm: wasmtime::Engine,
    limits: Limits,
    budget_bytes: usize,
    loaded: RwLock<HashMap<String, Arc<Module>>>,
    /// Modules are compiled one at a time, so that loading many never takes the traffic's processors.
    loading: tokio::sync::Mutex<()>,
    uses: AtomicU64,
}

/// One compiled module.
pub(super) struct Module {
    code: wasmtime::Module,
    wasm: wasmtime::Engine,
    limits: Limits,
    warm: Mutex<Vec<Instance>>,
    last_use: AtomicU64,
}

impl Modules {
    pub(super) fn new(wasm: wasmtime::Engine, limits: Limits, budget_bytes: usize) -> Self {
        let (loaded, loading, uses) = Default::default();
        Self {
            wasm,
            limits,
            budget_bytes,
            loaded,
            loading,
            uses,
        }
    }

    /// The module, if it is loaded; counts as a use of it.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Module>> {
        let module = self.loaded.read().get(name).map(Arc::clone)?;
        module
            .last_use
            .store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(module)
    }

    /// Compiles a module off the traffic's threads, tries it, and makes it available.
    pub(super) async fn load(
        &self,
        name: &str,
        wasm: Vec<u8>,
        deadline: Duration,
    ) -> Result<(), PolicyFault> {
        let _turn = self.loading.lock().await;
        if self.get(name).is_some() {
            return Ok(());
        }
        let engine = self.wasm.clone();
        let compiled = spawn_blocking(move || wasmtime::Module::new(&engine, wasm)).await;
        let code = match compiled {
            Ok(Ok(code)) => code,
            Ok(Err(error)) => return Err(not_loadable(name, &error)),
            Err(error) => return Err(not_loadable(name, &error)),
        };
        let module = Module {
            code,
            wasm: self.wasm.clone(),
            limits: self.limits,
            warm: Mutex::default(),
            last_use: AtomicU64::new(0),
        };
        module.prove(deadline).await.inspect_err(|fault| {
            tracing::warn!(module = name, %fault, "a policy module failed its self-test");
        })?;
        self.admit(name, Arc::new(module));
        Ok(())
    }

    /// Adds a module and, over budget, forgets those used longest ago.
    fn admit(&self, name: &str, module: Arc<Module>) {
        module
            .last_use
            .store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let mut loaded = self.loaded.write();
        loaded.insert(name.to_owned(), module);
        while loaded.values().map(|m| m.code_bytes()).sum::<usize>() > self.budget_bytes && loaded.len() > 1 {
            let oldest = loaded
                .iter()
                .min_by_key(|(_, m)| m.last_use.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            loaded.remove(&oldest);
        }
    }
}

impl std::fmt::Debug for Modules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Modules")
            .field("loaded", &self.loaded.read().len())
            .finish_non_exhaustive()
    }
}

impl Module {
    /// Asks a warm instance, or a fresh one when all are busy. One that failed is not used again.
    pub(super) async fn ask(&self, input: &RawValue, deadline: Instant) -> Result<Answer, PolicyFault> {
        let warm = self.warm.lock().pop();
        let mut instance = match warm {
            Some(instance) => instance,
            None => Instance::new(&self.wasm, &self.code, self.limits, deadline).await?,
        };
        let answer = instance.ask(input, deadline).await?;
        if instance.is_worth_keeping() {
            let mut warm = self.warm.lock();
            if warm.len() < WARM_INSTANCES {
                warm.push(instance);
            }
        }
        Ok(answer)
    }

    /// Tries the module on a plain input and leaves a warm instance behind. A policy that breaks a limit here may serve:
    /// it will be refused with that reason at each request. One that aborts, or is no policy, may not.
    async fn prove(&self, deadline: Duration) -> Result<(), PolicyFault> {
        let input = to_raw_value(&json!({
            "schema_version": "2026-03-16",
            "principal": {"type": "application", "id": "", "zone_id": "", "name": "", "traits": [], "labels": [],
                "registration_method": "managed", "credential_type": "token"},
            "resource": {"type": "resource", "id": "", "identifier": "resource://self-test", "scopes": []},
            "action": {"id": "TokenExchange"}, "session": null, "delegation_edge": null, "grant": null,
            "context": {"actor_claims": null, "subject_claims": null, "trace_id": "", "session_id": null,
                "agent_session_id": null, "delegation_edge_id": null, "challenge_resolved": false, "challenge": null,
                "requested_scopes": [], "time": {"rfc3339": "2026-01-01T00:00:00.000Z", "unix": 1_767_225_600}},
        }))
        .map_err(|_| PolicyFault::Error)?;
        match self.ask(&input, Instant::now() + deadline).await {
            Err(PolicyFault::Error) => Err(PolicyFault::Error),
            Ok(_)
            | Err(PolicyFault::Deadline | PolicyFault::Memory | PolicyFault::Result | PolicyFault::Busy) => {
                Ok(())
            }
        }
    }

    fn code_bytes(&self) -> usize {
        let image = self.code.image_range();
        image.end.addr() - image.start.addr()
    }
}

fn not_loadable(name: &str, error: &dyn std::fmt::Display) -> PolicyFault {
    tracing::error!(module = name, %error, "a policy module cannot be compiled");
    PolicyFault::Error
}
