//! Keeps a dead `JetStream` from costing every call its whole patience.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How long after a failure the next attempt is made.
const REST: Duration = Duration::from_secs(1);

/// Closed: every call tries. Open: one call a second tries, the others are told at once that it is of no use.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    retry_at: Mutex<Option<Instant>>,
}

impl Breaker {
    /// Whether this call may try. While open, whoever is let through is the probe: the next one waits again.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut retry = self.retry_at.lock();
        match *retry {
            None => true,
            Some(at) if at <= now => {
                *retry = Some(now + REST);
                true
            }
            Some(_) => false,
        }
    }

    /// It worked: closed again.
    pub(crate) fn succeeded(&self) {
        *self.retry_at.lock() = None;
    }

    /// It failed: open. Answers whether it was closed before.
    pub(crate) fn failed(&self, now: Instant) -> bool {
        self.retry_at.lock().replace(now + REST).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_probes_after_a_rest_and_success_closes_again() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        assert!(breaker.admits(start));
        assert!(breaker.failed(start), "the first failure opens");
        assert!(!breaker.failed(start), "the second finds it open");
        assert!(!breaker.admits(start + REST / 2));
        assert!(breaker.admits(start + REST), "the probe");
        assert!(!breaker.admits(start + REST), "only one");
        breaker.succeeded();
        assert!(breaker.admits(start) && breaker.admits(start));
    }
}
