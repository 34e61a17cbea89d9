use super::{ask, compile, manifest};
use caracal_domain::decision::PolicyFault;
use caracal_policy::{CompiledModule, Engine, EngineConfig};
use ring::digest;
use serde_json::json;

const PLAIN: &str = "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if input.x\n";

/// The same policy under another name and hash: a custom section at the end changes nothing but the bytes.
fn distinct(module: &CompiledModule, number: u8) -> CompiledModule {
    let mut wasm = module.wasm.clone();
    wasm.extend([0, 3, 1, b'n', number]);
    let wasm_sha256 = hex::encode(digest::digest(&digest::SHA256, &wasm));
    CompiledModule {
        name: wasm_sha256.clone(),
        wasm,
        wasm_sha256,
        opa_version: module.opa_version.clone(),
        names: Vec::new(),
    }
}

#[tokio::test]
async fn modules_and_instances_stay_within_the_budget_and_come_back_when_asked_for() {
    let plain = compile(PLAIN).await;
    let budget = 3 << 20;
    let engine = Engine::new(EngineConfig {
        memory_budget_bytes: budget,
        ..EngineConfig::default()
    })
    .expect("an engine");
    let all: Vec<_> = (0..12).map(|number| distinct(&plain, number)).collect();
    for round in 0..2 {
        for module in &all {
            engine
                .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
                .await
                .expect("loads");
            let answer = ask(&engine, &manifest(&[module]), &json!({"x": true})).await;
            assert!(matches!(answer, Ok(Some(_))), "round {round}: {answer:?}");
            let memory = engine.memory();
            assert!(memory.total_bytes() <= budget, "{memory:?}");
        }
    }
    let memory = engine.memory();
    assert!(memory.modules > 1 && memory.modules < all.len(), "{memory:?}");
    assert!(
        !engine.is_loaded(&all[0].name),
        "what was used longest ago went first"
    );
    assert!(engine.is_loaded(&all[11].name));
}

#[tokio::test]
async fn what_is_held_stays_beyond_the_budget_until_it_is_let_go() {
    let plain = compile(PLAIN).await;
    let engine = Engine::new(EngineConfig {
        memory_budget_bytes: 1 << 20,
        deadline: std::time::Duration::from_secs(5),
        ..EngineConfig::default()
    })
    .expect("an engine");
    let all: Vec<_> = (0..6).map(|number| distinct(&plain, number)).collect();
    let mut held = Vec::new();
    for module in &all {
        let loaded = engine.load(&module.name, module.wasm.clone(), &module.wasm_sha256);
        held.push(loaded.await.expect("loads"));
    }
    let named: Vec<_> = all.iter().collect();
    let answered = engine.evaluate(&manifest(&named), &json!({"x": true})).await;
    assert!(
        answered.verdicts.len() == 6 && answered.verdicts.iter().all(|verdict| verdict.answer.is_ok()),
        "{answered:?}"
    );
    drop(held);
    let next = distinct(&plain, 7);
    engine
        .load(&next.name, next.wasm.clone(), &next.wasm_sha256)
        .await
        .expect("loads");
    let memory = engine.memory();
    assert!(memory.total_bytes() <= 1 << 20, "{memory:?}");
}

#[tokio::test]
async fn waiting_instances_count_too() {
    let plain = compile(PLAIN).await;
    let engine = Engine::new(EngineConfig::default()).expect("an engine");
    assert_eq!(engine.memory().total_bytes(), 0);
    engine
        .load(&plain.name, plain.wasm.clone(), &plain.wasm_sha256)
        .await
        .expect("loads");
    let memory = engine.memory();
    assert_eq!((memory.modules, memory.instances), (1, 1));
    assert!(
        memory.code_bytes > 300_000 && memory.instance_bytes > 64 << 10,
        "{memory:?}"
    );
}

/// Grows with what it is asked.
const GROWING: &str =
    "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if count(numbers.range(1, input.n)) > 0\n";

#[tokio::test]
async fn instances_that_grew_count_as_they_are_and_make_way_before_modules_do() {
    let growing = compile(GROWING).await;
    let budget = 12 << 20;
    let engine = Engine::new(EngineConfig {
        memory_budget_bytes: budget,
        deadline: std::time::Duration::from_secs(5),
        ..EngineConfig::default()
    })
    .expect("an engine");
    let all: Vec<_> = (0..12).map(|number| distinct(&growing, number)).collect();
    for module in &all {
        let loaded = engine.load(&module.name, module.wasm.clone(), &module.wasm_sha256);
        loaded.await.expect("loads");
    }
    let loaded = engine.memory();
    assert_eq!(loaded.modules, 12, "{loaded:?}");
    let mut grown = 0;
    for module in all.iter().chain(&all) {
        let answer = ask(&engine, &manifest(&[module]), &json!({"n": 6_000})).await;
        assert!(matches!(answer, Ok(Some(_))), "{answer:?}");
        let memory = engine.memory();
        assert!(memory.total_bytes() <= budget, "{memory:?}");
        grown = grown.max(memory.instance_bytes);
    }
    assert!(grown > 2 * loaded.instance_bytes, "they grew: {grown}");
    let memory = engine.memory();
    assert_eq!((memory.modules, memory.busy_bytes), (12, 0), "{memory:?}");
}

#[tokio::test]
async fn no_policy_grows_beyond_what_the_budget_has_left_and_small_ones_go_on() {
    let growing = compile(GROWING).await;
    let engine = Engine::new(EngineConfig {
        memory_budget_bytes: 4 << 20,
        deadline: std::time::Duration::from_secs(5),
        ..EngineConfig::default()
    })
    .expect("an engine");
    let loaded = engine.load(&growing.name, growing.wasm.clone(), &growing.wasm_sha256);
    loaded.await.expect("loads");
    // Alone it may have 16 MiB, which the budget does not hold.
    let manifest = manifest(&[&growing]);
    let hungry = ask(&engine, &manifest, &json!({"n": 200_000})).await;
    assert_eq!(hungry, Err(PolicyFault::Memory));
    assert!(matches!(
        ask(&engine, &manifest, &json!({"n": 10})).await,
        Ok(Some(_))
    ));
    assert!(engine.memory().total_bytes() <= 4 << 20, "{:?}", engine.memory());
}
