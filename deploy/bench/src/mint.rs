//! The hot path: sessions, then mandates as fast as they come, then at half that rate on time.

use crate::Options;
use crate::load::{Found, Target, closed, idle, open};
use crate::report::line;
use crate::scene::Scene;
use crate::settings::Settings;
use anyhow::Result;

/// Before anything is measured: connections, caches and branch predictors.
const WARM_UP_SECONDS: u32 = 1;

/// Measures and prints.
pub(crate) async fn measure(stack: &Settings, scene: &Scene, options: &Options) -> Result<()> {
    let target = Target {
        address: stack.sts.clone(),
        pid: stack.pid("sts")?,
    };
    let (workers, seconds) = (options.workers, options.seconds);
    closed(&target, workers, WARM_UP_SECONDS, scene.session_request()).await?;
    let sessions = closed(&target, workers, seconds, scene.session_request()).await?;
    line(&format!("sessions, {workers} workers"), &sessions)?;

    let session = scene.session(stack).await?;
    let mandate = scene.mandate_request(&session, "orders:read", "");
    closed(&target, workers, WARM_UP_SECONDS, mandate.clone()).await?;
    let mandates = closed(&target, workers, seconds, mandate.clone()).await?;
    line(&format!("mandates, {workers} workers"), &mandates)?;
    let alone = closed(&target, 1, seconds, mandate.clone()).await?;
    line("mandates, 1 worker", &alone)?;

    let rate = match options.rate {
        0 => half_of(&mandates),
        rate => rate,
    };
    // What callers feel is asked of a stack that keeps up, not of one that still writes down the loops above.
    idle(stack.pid("audit")?).await?;
    let on_time = open(&target, rate, seconds, mandate, |answer, _| answer.status == 200).await?;
    line(&format!("mandates, open loop at {rate} a second"), &on_time)
}

fn half_of(found: &Found) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::as_conversions,
        reason = "a rate is a small positive number"
    )]
    let half = (found.rate() / 2.0) as u32;
    half.max(1)
}
