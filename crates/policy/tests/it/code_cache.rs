use super::{ask, compile, manifest};
use caracal_policy::{CodeCacheConfig, CompiledModule, Engine, EngineConfig};
use ring::hmac;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const POLICY: &str = "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if input.x\n";

fn engine(dir: &Path, key: u8) -> Engine {
    Engine::new(EngineConfig {
        code_cache: Some(CodeCacheConfig {
            dir: dir.to_owned(),
            seal: hmac::Key::new(hmac::HMAC_SHA256, &[key; 32]),
            max_bytes: 64 << 20,
        }),
        ..EngineConfig::default()
    })
    .expect("an engine")
}

async fn load(engine: &Engine, module: &CompiledModule) -> Duration {
    let started = Instant::now();
    engine
        .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
        .await
        .expect("loads");
    let took = started.elapsed();
    let answer = ask(engine, &manifest(&[module]), &json!({"x": true})).await;
    assert!(matches!(answer, Ok(Some(_))), "{answer:?}");
    took
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .expect("readable")
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[tokio::test]
async fn after_a_restart_nothing_is_compiled_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let module = compile(POLICY).await;
    let compiling = load(&engine(dir.path(), 1), &module).await;
    assert_eq!(files(dir.path()).len(), 1);
    // The best of three: other tests have the processor too.
    let mut reading = Duration::MAX;
    for _ in 0..3 {
        reading = reading.min(load(&engine(dir.path(), 1), &module).await);
    }
    assert!(reading * 2 < compiling, "{reading:?} after {compiling:?}");
}

#[tokio::test]
async fn a_file_that_was_tampered_with_is_never_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let module = compile(POLICY).await;
    load(&engine(dir.path(), 1), &module).await;
    let [file] = &files(dir.path())[..] else {
        panic!("one file")
    };
    let genuine = std::fs::read(file).expect("readable");
    // Flipped in its last byte, cut short, emptied, and (below) sealed by somebody else.
    let mut flipped = genuine.clone();
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    for forged in [&flipped[..], &genuine[..genuine.len() / 2], b""] {
        std::fs::write(file, forged).expect("writable");
        load(&engine(dir.path(), 1), &module).await;
        let replaced = std::fs::read(file).expect("readable");
        assert_ne!(replaced, forged, "the forgery was taken for ours");
    }
    let before = std::fs::read(file).expect("readable");
    load(&engine(dir.path(), 2), &module).await;
    assert_ne!(
        before,
        std::fs::read(file).expect("readable"),
        "another key's seal was accepted"
    );
}

#[tokio::test]
async fn a_module_never_runs_the_code_of_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let allowing = compile(POLICY).await;
    let silent = compile(
        "package caracal.authz\n\nresult := {\"decision\": \"deny\", \"diagnostics\": [1]} if input.x\n",
    )
    .await;
    load(&engine(dir.path(), 1), &allowing).await;
    load(&engine(dir.path(), 1), &silent).await;
    let of = |module: &CompiledModule| dir.path().join(&module.name).with_extension("code");
    std::fs::copy(of(&allowing), of(&silent)).expect("copied");
    let engine = engine(dir.path(), 1);
    load(&engine, &silent).await;
    let answer = ask(&engine, &manifest(&[&silent]), &json!({"x": true})).await;
    assert!(
        matches!(answer, Ok(Some(ref a)) if a.decision == caracal_domain::Decision::Deny),
        "{answer:?}"
    );
}
