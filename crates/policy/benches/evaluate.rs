//! How long a warm evaluation takes: the role-based template, an input of 1 KB, one thread.
//! `cargo bench -p caracal-policy` (set `OPA_BIN` or have `opa` on `PATH`).
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures"
)]

use caracal_domain::combine;
use caracal_domain::id::{PolicySetId, PolicySetVersionId, PolicyVersionId};
use caracal_domain::zone::{Manifest, ManifestEntry};
use caracal_policy::{Compiler, Engine, EngineConfig, locate, templates};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use uuid::Uuid;

const WARM_UP: usize = 2_000;
const ROUNDS: usize = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (engine, manifest, load) = prepare().await;
    let input = input();
    let bytes = input.to_string().len();
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..WARM_UP + ROUNDS {
        let started = Instant::now();
        let evaluation = engine.evaluate(&manifest, &input).await;
        let ruling = combine(&evaluation.verdicts);
        let took = started.elapsed();
        assert!(
            ruling.is_ok_and(|r| !r.determining_policies.is_empty()),
            "role-based allows"
        );
        if round >= WARM_UP {
            times.push(took);
        }
    }
    times.sort_unstable();
    let mean = times.iter().sum::<Duration>() / u32::try_from(ROUNDS).expect("small");
    let at = |percent: usize| times.get(ROUNDS * percent / 100).copied().unwrap_or_default();
    println!(
        "policy evaluation, role-based, {bytes} B input: mean {mean:?} p50 {:?} p99 {:?}",
        at(50),
        at(99)
    );
    println!("load (compile, self-test, first instance): {load:?}");
}

async fn prepare() -> (Engine, Manifest, Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a benchmark has no configuration of its own"
    )]
    let (named, path) = (
        std::env::var_os("OPA_BIN"),
        std::env::var_os("PATH").unwrap_or_default(),
    );
    let opa = named.map_or_else(|| locate(Path::new("opa"), &path), PathBuf::from);
    let role_based = templates()
        .iter()
        .find(|t| t.id == "role-based")
        .expect("a template");
    let module = Compiler::new(opa)
        .compile(role_based.content)
        .await
        .expect("it compiles");
    let engine = Engine::new(EngineConfig::default()).expect("an engine");
    let started = Instant::now();
    engine
        .load(&module.name, module.wasm, &module.wasm_sha256)
        .await
        .expect("it loads");
    let entry = ManifestEntry {
        policy_version_id: PolicyVersionId::from(Uuid::nil()),
        module: module.name,
    };
    let manifest = Manifest {
        policy_set_id: PolicySetId::from(Uuid::nil()),
        version_id: PolicySetVersionId::from(Uuid::nil()),
        sha256: String::new(),
        policies: vec![entry],
    };
    (engine, manifest, started.elapsed())
}

fn input() -> Value {
    let document: Value = serde_json::from_str(include_str!("../templates/base.json")).expect("JSON");
    let mut input = document.get("base").cloned().unwrap_or_default();
    if let Some(principal) = input.get_mut("principal") {
        *principal = json!({
            "type": "application", "id": "0198c0de-0000-7000-8000-00000000000a", "name": "Orders agent",
            "zone_id": "0198c0de-0000-7000-8000-000000000001", "registration_method": "managed",
            "credential_type": "token", "traits": ["team:orders", "role:reader"], "labels": ["nightly", "eu"]
        });
    }
    input
}
