//! Work that must not stop half way.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::Instrument;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` to its end even when the caller is dropped: actix-web drops a handler at its await when the client
/// resets the connection, and a commit must not depend on that.
///
/// # Panics
/// When `work` panics, so that the panic is seen where it belongs.
#[expect(clippy::disallowed_methods, reason = "a task of its own is the point")]
pub async fn to_completion<F, T>(work: F) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    match tokio::spawn(counted(work)).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a stopping run time cancels the task, and it drops this caller too.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Runs `work` to its end with nobody waiting for it, as a destructor must. Nothing happens where nothing can run any
/// more.
pub fn finish<F: Future<Output = ()> + Send + 'static>(work: F) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(counted(work)));
    }
}

fn counted<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let running = Running::begin();
    let task = async move {
        let outcome = work.await;
        drop(running);
        outcome
    };
    task.in_current_span()
}

/// Waits, at most `patience`, until nothing started by [`to_completion`] or [`finish`] is running any more.
pub async fn settled(patience: Duration) {
    let until_none = async {
        while RUNNING.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Out of patience is an answer too: the process is stopping either way.
    let _ = tokio::time::timeout(patience, until_none).await;
}

struct Running;

impl Running {
    fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}
