//! The thread that moves wasmtime's epoch on, so that a running policy looks at its deadline now and then. It sleeps
//! while no policy runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::{Engine, EngineWeak};

/// How late a deadline may be noticed.
const TICK: Duration = Duration::from_millis(2);
/// Ticks without work before the thread lies down: waking it costs the next evaluation a few microseconds.
const LINGER: u32 = 250;
/// How often a sleeping thread looks whether its engine is gone.
const NAP: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    under_way: AtomicUsize,
    asleep: AtomicBool,
}

/// Handle of the ticking thread, which ends with the engine.
#[derive(Debug)]
pub(super) struct Ticker {
    state: Arc<State>,
    thread: Thread,
}

/// Something that may have to be interrupted; ends when dropped.
pub(super) struct UnderWay(Arc<State>);

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let (engine, shared) = (engine.weak(), Arc::clone(&state));
        let handle = thread::Builder::new()
            .name("policy-ticker".into())
            .spawn(move || tick(&engine, &shared))?;
        Ok(Self {
            state,
            thread: handle.thread().clone(),
        })
    }

    /// Keeps the epoch moving until the answer is dropped.
    pub(super) fn begin(&self) -> UnderWay {
        self.state.under_way.fetch_add(1, Ordering::SeqCst);
        if self.state.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        UnderWay(Arc::clone(&self.state))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(engine: &EngineWeak, state: &State) {
    let mut idle = 0;
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        idle = if state.under_way.load(Ordering::SeqCst) == 0 {
            idle + 1
        } else {
            0
        };
        if idle < LINGER {
            thread::sleep(TICK);
        } else {
            sleep_until_needed(state);
        }
    }
}

fn sleep_until_needed(state: &State) {
    state.asleep.store(true, Ordering::SeqCst);
    if state.under_way.load(Ordering::SeqCst) == 0 {
        thread::park_timeout(NAP);
    }
    state.asleep.store(false, Ordering::SeqCst);
}
