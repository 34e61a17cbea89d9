//! Threads for the evaluations that take long, apart from those that answer HTTP: however many policies run wild, a call
//! that has nothing to do with them waits for its processor as it would for any other thread's work, not behind them.

use super::share::Turns;
use std::pin::Pin;
use std::task::Poll;
use std::thread::available_parallelism;
use tokio::runtime::{Builder, Runtime};

/// See the module.
#[derive(Debug)]
pub(super) struct Pool(Option<Runtime>);

impl Pool {
    /// Half of the processors: what runs wild has no claim to more.
    pub(super) fn start() -> std::io::Result<Self> {
        let threads = available_parallelism().map_or(1, |processors| processors.get() / 2);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("policy")
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Does the work where it is called until it first pauses, which a policy does at its first tick, and the rest in
    /// the pool, from tick to tick as its account has a turn. `None` when it panicked there.
    pub(super) async fn run<W>(&self, mut work: Pin<Box<W>>, turns: Turns) -> Option<W::Output>
    where
        W: Future<Output: Send> + Send + 'static,
    {
        let first = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        match (first, &self.0) {
            (Poll::Ready(done), _) => Some(done),
            (Poll::Pending, Some(threads)) => threads.spawn(in_turns(work, turns)).await.ok(),
            (Poll::Pending, None) => None,
        }
    }
}

/// Goes on with the work for one tick at each turn. Accounts thus take the threads in rotation, and one with sixteen long
/// decisions gets no more of them than one with a single one.
async fn in_turns<W: Future>(mut work: Pin<Box<W>>, turns: Turns) -> W::Output {
    loop {
        let turn = turns.acquire().await;
        let tick = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        drop(turn);
        match tick {
            Poll::Ready(done) => return done,
            Poll::Pending => tokio::task::yield_now().await,
        }
    }
}

impl Drop for Pool {
    /// Waits for nothing: an engine may be dropped where waiting is not allowed, and what runs ends at its deadline.
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}
