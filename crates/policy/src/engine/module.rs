//! Compiled modules, each with its pool of warm instances: how they come to be, and how one is asked.

use super::EngineMemory;
use super::answer::Answer;
use super::code_cache::CodeCache;
use super::instance::{Instance, Limits};
use super::meter;
use super::shelf::Shelf;
use caracal_domain::decision::PolicyFault;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Instances kept warm per module; a burst beyond it makes its own and drops them.
const WARM_INSTANCES: usize = 8;
/// What a loaded module needs beside its image: the tables that describe it, on the heap. With an instance's share (see
/// `instance.rs`) this is what `/proc/self/smaps` shows, so that the count is what the process holds: `tests/resident.rs`.
const MODULE_BYTES: usize = 44 << 10;

/// One that somebody waits for, and one ahead of time.
const COMPILED_AT_ONCE: usize = 2;
/// How much a module may say when it is tried; what it says does not matter.
const PROOF_BYTES: usize = 64 << 10;

/// Every module that can be asked.
#[derive(Debug)]
pub(super) struct Modules {
    wasm: wasmtime::Engine,
    cache: Option<Arc<CodeCache>>,
    limits: Limits,
    shelf: Arc<Shelf>,
    /// Few modules are compiled at once, so that loading many never takes the traffic's processors.
    compiling: Semaphore,
}

/// One compiled module.
pub(super) struct Module {
    shelf: Weak<Shelf>,
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
        Self {
            wasm,
            cache,
            limits,
            shelf: Arc::new(Shelf::new(budget_bytes)),
            compiling: Semaphore::new(COMPILED_AT_ONCE),
        }
    }

    /// The module, if it is loaded; counts as a use of it.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Module>> {
        self.shelf.get(name)
    }

    /// Compiles a module off the traffic's threads, tries it, and makes it available.
    pub(super) async fn load(
        &self,
        name: &str,
        wasm: Vec<u8>,
        deadline: Duration,
    ) -> Result<Arc<Module>, PolicyFault> {
        let turn = self.compiling.acquire().await.map_err(|_| PolicyFault::Error)?;
        if let Some(loaded) = self.get(name) {
            return Ok(loaded);
        }
        let (engine, cache, named) = (self.wasm.clone(), self.cache.clone(), name.to_owned());
        let compile = move || {
            let compile = || wasmtime::Module::new(&engine, meter::install(&wasm)?);
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
        drop(turn);
        let module = Module::new(code, self);
        module.prove(deadline).await.inspect_err(|fault| {
            tracing::warn!(module = name, %fault, "a policy module failed its self-test");
        })?;
        let module = Arc::new(module);
        self.shelf.put(name, Arc::clone(&module));
        Ok(module)
    }

    pub(super) fn memory(&self) -> EngineMemory {
        self.shelf.memory()
    }
}

impl Module {
    fn new(code: wasmtime::Module, of: &Modules) -> Self {
        let module = Self {
            shelf: Arc::downgrade(&of.shelf),
            code,
            wasm: of.wasm.clone(),
            limits: of.limits,
            warm: Mutex::default(),
            last_use: AtomicU64::new(0),
        };
        of.shelf.take(module.code_bytes());
        module
    }

    /// Asks a warm instance, or a fresh one when all are busy. One that failed is not used again.
    pub(super) async fn ask<I: Serialize + Sync + ?Sized>(
        &self,
        input: &I,
        deadline: Instant,
        most_bytes: usize,
    ) -> Result<(Answer, usize), PolicyFault> {
        let waiting = self.warm.lock().pop();
        let mut instance = match waiting {
            Some(instance) => instance,
            None => Instance::new(&self.wasm, &self.code, self.limits, &self.shelf, deadline).await?,
        };
        let answer = instance.ask(input, deadline, most_bytes).await?;
        self.keep_warm(instance);
        Ok(answer)
    }

    /// Within the budget only. One that grew large is not kept at all.
    fn keep_warm(&self, instance: Instance) {
        let room = self.shelf.upgrade().is_some_and(|shelf| shelf.make_room(0));
        if !room || !instance.is_worth_keeping() {
            return;
        }
        let mut warm = self.warm.lock();
        if warm.len() < WARM_INSTANCES {
            warm.push(instance);
        }
    }

    /// Tries the module on a plain input and leaves a warm instance behind. A policy that breaks a limit here may serve:
    /// it will be refused with that reason at each request. One that aborts, or is no policy, may not.
    async fn prove(&self, deadline: Duration) -> Result<(), PolicyFault> {
        match self.answer_plainly(deadline).await {
            Err(PolicyFault::Error) => Err(PolicyFault::Error),
            Ok(_)
            | Err(
                PolicyFault::Deadline
                | PolicyFault::Memory
                | PolicyFault::BuiltinInput
                | PolicyFault::Result
                | PolicyFault::Busy,
            ) => Ok(()),
        }
    }

    /// What it answers to a plain input.
    pub(super) async fn answer_plainly(&self, deadline: Duration) -> Result<Answer, PolicyFault> {
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
        let (answer, _) = self.ask(&input, Instant::now() + deadline, PROOF_BYTES).await?;
        Ok(answer)
    }

    pub(super) fn code_bytes(&self) -> usize {
        let image = self.code.image_range();
        image.end.addr() - image.start.addr() + MODULE_BYTES
    }

    /// How many instances wait, and what they take.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let warm = self.warm.lock();
        (warm.len(), warm.iter().map(Instance::bytes).sum())
    }

    pub(super) fn give_up_waiting(&self) -> Vec<Instance> {
        std::mem::take(&mut *self.warm.lock())
    }

    pub(super) fn used(&self, count: u64) {
        self.last_use.store(count, Ordering::Relaxed);
    }

    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.upgrade() {
            shelf.give_back(self.code_bytes());
        }
    }
}

fn not_loadable(name: &str, error: &dyn std::fmt::Display) -> PolicyFault {
    tracing::error!(module = name, %error, "a policy module cannot be compiled");
    PolicyFault::Error
}
