use super::{ask, compile, manifest, serve};
use caracal_domain::decision::PolicyFault;
use caracal_domain::{Decision, combine};
use caracal_policy::{Engine, EngineConfig};
use serde_json::{Value, json};
use std::sync::Arc;

fn answering(decision: &str, name: &str) -> String {
    format!(
        "package caracal.authz\n\nresult := {{\"decision\": \"{decision}\", \"determining_policies\": [\"{name}\"]}} if input.{name}\n"
    )
}

#[tokio::test]
async fn policies_compose_without_knowing_each_other() {
    let (permit, guard) = (
        compile(&answering("allow", "permit")).await,
        compile(&answering("deny", "guard")).await,
    );
    let (engine, manifest) = serve(&[&permit, &guard]).await;
    let decide =
        async |input: Value| combine(&engine.evaluate(&manifest, &input).await.verdicts).expect("no fault");
    assert_eq!(decide(json!({"permit": true})).await.decision, Decision::Allow);
    assert_eq!(
        decide(json!({"permit": true, "guard": true})).await.decision,
        Decision::Deny
    );
    assert_eq!(decide(json!({})).await.decision, Decision::Deny);
}

#[tokio::test]
async fn a_module_that_is_not_loaded_errs() {
    let module = compile(&answering("allow", "x")).await;
    let engine = Engine::new(EngineConfig::default()).expect("an engine");
    assert!(!engine.is_loaded(&module.name));
    assert_eq!(
        ask(&engine, &manifest(&[&module]), &json!({"x": true})).await,
        Err(PolicyFault::Error)
    );
}

#[tokio::test]
async fn only_what_was_stored_is_loaded() {
    let module = compile(&answering("allow", "x")).await;
    let engine = Engine::new(EngineConfig::default()).expect("an engine");
    let mut changed = module.wasm.clone();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    assert_eq!(
        engine
            .load(&module.name, changed, &module.wasm_sha256)
            .await
            .err(),
        Some(PolicyFault::Error)
    );
    let empty_wasm = b"\0asm\x01\0\0\0".to_vec();
    let its_hash = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476";
    assert_eq!(
        engine.load("empty", empty_wasm, its_hash).await.err(),
        Some(PolicyFault::Error)
    );
    assert!(!engine.is_loaded(&module.name) && !engine.is_loaded("empty"));
}

#[tokio::test]
async fn the_least_recently_used_module_makes_room() {
    let (one, two, three) = (
        compile(&answering("allow", "a")).await,
        compile(&answering("allow", "b")).await,
        compile(&answering("allow", "c")).await,
    );
    let probe = Engine::new(EngineConfig::default()).expect("an engine");
    probe
        .load(&one.name, one.wasm.clone(), &one.wasm_sha256)
        .await
        .expect("loads");
    let engine = Engine::new(EngineConfig {
        memory_budget_bytes: 2_000_000,
        ..EngineConfig::default()
    })
    .expect("an engine");
    let mut loaded = Vec::new();
    for module in [&one, &two, &one, &three] {
        engine
            .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
            .await
            .expect("loads");
        loaded.push([&one, &two, &three].map(|m| engine.is_loaded(&m.name)));
    }
    assert!(engine.is_loaded(&three.name), "{loaded:?}");
    assert!(
        loaded.iter().any(|l| l.iter().filter(|x| **x).count() < 3),
        "{loaded:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_ask_at_once_while_modules_load() {
    let (permit, guard) = (
        compile(&answering("allow", "permit")).await,
        compile(&answering("deny", "guard")).await,
    );
    let (engine, manifest) = serve(&[&permit]).await;
    let (engine, manifest) = (Arc::new(engine), Arc::new(manifest));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (engine, manifest, guard) = (Arc::clone(&engine), Arc::clone(&manifest), guard.clone());
        tasks.spawn(async move {
            engine
                .load(&guard.name, guard.wasm.clone(), &guard.wasm_sha256)
                .await
                .expect("loads");
            for round in 0..50 {
                let input = json!({"permit": (n + round) % 2 == 0, "padding": "x".repeat(round * 100)});
                let answer = ask(&engine, &manifest, &input).await.expect("no fault");
                assert_eq!(answer.is_some(), (n + round) % 2 == 0);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no task failed");
    }
}

#[tokio::test]
async fn every_allowed_builtin_works_in_the_wasm_host() {
    let content = include_str!("every_builtin.rego");
    let module = compile(content).await;
    let (engine, manifest) = serve(&[&module]).await;
    let answer = ask(&engine, &manifest, &json!({"list": [3, 1, 2], "text": "a,b"})).await;
    let answer = answer.expect("no fault").expect("an opinion");
    assert_eq!(
        answer.diagnostics,
        Vec::<Value>::new(),
        "these builtins answered something else than in OPA"
    );
    assert_eq!(answer.decision, Decision::Allow);
}
