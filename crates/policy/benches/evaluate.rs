//! How long a warm evaluation takes: every template, an input of 1 KB, one thread; and what loading costs.
//! `cargo bench -p caracal-policy` (set `OPA_BIN` or have `opa` on `PATH`). Files named as arguments are measured too.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures"
)]

mod prepare;

use caracal_domain::combine;
use caracal_policy::{Engine, EngineConfig, templates};
use prepare::{compiler, manifest};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const WARM_UP: usize = 2_000;
const ROUNDS: usize = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (compiler, input) = (compiler(), input());
    println!(
        "Warm policy evaluation, an input of {} B, {ROUNDS} rounds each:",
        input.to_string().len()
    );
    let others = std::env::args()
        .skip(1)
        .filter(|argument| Path::new(argument).extension().is_some_and(|kind| kind == "rego"));
    let others = others.map(|file| {
        let content = std::fs::read_to_string(&file).expect("a policy");
        (file, content)
    });
    let ours = templates()
        .iter()
        .map(|t| (t.id.to_owned(), t.content.to_owned()));
    for (name, content) in ours.chain(others) {
        let module = compiler.compile(&content).await.expect("it compiles");
        let engine = Engine::new(EngineConfig::default()).expect("an engine");
        let started = Instant::now();
        engine
            .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
            .await
            .expect("it loads");
        let load = started.elapsed();
        let manifest = manifest(&[&module.name]);
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..WARM_UP + ROUNDS {
            let started = Instant::now();
            let evaluation = engine.evaluate(&manifest, &input).await;
            let ruling = combine(&evaluation.verdicts);
            let took = started.elapsed();
            assert!(ruling.is_ok(), "{name} answers");
            if round >= WARM_UP {
                times.push(took);
            }
        }
        times.sort_unstable();
        let mean = times.iter().sum::<Duration>() / u32::try_from(ROUNDS).expect("small");
        let at = |percent: usize| times.get(ROUNDS * percent / 100).copied().unwrap_or_default();
        println!(
            "  {:<34} mean {mean:>9.1?}  p50 {:>9.1?}  p99 {:>9.1?}  (load, compiling: {load:.0?})",
            name,
            at(50),
            at(99)
        );
    }
}

/// A delegated request of an agent, so that each template has work to do.
fn input() -> Value {
    let document: Value = serde_json::from_str(include_str!("../templates/base.json")).expect("JSON");
    let mut input = document.get("base").cloned().unwrap_or_default();
    let application = "0198c0de-0000-7000-8000-00000000000a";
    let parts = json!({
        "principal": {
            "type": "application", "id": application, "name": "Orders agent", "agent_session_id": "agent-2",
            "zone_id": "0198c0de-0000-7000-8000-000000000001", "registration_method": "managed",
            "credential_type": "token", "traits": ["team:orders", "role:reader"], "labels": ["nightly", "eu"]
        },
        "delegation_edge": {
            "id": "edge-1", "source_session_id": "agent-1", "target_session_id": "agent-2",
            "issuer_application_id": application, "receiver_application_id": application, "resource_id": null,
            "scopes": ["orders:read"], "edge_version": 1, "path": ["edge-1"], "graph_epoch": 4, "constraints_json": {}
        },
    });
    for (name, part) in parts.as_object().into_iter().flatten() {
        if let Some(place) = input.get_mut(name) {
            *place = part.clone();
        }
    }
    input
}
