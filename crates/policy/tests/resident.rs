//! What the engine believes to hold is what the process holds. A process of its own, since only all of its memory can be
//! measured.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use caracal_domain::id::{PolicySetId, PolicySetVersionId, PolicyVersionId};
use caracal_domain::zone::{Manifest, ManifestEntry};
use caracal_policy::{Compiler, Engine, EngineConfig, locate, templates};
use ring::digest;
use serde_json::json;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Loaded first: they leave behind what compiling needs, which is there once however many follow.
const BEFORE: u32 = 60;
const MEASURED: u32 = 120;

fn compiler() -> Compiler {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
    let (named, path) = (
        std::env::var_os("OPA_BIN"),
        std::env::var_os("PATH").unwrap_or_default(),
    );
    Compiler::new(named.map_or_else(|| locate(Path::new("opa"), &path), PathBuf::from))
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
    kilobytes.expect("a number") * 1024
}

fn manifest(module: &str) -> Manifest {
    Manifest {
        policy_set_id: PolicySetId::from(Uuid::nil()),
        version_id: PolicySetVersionId::from(Uuid::nil()),
        sha256: String::new(),
        policies: vec![ManifestEntry {
            policy_version_id: PolicyVersionId::from(Uuid::nil()),
            module: module.to_owned(),
        }],
    }
}

#[tokio::test]
async fn the_memory_that_is_counted_is_the_memory_that_is_held() {
    let template = templates().iter().find(|template| template.id == "role-based");
    let content = template.expect("a template").content;
    let plain = compiler().compile(content).await.expect("it compiles").wasm;
    let engine = Engine::new(EngineConfig::default()).expect("an engine");
    let mut marks = Vec::new();
    for number in 1..=BEFORE + MEASURED {
        // A custom section at the end: another module, the same policy.
        let wasm = [&plain[..], &[0, 6, 1, b'n'], &number.to_be_bytes()].concat();
        let hash = hex::encode(digest::digest(&digest::SHA256, &wasm));
        engine.load(&hash, wasm, &hash).await.expect("it loads");
        let evaluation = engine.evaluate(&manifest(&hash), &json!({})).await;
        assert!(evaluation.verdicts.iter().all(|verdict| verdict.answer.is_ok()));
        if number == BEFORE || number == BEFORE + MEASURED {
            marks.push((engine.memory().total_bytes(), resident()));
        }
    }
    let [(counted_before, held_before), (counted, held)] = marks[..] else {
        unreachable!("two marks")
    };
    let each = |bytes: usize| bytes / 1024 / usize::try_from(MEASURED).expect("small");
    let (counted, held) = (each(counted - counted_before), each(held - held_before));
    println!("a warm policy: counted {counted} KB, held {held} KB");
    assert!(
        counted * 100 >= held * 95,
        "more is held ({held} KB) than counted ({counted} KB)"
    );
    assert!(
        counted * 100 <= held * 130,
        "more is counted ({counted} KB) than held ({held} KB)"
    );
}
