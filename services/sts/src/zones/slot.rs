//! One zone's place among the [`Zones`](super::Zones): its view, what it is known to lack, and whose turn it is to load.

use crate::view::ZoneView;
use arc_swap::ArcSwapOption;
use caracal_domain::Epoch;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{MutexGuard, OwnedMutexGuard};

/// See the module.
#[derive(Default)]
pub(super) struct Slot {
    view: ArcSwapOption<ZoneView>,
    lacking: Mutex<Lacking>,
    loading: Arc<tokio::sync::Mutex<()>>,
    loading_since: Mutex<Option<Instant>>,
    overflown: AtomicBool,
    /// When the database was last asked what the zone is now. Whoever asks holds it.
    confirmed: tokio::sync::Mutex<Option<Instant>>,
}

/// What was announced and is not in the view yet: up to which epoch, and since when at the longest.
#[derive(Default)]
struct Lacking(Option<(Epoch, Instant)>);

impl Lacking {
    /// A change at `epoch` came, at most as old as `since`. Whether a view that shows `held` lacks it: one that was loaded
    /// meanwhile may show it already, and nothing would ever settle it again.
    fn announce(&mut self, epoch: Epoch, since: Instant, held: Option<Epoch>) -> bool {
        if held.is_some_and(|held| held >= epoch) {
            return false;
        }
        let (latest, longest) = self.0.unwrap_or((epoch, since));
        self.0 = Some((latest.max(epoch), longest.min(since)));
        true
    }

    /// The view shows everything up to `epoch`. Read at `read_at`, what it still lacks was committed after that.
    fn settle(&mut self, epoch: Epoch, read_at: Option<Instant>) {
        self.0 = self
            .0
            .filter(|(latest, _)| *latest > epoch)
            .map(|(latest, since)| (latest, read_at.map_or(since, |at| at.max(since))));
    }

    fn is_late(&self, bound: Duration) -> bool {
        self.0.is_some_and(|(_, since)| since.elapsed() > bound)
    }
}

/// A load under way; ends when dropped, and then it is the next one's turn.
pub(super) struct Loading {
    slot: Arc<Slot>,
    _turn: OwnedMutexGuard<()>,
}

impl Slot {
    /// The view, however old.
    pub(super) fn view(&self) -> Option<Arc<ZoneView>> {
        self.view.load_full()
    }

    /// The view, unless a change it lacks is older than the bound.
    pub(super) fn current(&self, bound: Duration) -> Option<Arc<ZoneView>> {
        let late = self.lacking.lock().is_late(bound);
        if late { None } else { self.view() }
    }

    /// The view, if it shows everything up to `epoch`.
    pub(super) fn showing(&self, epoch: Epoch) -> Option<Arc<ZoneView>> {
        self.view()
            .filter(|view| view.epoch >= epoch && epoch > Epoch::default())
    }

    /// Puts a view in place unless a newer one is there, and settles what it covers; `read_at` is when it was read from the
    /// database, if it was. One with more anchors than are kept is not put in place: until the zone has fewer, each decision
    /// reads it afresh.
    pub(super) fn install(&self, view: Arc<ZoneView>, read_at: Option<Instant>) -> Arc<ZoneView> {
        let mut lacking = self.lacking.lock();
        let newer = self.view().filter(|held| held.epoch > view.epoch);
        let installed = newer.unwrap_or(view);
        let fits = installed.fits();
        self.overflown.store(!fits, Ordering::Release);
        self.view.store(fits.then(|| Arc::clone(&installed)));
        lacking.settle(installed.epoch, read_at);
        installed
    }

    /// A change at `epoch`, at most as old as `since`, is to come; whether the view lacks it.
    pub(super) fn announce(&self, epoch: Epoch, since: Instant) -> bool {
        let mut lacking = self.lacking.lock();
        lacking.announce(epoch, since, self.view().map(|view| view.epoch))
    }

    /// Whether the zone has more anchors than are kept, so that nothing of it is.
    pub(super) fn is_overflown(&self) -> bool {
        self.overflown.load(Ordering::Acquire)
    }

    /// Whether a load has been under way for longer than `bound`: nobody should wait for it.
    pub(super) fn is_stuck(&self, bound: Duration) -> bool {
        self.loading_since
            .lock()
            .is_some_and(|since| since.elapsed() > bound)
    }

    /// Waits for the turn to confirm what the zone is, and says when that was last begun.
    pub(super) async fn confirming(&self) -> MutexGuard<'_, Option<Instant>> {
        self.confirmed.lock().await
    }

    /// Waits for the turn to load. Single flight: whoever waited may find it done.
    pub(super) async fn turn(self: &Arc<Self>) -> Loading {
        let turn = Arc::clone(&self.loading).lock_owned().await;
        *self.loading_since.lock() = Some(Instant::now());
        Loading {
            slot: Arc::clone(self),
            _turn: turn,
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        *self.slot.loading_since.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(2);

    fn ago(seconds: u64) -> Instant {
        Instant::now()
            .checked_sub(Duration::from_secs(seconds))
            .expect("the machine has run for longer")
    }

    #[test]
    fn what_a_view_loaded_meanwhile_shows_is_not_lacking() {
        let mut lacking = Lacking::default();
        assert!(!lacking.announce(5.into(), ago(10), Some(5.into())));
        assert!(!lacking.is_late(BOUND), "nothing would ever settle it");
        assert!(lacking.announce(6.into(), ago(10), Some(5.into())));
        assert!(lacking.is_late(BOUND));
        lacking.settle(6.into(), None);
        assert!(!lacking.is_late(BOUND));
    }

    #[test]
    fn a_load_that_missed_the_latest_change_is_late_from_when_it_read() {
        let mut lacking = Lacking::default();
        assert!(lacking.announce(6.into(), ago(10), Some(5.into())));
        assert!(lacking.announce(8.into(), ago(1), Some(5.into())));
        lacking.settle(7.into(), None);
        assert!(lacking.is_late(BOUND), "anchors came, the change did not");
        lacking.settle(7.into(), Some(ago(1)));
        assert!(!lacking.is_late(BOUND));
        lacking.settle(8.into(), Some(ago(0)));
        assert!(lacking.announce(9.into(), ago(0), Some(8.into())));
    }
}
