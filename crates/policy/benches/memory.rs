//! What a warm policy costs, and whether many of them stay within the budget: distinct policies in rotation, each
//! loaded and asked, with the resident memory beside what the engine believes to hold.
//! `cargo bench -p caracal-policy --bench memory -- 1000 512` (policies, budget in MB: what it does without arguments).
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures"
)]

mod prepare;

use caracal_policy::{CodeCacheConfig, Engine, EngineConfig, templates};
use prepare::{compiler, manifest};
use ring::{digest, hmac};
use serde_json::json;
use std::time::{Duration, Instant};

const MEGABYTE: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (policies, budget) = (numbers.next().unwrap_or(1_000), numbers.next().unwrap_or(512));
    let template = templates()
        .iter()
        .find(|t| t.id == "role-based")
        .expect("a template");
    let plain = compiler()
        .compile(template.content)
        .await
        .expect("it compiles")
        .wasm;
    let dir = tempfile::tempdir().expect("a directory");
    let engine = Engine::new(EngineConfig {
        memory_budget_bytes: budget * MEGABYTE,
        code_cache: Some(CodeCacheConfig {
            dir: dir.path().to_owned(),
            seal: hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]),
            max_bytes: 2 << 30,
        }),
        ..EngineConfig::default()
    })
    .expect("an engine");
    let before = resident();
    for round in ["never compiled", "compiled before"] {
        let mut times = Vec::with_capacity(policies);
        for number in 0..policies {
            // A custom section at the end: another module, the same policy.
            let number = u32::try_from(number).expect("small").to_be_bytes();
            let wasm = [&plain[..], &[0, 6, 1, b'n'], &number].concat();
            let hash = hex::encode(digest::digest(&digest::SHA256, &wasm));
            let loaded = engine.is_loaded(&hash);
            let started = Instant::now();
            engine.load(&hash, wasm, &hash).await.expect("it loads");
            let evaluation = engine.evaluate(&manifest(&[&hash]), &json!({})).await;
            if !loaded {
                times.push(started.elapsed());
            }
            assert!(evaluation.verdicts.iter().all(|v| v.answer.is_ok()), "it answers");
        }
        report(round, &mut times, &engine, before);
    }
}

fn report(round: &str, times: &mut [Duration], engine: &Engine, before: usize) {
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get(times.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{round}: {} loads, p50 {:.1?}, p99 {:.1?}",
        times.len(),
        at(50),
        at(99)
    );
    let (memory, grown) = (engine.memory(), resident().saturating_sub(before));
    println!(
        "  {} policies in memory: counted {} MB ({} KB of code and {} KB of instances each), resident {} MB ({} KB each)",
        memory.modules,
        memory.total_bytes() / MEGABYTE,
        memory.code_bytes / memory.modules.max(1) / 1024,
        memory.instance_bytes / memory.modules.max(1) / 1024,
        grown / MEGABYTE,
        grown / memory.modules.max(1) / 1024,
    );
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}
