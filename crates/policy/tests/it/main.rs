//! The compiler against a real OPA, the engine against real modules.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::type_complexity,
    clippy::collapsible_if,
    reason = "a test fails by panicking"
)]

mod builtin_input;
mod builtins;
mod code_cache;
mod compile;
mod differential;
mod limits;
mod memory;
mod serve;
mod template;

use caracal_domain::decision::{PolicyAnswer, PolicyFault};
use caracal_domain::id::{PolicySetId, PolicySetVersionId, PolicyVersionId};
use caracal_domain::zone::{Manifest, ManifestEntry};
use caracal_policy::{CompiledModule, Compiler, Engine, EngineConfig, locate};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;
use uuid::Uuid;

/// The OPA that `OPA_BIN` or `PATH` names.
static OPA: LazyLock<PathBuf> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
    let (named, path) = (
        std::env::var_os("OPA_BIN"),
        std::env::var_os("PATH").unwrap_or_default(),
    );
    named.map_or_else(|| locate(Path::new("opa"), &path), PathBuf::from)
});

fn compiler() -> Compiler {
    Compiler::new(OPA.clone())
}

async fn compile(content: &str) -> CompiledModule {
    compiler().compile(content).await.expect("a good policy")
}

/// An engine with the modules loaded, and a manifest that names them in order. It is patient, since the machine is busy
/// with other tests.
async fn serve(modules: &[&CompiledModule]) -> (Engine, Manifest) {
    serve_within(Duration::from_secs(5), modules).await
}

/// The same with a deadline.
async fn serve_within(deadline: Duration, modules: &[&CompiledModule]) -> (Engine, Manifest) {
    let config = EngineConfig {
        deadline,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).expect("an engine");
    for module in modules {
        engine
            .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
            .await
            .expect("loads");
    }
    (engine, manifest(modules))
}

fn manifest(modules: &[&CompiledModule]) -> Manifest {
    let entry = |(n, module): (usize, &&CompiledModule)| ManifestEntry {
        policy_version_id: PolicyVersionId::from(Uuid::from_u128(u128::try_from(n).expect("small"))),
        module: module.name.clone(),
    };
    Manifest {
        policy_set_id: PolicySetId::from(Uuid::nil()),
        version_id: PolicySetVersionId::from(Uuid::nil()),
        sha256: String::new(),
        policies: modules.iter().enumerate().map(entry).collect(),
    }
}

/// What a single policy answers.
async fn ask(
    engine: &Engine,
    manifest: &Manifest,
    input: &Value,
) -> Result<Option<PolicyAnswer>, PolicyFault> {
    let mut evaluation = engine.evaluate(manifest, input).await;
    assert_eq!(evaluation.verdicts.len(), 1);
    evaluation.verdicts.remove(0).answer
}
