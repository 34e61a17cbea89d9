//! Background tasks: started by name, stopped together, and loud when they panic.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

static OF_PROCESS: OnceLock<Tasks> = OnceLock::new();

/// Runs `work` in the background of this process, as [`Tasks::spawn`] does; outside a service, as in a test, on the
/// current run time.
pub fn spawn<F>(name: &'static str, work: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    OF_PROCESS.get().cloned().unwrap_or_default().spawn(name, work);
}

/// The background tasks of a process, all on its main run time.
#[derive(Debug, Clone)]
pub struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: Arc<AtomicBool>,
}

impl Tasks {
    /// An empty set on the run time this is called from.
    ///
    /// # Panics
    /// When called outside a run time.
    #[must_use]
    pub fn new() -> Self {
        Self {
            runtime: Handle::current(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            failed: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The set that [`spawn`] adds to.
    pub(crate) fn of_process() -> Self {
        OF_PROCESS.get_or_init(Self::new).clone()
    }

    /// Runs `work` until it ends or the process stops, when it is dropped at its next await. If it panics, that is
    /// logged and the whole process stops: a service that has lost a part must not look well.
    pub fn spawn<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.watch(name, async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Runs `work` to its end, which it must find by itself once [`Tasks::stopping`] fires.
    pub fn spawn_to_end<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.watch(name, work);
    }

    /// Fires when the process stops, after its requests have been drained.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether a task has panicked.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Tells every task to stop and waits for all.
    pub async fn finish(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn watch<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, failed) = (self.stop.clone(), Arc::clone(&self.failed));
        let running = self.tracker.spawn_on(work, &self.runtime);
        self.runtime.spawn(async move {
            if let Err(error) = running.await
                && error.is_panic()
            {
                tracing::error!(task = name, "a background task panicked; stopping");
                failed.store(true, Ordering::Relaxed);
                stop.cancel();
            }
        });
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_stop_together() {
        let tasks = Tasks::new();
        tasks.spawn("forever", std::future::pending());
        let stopping = tasks.stopping();
        tasks.spawn_to_end("by itself", async move { stopping.cancelled().await });
        tasks.finish().await;
        assert!(!tasks.failed());
    }

    #[tokio::test]
    async fn a_panic_stops_the_process() {
        let tasks = Tasks::new();
        tasks.spawn("faulty", async { panic!("on purpose") });
        tasks.stopping().cancelled().await;
        assert!(tasks.failed());
    }
}
