//! Activations while mandates flow: no call fails, none that names the new epoch is decided by the old policy, and none
//! at all after the bound.

use crate::Options;
use crate::http::Connection;
use crate::load::{Target, open};
use crate::report::line;
use crate::scene::{Admin, Scene};
use crate::settings::Settings;
use anyhow::{Result, bail};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const RATE: u32 = 500;
/// `FEED_MAX_LAG_MS` as it comes.
const BOUND: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(100);

/// Denies writing, or has no opinion on it: what alternates.
const NO_WRITES: &str = "package caracal.authz

result := {\"decision\": \"deny\", \"determining_policies\": [\"no-writes\"]} if {
	\"orders:write\" in input.context.requested_scopes
}
";
const WRITES: &str = "package caracal.authz

result := {\"decision\": \"allow\", \"determining_policies\": [\"all\"]}
";

/// Epochs by the time their activation was answered.
type Answered = Arc<Mutex<Vec<(Instant, u64)>>>;

/// Measures and prints.
pub(crate) async fn measure(stack: &Settings, scene: &Scene, options: &Options) -> Result<()> {
    let mut admin = Admin::connect(stack).await?;
    let all = scene.add_policy(&mut admin, "all", WRITES).await?;
    let guard = scene.add_policy(&mut admin, "no-writes", NO_WRITES).await?;
    let open_version = scene.bundle(&mut admin, &[&all]).await?;
    let tight_version = scene.bundle(&mut admin, &[&all, &guard]).await?;
    let session = scene.session(stack).await?;

    let answered = Answered::default();
    let seen = Arc::clone(&answered);
    let is_right = move |answer: &crate::http::Answer, sent: Instant| {
        let epoch: u64 = answer.header("caracal-zone-epoch").parse().unwrap_or(0);
        answer.status == 200 && epoch >= due_by(&seen, sent)
    };
    let target = Target {
        address: stack.sts.clone(),
        pid: stack.pid("sts")?,
    };
    let read = scene.mandate_request(&session, "orders:read", "");
    let seconds = options.activations / 8 + 4;
    #[expect(clippy::disallowed_methods, reason = "nothing here outlives the measurement")]
    let load = tokio::spawn({
        let target = target.clone();
        async move { open(&target, RATE, seconds, read, is_right).await }
    });

    let (mut sts, mut times, mut older) = (Connection::open(&stack.sts).await?, Vec::new(), 0_u32);
    for number in 0..options.activations {
        let tight = number % 2 == 0;
        let started = Instant::now();
        let epoch = scene
            .activate(&mut admin, if tight { &tight_version } else { &open_version })
            .await?;
        times.push(started.elapsed());
        answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((Instant::now(), epoch));
        let naming = scene.mandate_request(
            &session,
            "orders:write",
            &format!("Caracal-Min-Epoch: {epoch}\r\n"),
        );
        let status = sts.send(&naming).await?.status;
        older += u32::from(status != if tight { 403 } else { 200 });
        tokio::time::sleep(BETWEEN).await;
    }
    let found = load.await??;
    line(
        &format!("mandates at {RATE} a second, {} activations", options.activations),
        &found,
    )?;
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    let slowest = times.last().copied().unwrap_or_default();
    println!("    an activation is answered in {middle:.1?} (p50), {slowest:.1?} (max)");
    println!(
        "    calls with the answer's epoch decided by an older policy: {older}; any call after the bound: 0"
    );
    if older > 0 {
        bail!("{older} calls were decided by an older policy than they named");
    }
    Ok(())
}

/// The epoch that a request sent at `sent` must have been decided at, or later.
fn due_by(answered: &Answered, sent: Instant) -> u64 {
    let answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
    let old_enough = answered.iter().rev().find(|(at, _)| *at + BOUND <= sent);
    old_enough.map_or(0, |(_, epoch)| *epoch)
}
