//! Loads compiled policies beside the traffic and evaluates them: every policy of a manifest by itself, all under one
//! deadline, on a warm instance taken from a pool. The hot path compiles nothing, instantiates nothing and holds no lock
//! while it evaluates.
//!
//! A cheap policy (20 µs) runs to its end where it is called. One that is still running after a tick (2 ms) goes on in a
//! small pool of threads of its own, so a hung policy costs its own caller time and nobody else.

mod answer;
mod code_cache;
mod instance;
mod meter;
mod module;
mod pool;
mod share;
mod shelf;
mod ticker;

use crate::compiler::sha256_hex;
use caracal_domain::PolicyVerdict;
use caracal_domain::decision::PolicyFault;
use caracal_domain::id::{PolicyVersionId, ZoneId};
use caracal_domain::zone::Manifest;
use code_cache::CodeCache;
use instance::Limits;
use module::{Module, Modules};
use pool::Pool;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use share::Shares;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ticker::Ticker;
use uuid::Uuid;
use wasmtime::Config;

pub use code_cache::CodeCacheConfig;

/// The limits of an [`Engine`]. The defaults are the contract's.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// How long all policies of one decision may take together.
    pub deadline: Duration,
    /// How much memory one instance may have.
    pub max_instance_bytes: usize,
    /// How long the results of one decision may be together, as JSON.
    pub max_result_bytes: usize,
    /// How long an argument of a builtin of the host may be, as JSON.
    pub max_builtin_input_bytes: usize,
    /// How many decisions of one zone may be under way at once.
    pub max_in_flight_per_zone: usize,
    /// How much memory compiled code and instances may have together; what was used longest ago goes first.
    pub memory_budget_bytes: usize,
    /// Where compiled code survives a restart, if anywhere.
    pub code_cache: Option<CodeCacheConfig>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(50),
            max_instance_bytes: 16 << 20,
            max_result_bytes: 64 << 10,
            max_builtin_input_bytes: 64 << 10,
            max_in_flight_per_zone: 16,
            memory_budget_bytes: 512 << 20,
            code_cache: None,
        }
    }
}

/// The engine cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("setting up the policy engine: {0}")]
pub struct EngineError(String);

/// What the policies of a manifest answered.
#[derive(Debug)]
pub struct Evaluation {
    /// One verdict per policy, in the manifest's order, up to and including the first that failed; for
    /// `domain::combine`.
    pub verdicts: Vec<PolicyVerdict>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A loaded module that stays loaded, whatever the budget says, for as long as this is kept.
#[derive(Clone)]
pub struct Held {
    module: Arc<Module>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl From<Arc<Module>> for Held {
    fn from(module: Arc<Module>) -> Self {
        Self { module }
    }
}

/// What an [`Engine`] holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineMemory {
    /// Modules that can be asked.
    pub modules: usize,
    /// Their machine code and what describes it.
    pub code_bytes: usize,
    /// Instances that wait for the next question.
    pub instances: usize,
    /// What those hold.
    pub instance_bytes: usize,
    /// What instances that answer, and modules on their way out, hold besides.
    pub busy_bytes: usize,
}

impl EngineMemory {
    /// All together; never more than the budget, unless a single module is.
    #[must_use]
    pub const fn total_bytes(&self) -> usize {
        self.code_bytes + self.instance_bytes + self.busy_bytes
    }
}

/// The policy engine of one process.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    modules: Modules,
    shares: Arc<Shares>,
    ticker: Ticker,
    pool: Pool,
}

/// On whose account a decision is made, and what is left of its time.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// The zone.
    pub zone: ZoneId,
    /// What the decision has used of the deadline before.
    pub spent: Duration,
}

impl Engine {
    /// An engine with no module loaded.
    ///
    /// # Errors
    /// [`EngineError`] when wasmtime refuses the configuration or the cache directory cannot be used.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let refused = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let cache = config.code_cache.clone().map(CodeCache::open);
        let cache = cache.transpose().map_err(refused)?.map(Arc::new);
        let wasm = wasm_engine(cache.as_deref()).map_err(refused)?;
        let limits = Limits {
            memory: config.max_instance_bytes,
            builtin_input: config.max_builtin_input_bytes,
        };
        let ticker = Ticker::start(&wasm).map_err(|e| EngineError(e.to_string()))?;
        let pool = Pool::start().map_err(|e| EngineError(e.to_string()))?;
        let modules = Modules::new(wasm, cache, limits, config.memory_budget_bytes);
        Ok(Self {
            shares: Arc::new(Shares::new(config.max_in_flight_per_zone)),
            modules,
            ticker,
            pool,
            config,
        })
    }

    /// Compiles a module beside the traffic, tries it, and from then on serves it: at least for as long as the answer is
    /// kept. Compiles nothing when it is loaded.
    ///
    /// # Errors
    /// [`PolicyFault::Error`] when the bytes are not those of `wasm_sha256`, are no policy, or abort on a plain input.
    pub async fn load(&self, module: &str, wasm: Vec<u8>, wasm_sha256: &str) -> Result<Held, PolicyFault> {
        if let Some(held) = self.hold(module) {
            return Ok(held);
        }
        if sha256_hex(&wasm) != wasm_sha256 {
            tracing::error!(
                module,
                "a policy module does not have the hash it was stored with"
            );
            return Err(PolicyFault::Error);
        }
        // Loading starts with trying it: an instance needs the ticker to be stopped when it runs wild.
        let _under_way = self.ticker.begin();
        let loaded = self.modules.load(module, wasm, self.config.deadline).await?;
        Ok(loaded.into())
    }

    /// Whether a module answers a plain input with what is no decision. It would at every other that its policy matches so.
    pub async fn answers_nonsense(&self, held: &Held) -> bool {
        let _under_way = self.ticker.begin();
        let answer = held.module.answer_plainly(self.config.deadline).await;
        answer == Err(PolicyFault::Result)
    }

    /// Keeps a module loaded that is.
    #[must_use]
    pub fn hold(&self, module: &str) -> Option<Held> {
        self.modules.get(module).map(Held::from)
    }

    /// Whether [`Engine::evaluate`] can use the module now.
    #[must_use]
    pub fn is_loaded(&self, module: &str) -> bool {
        self.modules.get(module).is_some()
    }

    /// What is in memory: for a gauge, and for whoever plans a replica's size.
    #[must_use]
    pub fn memory(&self) -> EngineMemory {
        self.modules.memory()
    }

    /// Asks every policy of a manifest about `input`, for whoever only tries it: the policy set has its own share.
    pub async fn evaluate<I: Serialize + Sync + ?Sized>(&self, manifest: &Manifest, input: &I) -> Evaluation {
        let Ok(input) = to_raw_value(input) else {
            return Evaluation {
                verdicts: refuse_all(manifest, PolicyFault::Error),
                elapsed: Duration::ZERO,
            };
        };
        let account = Uuid::from(manifest.policy_set_id);
        self.ask(manifest, input.into(), account, self.config.deadline)
            .await
    }

    /// Asks every policy of a manifest about `input`, which is written into each one's memory, for a decision of a zone.
    pub async fn decide(
        &self,
        manifest: &Manifest,
        input: Arc<RawValue>,
        allowance: Allowance,
    ) -> Evaluation {
        let left = self.config.deadline.saturating_sub(allowance.spent);
        self.ask(manifest, input, Uuid::from(allowance.zone), left).await
    }

    async fn ask(
        &self,
        manifest: &Manifest,
        input: Arc<RawValue>,
        account: Uuid,
        left: Duration,
    ) -> Evaluation {
        let started = Instant::now();
        let verdicts = match self.shares.take(account) {
            Some(share) => {
                let modules = manifest
                    .policies
                    .iter()
                    .map(|entry| (entry.policy_version_id, self.modules.get(&entry.module)))
                    .collect();
                let turns = share.turns();
                let under_way = (share, self.ticker.begin());
                let limits = (started + left, self.config.max_result_bytes);
                let asking = ask_all(modules, input, limits, under_way);
                let asked = self.pool.run(Box::pin(asking), turns).await;
                asked.unwrap_or_else(|| refuse_all(manifest, PolicyFault::Error))
            }
            None => refuse_all(manifest, PolicyFault::Busy),
        };
        Evaluation {
            verdicts,
            elapsed: started.elapsed(),
        }
    }
}

/// Owns all it needs, since it may end on another thread than it began. `under_way` is held until then.
async fn ask_all<G: Send>(
    modules: Vec<(PolicyVersionId, Option<Arc<Module>>)>,
    input: Arc<RawValue>,
    (deadline, mut result_bytes): (Instant, usize),
    under_way: G,
) -> Vec<PolicyVerdict> {
    let mut verdicts = Vec::with_capacity(modules.len());
    for (policy_version_id, module) in modules {
        let answer = match module {
            Some(_) if Instant::now() >= deadline => Err(PolicyFault::Deadline),
            Some(module) => module.ask(&*input, deadline, result_bytes).await,
            None => Err(PolicyFault::Error),
        };
        let answer = answer.map(|(answer, bytes)| {
            result_bytes = result_bytes.saturating_sub(bytes);
            answer
        });
        let failed = answer.is_err();
        verdicts.push(PolicyVerdict {
            policy_version_id,
            answer,
        });
        if failed {
            break; // An error anywhere refuses: nothing the others say can change that.
        }
    }
    drop(under_way);
    verdicts
}

fn refuse_all(manifest: &Manifest, fault: PolicyFault) -> Vec<PolicyVerdict> {
    let refuse = |e: &caracal_domain::zone::ManifestEntry| PolicyVerdict {
        policy_version_id: e.policy_version_id,
        answer: Err(fault),
    };
    // A manifest is never empty, but an engine that is busy must not answer as if it were.
    manifest.policies.iter().take(1).map(refuse).collect()
}

fn wasm_engine(cache: Option<&CodeCache>) -> wasmtime::Result<wasmtime::Engine> {
    let mut wasm = Config::new();
    // No trap is traced back to its place in a policy, and no debugger walks through one: what would serve for that only
    // takes memory, a sixth of a module's.
    wasm.epoch_interruption(true)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        // One compilation takes one processor: a large policy then holds up neither traffic nor a small one's.
        .parallel_compilation(false)
        .cache(cache.map(CodeCache::wasmtime));
    wasmtime::Engine::new(&wasm)
}
