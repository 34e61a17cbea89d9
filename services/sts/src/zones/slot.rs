//! One zone's place among the [`Zones`](super::Zones): its view, what it is known to lack, and whose turn it is to load.

use crate::view::ZoneView;
use arc_swap::ArcSwapOption;
use caracal_domain::Epoch;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;

/// See the module.
#[derive(Default)]
pub(super) struct Slot {
    view: ArcSwapOption<ZoneView>,
    overdue: Mutex<Option<Overdue>>,
    loading: Arc<tokio::sync::Mutex<()>>,
    loading_since: Mutex<Option<Instant>>,
    overflown: AtomicBool,
}

/// A change that was announced and is not in the view yet.
#[derive(Clone, Copy)]
struct Overdue {
    epoch: Epoch,
    since: Instant,
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
        let overdue = *self.overdue.lock();
        let late = overdue.is_some_and(|overdue| overdue.since.elapsed() > bound);
        if late { None } else { self.view() }
    }

    /// The view, if it shows everything up to `epoch`.
    pub(super) fn showing(&self, epoch: Epoch) -> Option<Arc<ZoneView>> {
        self.view()
            .filter(|view| view.epoch >= epoch && epoch > Epoch::default())
    }

    /// Puts a view in place unless a newer one is there, and settles what it covers. One with more anchors than are
    /// kept is not put in place: until the zone has fewer, each decision reads it afresh.
    pub(super) fn install(&self, view: Arc<ZoneView>) -> Arc<ZoneView> {
        let mut overdue = self.overdue.lock();
        let newer = self.view().filter(|held| held.epoch > view.epoch);
        let installed = newer.unwrap_or(view);
        let fits = installed.fits();
        self.overflown.store(!fits, Ordering::Release);
        self.view.store(fits.then(|| Arc::clone(&installed)));
        if overdue.is_some_and(|change| change.epoch <= installed.epoch) {
            *overdue = None;
        }
        installed
    }

    /// The same for a view read from the database at `read_at`: what it still lacks was committed after that.
    pub(super) fn install_read(&self, view: Arc<ZoneView>, read_at: Instant) -> Arc<ZoneView> {
        let installed = self.install(view);
        if let Some(change) = self.overdue.lock().as_mut() {
            change.since = change.since.max(read_at);
        }
        installed
    }

    /// A change at `epoch`, at most as old as `since`, is to come. Whether the view lacks it: one that was loaded
    /// meanwhile may show it already.
    pub(super) fn announce(&self, epoch: Epoch, since: Instant) -> bool {
        let mut overdue = self.overdue.lock();
        if self.showing(epoch).is_some() {
            return false;
        }
        let earlier = overdue.unwrap_or(Overdue { epoch, since });
        *overdue = Some(Overdue {
            epoch: earlier.epoch.max(epoch),
            since: earlier.since.min(since),
        });
        true
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
