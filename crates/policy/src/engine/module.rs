//! Compiled modules by name, within a memory budget, each with its pool of warm instances.

use super::EngineMemory;
use super::answer::Answer;
use super::code_cache::CodeCache;
use super::instance::{Instance, Limits};
use caracal_domain::decision::PolicyFault;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Instances kept warm per module; a burst beyond it makes its own and drops them.
const WARM_INSTANCES: usize = 8;
/// What a loaded module needs beside its image: the tables that describe it, on the heap. With an instance's share (see
/// `instance.rs`) this is what `/proc/self/smaps` shows, so that the count is what the process holds: `tests/resident.rs`.
const MODULE_BYTES: usize = 44 << 10;

/// Every module that can be asked.
pub(super) struct Modules {
    wasm: wasmtime::Engine,
    cache: Option<Arc<CodeCache>>,
    limits: Limits,
    budget: Arc<Budget>,
    loaded: RwLock<HashMap<String, Arc<Module>>>,
    /// Modules are compiled one at a time, so that loading many never takes the traffic's processors.
    loading: tokio::sync::Mutex<()>,
    uses: AtomicU64,
}

/// What all modules and their waiting instances take together, and may take.
struct Budget {
    most: usize,
    taken: AtomicUsize,
}

/// One compiled module.
pub(super) struct Module {
    budget: Arc<Budget>,
    code: wasmtime::Module,
    wasm: wasmtime::Engine,
    limits: Limits,
    warm: Mutex<Vec<Instance>>,
    last_use: AtomicU64,
}

impl Modules {
    pub(super) fn new(
        wasm: wasmtime::Engine,
        cache: Option<Arc<CodeCache>>,
        limits: Limits,
        budget_bytes: usize,
    ) -> Self {
        let (loaded, loading, uses) = Default::default();
        Self {
            wasm,
            cache,
            limits,
            budget: Arc::new(Budget {
                most: budget_bytes,
                taken: AtomicUsize::new(0),
            }),
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
    ) -> Result<Arc<Module>, PolicyFault> {
        let _turn = self.loading.lock().await;
        if let Some(loaded) = self.get(name) {
            return Ok(loaded);
        }
        let (engine, cache, named) = (self.wasm.clone(), self.cache.clone(), name.to_owned());
        let compile = move || {
            let compile = || wasmtime::Module::new(&engine, wasm);
            match cache {
                Some(cache) => cache.around(&named, compile),
                None => compile(),
            }
        };
        let compiled = spawn_blocking(compile).await;
        let code = match compiled {
            Ok(Ok(code)) => code,
            Ok(Err(error)) => return Err(not_loadable(name, &error)),
            Err(error) => return Err(not_loadable(name, &error)),
        };
        let module = Module::new(code, self);
        module.prove(deadline).await.inspect_err(|fault| {
            tracing::warn!(module = name, %fault, "a policy module failed its self-test");
        })?;
        let module = Arc::new(module);
        self.admit(name, Arc::clone(&module));
        Ok(module)
    }

    /// Adds a module and, over budget, forgets those used longest ago. What somebody holds stays: to forget it would free
    /// nothing.
    fn admit(&self, name: &str, module: Arc<Module>) {
        module
            .last_use
            .store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let mut loaded = self.loaded.write();
        loaded.insert(name.to_owned(), module);
        let mut excess = self.budget.excess();
        if excess == 0 {
            return;
        }
        let mut by_age: Vec<(u64, String, usize)> = loaded
            .iter()
            .filter(|(other, m)| *other != name && Arc::strong_count(m) == 1)
            .map(|(name, m)| (m.last_use.load(Ordering::Relaxed), name.clone(), m.bytes()))
            .collect();
        by_age.sort_unstable();
        for (_, oldest, bytes) in by_age {
            if excess == 0 {
                break;
            }
            loaded.remove(&oldest);
            excess = excess.saturating_sub(bytes);
        }
    }

    pub(super) fn memory(&self) -> EngineMemory {
        let loaded = self.loaded.read();
        let mut memory = EngineMemory {
            modules: loaded.len(),
            code_bytes: 0,
            instances: 0,
            instance_bytes: 0,
        };
        for module in loaded.values() {
            let warm = module.warm.lock();
            memory.code_bytes += module.code_bytes();
            memory.instances += warm.len();
            memory.instance_bytes += warm.iter().map(Instance::bytes).sum::<usize>();
        }
        memory
    }
}

impl Budget {
    fn excess(&self) -> usize {
        self.taken.load(Ordering::Relaxed).saturating_sub(self.most)
    }

    fn take(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
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
    fn new(code: wasmtime::Module, of: &Modules) -> Self {
        let module = Self {
            budget: Arc::clone(&of.budget),
            code,
            wasm: of.wasm.clone(),
            limits: of.limits,
            warm: Mutex::default(),
            last_use: AtomicU64::new(0),
        };
        module.budget.take(module.code_bytes());
        module
    }

    /// Asks a warm instance, or a fresh one when all are busy. One that failed is not used again.
    pub(super) async fn ask<I: Serialize + Sync + ?Sized>(
        &self,
        input: &I,
        deadline: Instant,
    ) -> Result<Answer, PolicyFault> {
        let mut instance = match self.take_warm() {
            Some(instance) => instance,
            None => Instance::new(&self.wasm, &self.code, self.limits, deadline).await?,
        };
        let answer = instance.ask(input, deadline).await?;
        self.keep_warm(instance);
        Ok(answer)
    }

    fn take_warm(&self) -> Option<Instance> {
        let instance = self.warm.lock().pop()?;
        self.budget.give_back(instance.bytes());
        Some(instance)
    }

    /// The first one always stays, more only while the budget has room.
    fn keep_warm(&self, instance: Instance) {
        let mut warm = self.warm.lock();
        let room = warm.is_empty() || (warm.len() < WARM_INSTANCES && self.budget.excess() == 0);
        if room && instance.is_worth_keeping() {
            self.budget.take(instance.bytes());
            warm.push(instance);
        }
    }

    /// Tries the module on a plain input and leaves a warm instance behind. A policy that breaks a limit here may serve:
    /// it will be refused with that reason at each request. One that aborts, or is no policy, may not.
    async fn prove(&self, deadline: Duration) -> Result<(), PolicyFault> {
        let input = json!({
            "schema_version": "2026-03-16",
            "principal": {"type": "application", "id": "", "zone_id": "", "name": "", "traits": [], "labels": [],
                "registration_method": "managed", "credential_type": "token"},
            "resource": {"type": "resource", "id": "", "identifier": "resource://self-test", "scopes": []},
            "action": {"id": "TokenExchange"}, "session": null, "delegation_edge": null, "grant": null,
            "context": {"actor_claims": null, "subject_claims": null, "trace_id": "", "session_id": null,
                "agent_session_id": null, "delegation_edge_id": null, "challenge_resolved": false, "challenge": null,
                "requested_scopes": [], "time": {"rfc3339": "2026-01-01T00:00:00.000Z", "unix": 1_767_225_600}},
        });
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
        image.end.addr() - image.start.addr() + MODULE_BYTES
    }

    /// Everything it takes: its code, and the instances it may keep waiting (at least the one it was tried with).
    fn bytes(&self) -> usize {
        let warm = self.warm.lock();
        self.code_bytes() + warm.iter().map(Instance::bytes).sum::<usize>()
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes());
    }
}

fn not_loadable(name: &str, error: &dyn std::fmt::Display) -> PolicyFault {
    tracing::error!(module = name, %error, "a policy module cannot be compiled");
    PolicyFault::Error
}
