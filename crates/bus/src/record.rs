//! No record, no mandate: a decision is stored before anyone may act on it (architecture, "No record, no mandate").

use crate::BoxError;
use crate::bounded_wait::within;
use crate::breaker::Breaker;
use crate::cause::cause;
use crate::connection::{Ack, Bus};
use crate::stats::Stats;
use crate::streams::USES_STREAM;
use caracal_domain::AuditEvent;
use caracal_domain::id::TokenId;
use caracal_trace::current_traceparent;
use caracal_wire::{AUDIT_SUBJECT, USES_SUBJECT, decode_audit, encode_audit};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How long `JetStream` may take to acknowledge before the spool is asked.
const ACK_DEADLINE: Duration = Duration::from_millis(250);
/// How long the spool may take.
const SPOOL_DEADLINE: Duration = Duration::from_secs(2);
/// How long a stopping service waits for its last refusals to be stored.
const FLUSH: Duration = Duration::from_secs(3);
/// How many refusals may wait to be recorded.
const NOTES: usize = 8192;
/// How many of them are on their way at once.
const NOTES_IN_FLIGHT: usize = 64;

/// The store of last resort: `event_spool` in PostgreSQL, drained by the relay.
pub trait Spool: Send + Sync {
    /// Keeps the event, whose encoded form is `payload`, durably; `traceparent` is that of the request it is about.
    fn append<'a>(
        &'a self,
        event: &'a AuditEvent,
        payload: Vec<u8>,
        traceparent: Option<String>,
    ) -> BoxFuture<'a, Result<(), BoxError>>;
}

/// Where a decision was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// `JetStream` acknowledged it.
    Published,
    /// It waits in PostgreSQL.
    Spooled,
}

/// What a mandate's admission turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nobody presented it before.
    First,
    /// It was admitted before, here or elsewhere.
    Replay,
}

/// No store took the event: whatever it records must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no store took the record")]
pub struct NoRecord;

/// Records decisions. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    stores: Arc<Stores>,
    notes: mpsc::UnboundedSender<Note>,
    room: Arc<Semaphore>,
}

struct Stores {
    bus: Bus,
    spool: Arc<dyn Spool>,
    events: Breaker,
    uses: Breaker,
}

/// A refusal on its way, holding its place in the queue until it is stored.
type Note = (AuditEvent, Option<String>, OwnedSemaphorePermit);

impl Recorder {
    /// A recorder, and the task that records what was only noted; the task ends when every recorder is gone.
    pub fn new(bus: Bus, fallback: Arc<dyn Spool>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let stores = Arc::new(Stores {
            bus,
            spool: fallback,
            events: Breaker::default(),
            uses: Breaker::default(),
        });
        let (sender, receiver) = mpsc::unbounded_channel();
        let recorder = Self {
            stores: Arc::clone(&stores),
            notes: sender,
            room: Arc::new(Semaphore::new(NOTES)),
        };
        (recorder, stores.drain(receiver))
    }

    /// What the bus it records on has counted.
    #[must_use]
    pub(crate) fn stats(&self) -> &Stats {
        self.stores.bus.stats()
    }

    /// Records a decision before it takes effect: `JetStream` within 250 ms, else the spool.
    ///
    /// # Errors
    /// When neither took it; the decision must not take effect.
    pub async fn record(&self, event: &AuditEvent) -> Result<Recorded, NoRecord> {
        let recorded = self.stores.store(event, current_traceparent()).await;
        if recorded.is_err() {
            self.stores.bus.stats().unrecorded.increment();
        }
        recorded
    }

    /// Records a refusal without making anyone wait. When too many wait already it is dropped and counted.
    pub fn note(&self, event: AuditEvent) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            return self.stores.drop_note("the queue is full");
        };
        if self.notes.send((event, current_traceparent(), place)).is_err() {
            self.stores.drop_note("the recorder has stopped");
        }
    }

    /// Runs the task that came with the recorder until `stopping`, and then until what was noted by then is stored.
    /// For a service's shutdown: a refusal on its way is not lost.
    pub async fn run_until(self, task: impl Future<Output = ()>, stopping: impl Future<Output = ()>) {
        let stopped = async {
            stopping.await;
            self.flush(FLUSH).await;
        };
        tokio::select! {
            () = task => {}
            () = stopped => {}
        }
    }

    /// Waits until everything noted so far is stored or dropped, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let everyone = u32::try_from(NOTES).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(limit, self.room.acquire_many(everyone)).await;
    }

    /// Records the admission of a mandate; the same publish is the replay check. Never spooled: a record that does not
    /// see its duplicates is none.
    ///
    /// # Errors
    /// When `JetStream` did not answer; the mandate must not pass.
    pub async fn record_use(&self, event: &AuditEvent, jti: TokenId) -> Result<Use, NoRecord> {
        let outcome = self.stores.record_use(event, jti).await;
        match outcome {
            Ok(Use::Replay) => self.stores.bus.stats().replays.increment(),
            Err(NoRecord) => self.stores.bus.stats().unrecorded.increment(),
            Ok(Use::First) => {}
        }
        outcome
    }
}

impl Stores {
    async fn store(&self, event: &AuditEvent, traceparent: Option<String>) -> Result<Recorded, NoRecord> {
        let payload = encode_audit(event);
        let id = event.id.to_string();
        if self
            .publish(
                &self.events,
                AUDIT_SUBJECT,
                &id,
                &payload,
                traceparent.as_deref(),
                1,
            )
            .await
            .is_ok()
        {
            return Ok(Recorded::Published);
        }
        match within(SPOOL_DEADLINE, self.spool.append(event, payload, traceparent)).await {
            Ok(()) => {
                self.bus.stats().spooled.increment();
                Ok(Recorded::Spooled)
            }
            Err(error) => {
                tracing::error!(error = cause(&*error), event_id = %id, "no store took a decision");
                Err(NoRecord)
            }
        }
    }

    async fn record_use(&self, event: &AuditEvent, jti: TokenId) -> Result<Use, NoRecord> {
        let (id, payload, trace) = (format!("use:{jti}"), encode_audit(event), current_traceparent());
        let ack = self
            .publish(&self.uses, USES_SUBJECT, &id, &payload, trace.as_deref(), 2)
            .await?;
        if ack.duplicate {
            self.whose(event, ack.sequence).await
        } else {
            Ok(Use::First)
        }
    }

    /// A duplicate acknowledgement names the stored message: our own event means our own retry.
    async fn whose(&self, event: &AuditEvent, sequence: u64) -> Result<Use, NoRecord> {
        let stored = within(ACK_DEADLINE, self.bus.raw_message(USES_STREAM, sequence))
            .await
            .map_err(|error| {
                tracing::error!(error = cause(&*error), sequence, "the first use cannot be read");
                NoRecord
            })?;
        let stored = stored
            .payload
            .ok()
            .and_then(|payload| decode_audit(&payload).ok());
        Ok(if stored.is_some_and(|stored| stored.id == event.id) {
            Use::First
        } else {
            Use::Replay
        })
    }

    /// Up to `attempts` publishes with the same id, if the breaker lets them through.
    async fn publish(
        &self,
        breaker: &Breaker,
        subject: &str,
        id: &str,
        payload: &[u8],
        traceparent: Option<&str>,
        attempts: usize,
    ) -> Result<Ack, NoRecord> {
        // Without a connection a publish fails at once and costs nothing: nothing for the breaker to protect from, and
        // nothing that should keep it open once the connection is back.
        if !self.bus.is_connected() || !breaker.admits(Instant::now()) {
            return Err(NoRecord);
        }
        for _ in 0..attempts {
            match within(
                ACK_DEADLINE,
                self.bus.publish(subject, id, payload.to_vec(), traceparent),
            )
            .await
            {
                Ok(ack) => {
                    breaker.succeeded();
                    return Ok(ack);
                }
                Err(error) => tracing::debug!(error = cause(&*error), subject, "not acknowledged"),
            }
        }
        if breaker.failed(Instant::now()) {
            self.bus.stats().breaker_openings.increment();
            tracing::warn!(subject, "JetStream does not acknowledge; the breaker opens");
        }
        Err(NoRecord)
    }

    async fn drain(self: Arc<Self>, receiver: mpsc::UnboundedReceiver<Note>) {
        let notes = futures::stream::unfold(receiver, async |mut receiver| {
            let note = receiver.recv().await?;
            Some((note, receiver))
        });
        notes
            .for_each_concurrent(NOTES_IN_FLIGHT, async |(event, traceparent, _place)| {
                if self.store(&event, traceparent).await.is_err() {
                    self.drop_note("no store took it");
                }
            })
            .await;
    }

    fn drop_note(&self, why: &str) {
        self.bus.stats().notes_dropped.increment();
        tracing::error!(why, "a refusal was not recorded");
    }
}
