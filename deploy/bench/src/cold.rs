//! The first mandate of a zone that this replica has never seen, among many zones: after a restart with its policy
//! compiled before, be it one that zones share or one of its own, and with a policy compiled never.

use crate::Options;
use crate::http::Connection;
use crate::load::Found;
use crate::report::line;
use crate::scene::{Admin, Scene};
use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::task::JoinSet;

/// Writers that fill the database with zones.
const WRITERS: usize = 8;
/// Every so many zones one has a policy of its own, as long as the role-based template.
const OWN_EVERY: usize = 4;
const ALLOW: &str = "package caracal.authz

result := {\"decision\": \"allow\", \"determining_policies\": [\"cold\"]}
";

/// Measures and prints.
pub(crate) async fn measure(stack: &Settings, options: &Options) -> Result<()> {
    fill(stack, options.zones.saturating_sub(options.cold_zones)).await?;
    let mut admin = Admin::connect(stack).await?;
    let (mut shared, mut own) = (Vec::new(), Vec::new());
    let template = Scene::template(&mut admin).await?;
    for number in 0..options.cold_zones {
        let is_own = number % OWN_EVERY == 0;
        let content = if is_own {
            format!("{template}\n# The policy of zone {number} alone.\nzone_number := {number}\n")
        } else {
            ALLOW.to_owned()
        };
        let scene = Scene::with_policy(&mut admin, &content).await?;
        let session = scene.session(stack).await?;
        let zones = if is_own { &mut own } else { &mut shared };
        zones.push(scene.mandate_request(&session, "orders:read", ""));
    }
    restart_sts(stack).await?;
    let of = options.zones;
    let found = first_mints(stack, &shared).await?;
    line(
        &format!("first mandates of {} of {of} zones", shared.len()),
        &found,
    )?;
    let found = first_mints(stack, &own).await?;
    line(
        &format!("  with a policy of its own, {} zones", own.len()),
        &found,
    )?;

    let compiled = stack.dir.join("wasm-cache");
    std::fs::remove_dir_all(&compiled).context("forgetting the compiled policies")?;
    restart_sts(stack).await?;
    let never = first_mints(stack, &own).await?;
    line(&format!("  never compiled, {} zones", own.len()), &never)
}

async fn first_mints(stack: &Settings, mandates: &[Vec<u8>]) -> Result<Found> {
    let mut found = Found::default();
    let mut sts = Connection::open(&stack.sts).await?;
    let began = Instant::now();
    for mandate in mandates {
        let started = Instant::now();
        let answer = sts.send(mandate).await?;
        if answer.status == 200 {
            found.times.push(started.elapsed());
        } else {
            found.failed += 1;
            found.example = Some(format!(
                "{} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
    }
    found.took = began.elapsed();
    found.times.sort_unstable();
    Ok(found)
}

/// Empty zones, so that there are many.
async fn fill(stack: &Settings, count: usize) -> Result<()> {
    let (next, mut writers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let started = Instant::now();
    for _ in 0..WRITERS {
        let (mut admin, next) = (Admin::connect(stack).await?, Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, anyhow::Error>(());
                }
                let zone = json!({"name": format!("Filler {number}")});
                admin
                    .call("POST", "/v1/zones", &zone)
                    .await?
                    .expect(201, "a zone")?;
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.context("a writer panicked")??;
    }
    println!("    {count} more zones written in {:.1?}", started.elapsed());
    Ok(())
}

async fn restart_sts(stack: &Settings) -> Result<()> {
    let done = Command::new("deploy/dev/stack.sh")
        .args(["restart", "sts"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .await
        .context("running deploy/dev/stack.sh")?;
    if !done.success() {
        bail!("the STS could not be restarted");
    }
    // Fresh: decided from memory, not read through.
    for _ in 0..100 {
        let mut sts = Connection::open(&stack.sts).await?;
        let ready = sts
            .send(&crate::http::request("GET", "/ready", "text/plain", "", ""))
            .await?;
        if ready.status == 200 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the STS did not become ready")
}
