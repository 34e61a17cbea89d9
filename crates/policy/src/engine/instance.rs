//! One instance of a policy: its memory, its limits, and one question at a time.

use super::answer::{self, Answer};
use super::meter;
use super::shelf::Shelf;
use crate::ENTRYPOINT;
use caracal_domain::decision::PolicyFault;
use futures::FutureExt;
use opa_wasm::{DefaultContext, Policy, Runtime};
use serde::Serialize;
use serde_json::value::RawValue;
use std::panic::AssertUnwindSafe;
use std::sync::Weak;
use std::time::Instant;
use wasmtime::{Engine, Module, ResourceLimiter, Store, UpdateDeadline};

/// An instance that grew beyond this is not kept: Wasm memory never shrinks. To grow beyond it, the budget must have room.
const KEEP_BYTES: usize = 2 << 20;
/// What it needs beside its memory: its store, its linked functions, and what is touched of the stack it runs on.
const OVERHEAD_BYTES: usize = 24 << 10;
/// The part of a policy's memory that is address space only: OPA's modules begin with a stack of 64 KiB, of which a
/// policy uses the last few hundred bytes.
const UNTOUCHED_BYTES: usize = 64 << 10;
/// OPA's modules have one small table.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// What an instance may take, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) memory: usize,
    pub(super) builtin_input: usize,
}

/// Watches over one instance: says no to memory, to what a builtin of the host is handed, and to time beyond the limit,
/// and remembers which.
struct Guard {
    limits: Limits,
    shelf: Weak<Shelf>,
    memory_bytes: usize,
    deadline: Instant,
    breach: Option<PolicyFault>,
}

/// A policy, ready to be asked.
pub(super) struct Instance {
    store: Store<Guard>,
    policy: Policy<DefaultContext>,
}

impl Instance {
    /// A fresh instance with empty `data`; costs about 100 µs.
    pub(super) async fn new(
        engine: &Engine,
        module: &Module,
        limits: Limits,
        shelf: &Weak<Shelf>,
        deadline: Instant,
    ) -> Result<Self, PolicyFault> {
        let mut store = Store::new(engine, Guard::new(limits, shelf, deadline));
        store.limiter(|guard| guard);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().on_tick()));
        store.set_epoch_deadline(1);
        let policy = match Runtime::new(&mut store, module).await {
            Ok(runtime) => runtime.without_data(&mut store).await,
            Err(error) => Err(error),
        };
        let policy = policy.map_err(|error| fault(&store, &error))?;
        Ok(Self { store, policy })
    }

    /// Asks the policy; answers also with the bytes of what it said, of which there may be `most_bytes`. After an error the instance must not be asked again.
    pub(super) async fn ask<I: Serialize + Sync + ?Sized>(
        &mut self,
        input: &I,
        deadline: Instant,
        most_bytes: usize,
    ) -> Result<(Answer, usize), PolicyFault> {
        self.store.data_mut().deadline = deadline;
        self.store.set_epoch_deadline(1);
        let asking = self
            .policy
            .evaluate::<_, Box<RawValue>, _>(&mut self.store, ENTRYPOINT, &input);
        // A builtin of the host that panics on what a policy gives it has failed like any other.
        let asked = AssertUnwindSafe(asking).catch_unwind().await;
        match asked {
            // Also one that ended between two ticks: what comes late is no answer.
            Ok(Ok(_)) if Instant::now() >= deadline => Err(PolicyFault::Deadline),
            Ok(Ok(result)) => Ok((answer::read(&result, most_bytes)?, result.get().len())),
            Ok(Err(error)) => Err(fault(&self.store, &error)),
            Err(_) => Err(fault(&self.store, &"a builtin panicked")),
        }
    }

    /// What it takes; of its memory's last page (64 KiB) perhaps less.
    pub(super) fn bytes(&self) -> usize {
        self.store.data().bytes()
    }

    /// Whether it is small enough to wait for the next question.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.store.data().memory_bytes <= KEEP_BYTES
    }
}

fn fault(store: &Store<Guard>, error: &dyn std::fmt::Display) -> PolicyFault {
    let fault = store.data().breach.unwrap_or(PolicyFault::Error);
    tracing::debug!(%error, %fault, "a policy did not answer");
    fault
}

impl Guard {
    fn new(limits: Limits, shelf: &Weak<Shelf>, deadline: Instant) -> Self {
        let guard = Self {
            limits,
            shelf: Weak::clone(shelf),
            memory_bytes: 0,
            deadline,
            breach: None,
        };
        if let Some(shelf) = shelf.upgrade() {
            shelf.take(guard.bytes());
        }
        guard
    }

    fn bytes(&self) -> usize {
        self.memory_bytes.saturating_sub(UNTOUCHED_BYTES) + OVERHEAD_BYTES
    }

    /// Counts memory of `wanted` bytes, if it may have that.
    fn grow(&mut self, wanted: usize) -> bool {
        let Some(shelf) = self.shelf.upgrade() else {
            return false;
        };
        let before = self.bytes();
        let more = wanted.saturating_sub(self.memory_bytes);
        let granted = wanted <= self.limits.memory && (wanted <= KEEP_BYTES || shelf.make_room(more));
        if granted {
            self.memory_bytes = wanted;
            shelf.take(self.bytes() - before);
        }
        granted
    }

    /// Called by the running policy at every tick of the epoch.
    fn on_tick(&mut self) -> UpdateDeadline {
        if Instant::now() >= self.deadline {
            self.breach = Some(PolicyFault::Deadline);
            UpdateDeadline::Interrupt
        } else {
            // tokio's own yield lets its timers and sockets run first; a plain wake would not.
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.upgrade() {
            shelf.give_back(self.bytes());
        }
    }
}

impl ResourceLimiter for Guard {
    fn memory_growing(&mut self, _now: usize, wanted: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.grow(wanted);
        if !granted {
            self.breach = Some(PolicyFault::Memory);
        }
        Ok(granted)
    }

    /// Also hears of every argument on its way to a builtin of the host: see `meter.rs`.
    fn table_growing(&mut self, now: usize, wanted: usize, most: Option<usize>) -> wasmtime::Result<bool> {
        if most != Some(meter::ROOM) {
            return Ok(wanted <= MAX_TABLE_ELEMENTS);
        }
        if wanted > self.limits.builtin_input {
            self.breach = Some(PolicyFault::BuiltinInput);
            return Err(wasmtime::Error::msg("too much for a builtin of the host"));
        }
        Ok(wanted == now)
    }
}
