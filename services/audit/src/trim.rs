//! Keeps the stream of uses from growing for a day: what the ledger holds and no duplicate can refer to any more goes.

use crate::app::DURABLE;
use caracal_bus::{Bus, Reached, USES_STREAM};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Between looks.
const LOOK: Duration = Duration::from_mins(1);
/// Longer than the duplicate window of the stream (20 min), which is longer than a mandate lives.
const KEPT: Duration = Duration::from_mins(22);

/// Each minute notes how far the ledger has come, and forgets the uses that it held already 22 minutes ago.
pub(crate) async fn trim_uses(bus: Bus) {
    let puller = bus.pull(USES_STREAM, DURABLE);
    let mut reached = VecDeque::new();
    loop {
        sleep(LOOK).await;
        match puller.acknowledged().await {
            Ok(so_far) => reached.push_back((Instant::now(), so_far)),
            Err(error) => tracing::debug!(%error, "how far the ledger has come is unknown"),
        }
        let Some(so_far) = old_enough(&mut reached, Instant::now()) else {
            continue;
        };
        if let Err(error) = bus.forget(USES_STREAM, so_far).await {
            tracing::debug!(%error, "uses were not trimmed");
        }
    }
}

/// The furthest point reached long enough ago; what was noted before it is dropped.
fn old_enough(reached: &mut VecDeque<(Instant, Reached)>, now: Instant) -> Option<Reached> {
    let mut latest = None;
    while let Some((_, so_far)) = reached.pop_front_if(|(at, _)| now.duration_since(*at) >= KEPT) {
        latest = Some(so_far);
    }
    latest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_reached_long_ago_is_forgotten() {
        let start = Instant::now();
        let at = |sequence| Reached {
            stream_made_at: None,
            sequence,
        };
        let mut reached = VecDeque::from([(start, at(5)), (start + LOOK, at(9)), (start + LOOK * 2, at(12))]);
        assert_eq!(old_enough(&mut reached, start + LOOK * 21), None);
        assert_eq!(old_enough(&mut reached, start + KEPT + LOOK), Some(at(9)));
        assert_eq!(old_enough(&mut reached, start + KEPT + LOOK), None);
        assert_eq!(reached.len(), 1);
    }
}
