//! Refused attempts on their way to the ledger. Those of known actors are in the spool before they are answered. Those of
//! strangers belong to no tenant and nobody waits for them: they go through a bounded queue into the spool, and the system
//! zone keeps only so many of them and the rest as a count once a minute (architecture, "No record, no mandate").

use crate::app::Api;
use crate::error::Failure;
use crate::sight::Sight;
use caracal_domain::event::{AuditDecision, EventType, shortened};
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::quota::StrangersQuota;
use caracal_domain::{AuditEvent, RequestId, Timestamp};
use caracal_storage::spool;
use caracal_wire::AUDIT_SUBJECT;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

const WAITING: usize = 4096;
const AT_ONCE: usize = 64;
const SUMMARY_EVERY: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(500);

/// Whose ledger a refusal belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ledger {
    /// This zone's.
    Zone(ZoneId),
    /// The system zone's: a global token, and no zone it reached.
    System,
    /// The system zone's, as far as there is room: nobody we know, calling from here.
    Strangers(IpAddr),
}

/// A refused attempt.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) ledger: Ledger,
    /// `<noun>.<verb>`.
    pub(crate) what: String,
    pub(crate) request_id: RequestId,
    /// The code of the answer.
    pub(crate) reason: &'static str,
    pub(crate) metadata: Value,
    pub(crate) at: Timestamp,
    pub(crate) trace: Option<String>,
}

/// The queue.
pub(crate) struct Refusals {
    sender: mpsc::Sender<Refused>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Refused>>,
    strangers: Mutex<StrangersQuota>,
    suppressed: AtomicU64,
}

impl Default for Refusals {
    fn default() -> Self {
        let (sender, waiting) = mpsc::channel(WAITING);
        Self {
            sender,
            waiting: tokio::sync::Mutex::new(waiting),
            strangers: Mutex::default(),
            suppressed: AtomicU64::new(0),
        }
    }
}

impl Refusals {
    /// Queues a refusal; one too many is counted.
    pub(crate) fn note(&self, mut refused: Refused) {
        let room = match refused.ledger {
            Ledger::Zone(_) | Ledger::System => true,
            Ledger::Strangers(source) => self.strangers.lock().admits(source, refused.at),
        };
        if matches!(refused.ledger, Ledger::Strangers(_)) {
            refused.metadata = shortened(refused.metadata);
        }
        if !room || self.sender.try_send(refused).is_err() {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Moves refusals into the spool for as long as the service lives.
pub(crate) async fn keep_recording(api: Arc<Api>) {
    let mut waiting = api.refusals.waiting.lock().await;
    let mut batch = Vec::with_capacity(AT_ONCE);
    let mut summary = tokio::time::interval(SUMMARY_EVERY);
    loop {
        tokio::select! {
            _ = summary.tick() => batch.extend(api.summary()),
            _ = waiting.recv_many(&mut batch, AT_ONCE) => {}
        }
        while let Err(failure) = api.spool_refusals(&batch).await {
            warn(&failure, batch.len());
            tokio::time::sleep(PAUSE).await;
        }
        batch.clear();
    }
}

fn warn(failure: &Failure, waiting: usize) {
    let cause: &(dyn std::error::Error + 'static) = failure;
    tracing::warn!(error = cause, waiting, "refusals are not recorded");
}

impl Api {
    /// Spools what still waits when the service stops.
    pub(crate) async fn flush_refusals(&self) {
        let mut batch = Vec::new();
        if let Ok(mut waiting) = self.refusals.waiting.try_lock() {
            while let Ok(refused) = waiting.try_recv() {
                batch.push(refused);
            }
        }
        if let Err(failure) = self.spool_refusals(&batch).await {
            warn(&failure, batch.len());
        }
    }

    /// Spools the refusal of somebody known. While the database cannot take it, it waits with the others.
    pub(crate) async fn record_refusal(&self, refused: Refused) {
        let batch = [refused];
        if let Err(failure) = self.spool_refusals(&batch).await {
            warn(&failure, batch.len());
            let [refused] = batch;
            self.refusals.note(refused);
        }
    }

    async fn spool_refusals(&self, batch: &[Refused]) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin(Sight::Everything).await?;
        let system = self.system_zone(&mut tx).await?;
        for refused in batch {
            let zone = match refused.ledger {
                Ledger::Zone(zone) => zone,
                Ledger::System | Ledger::Strangers(_) => system,
            };
            let event = self.event(zone, refused);
            let payload = caracal_wire::encode_audit(&event);
            let trace = refused.trace.as_deref();
            spool::append(&tx, zone, event.id, AUDIT_SUBJECT, &payload, trace).await?;
        }
        Ok(tx.commit().await?)
    }

    fn event(&self, zone: ZoneId, refused: &Refused) -> AuditEvent {
        let event = AuditEvent::new(
            EventId::mint(&*self.clock),
            zone,
            EventType::Admin(refused.what.clone()),
            refused.request_id.clone(),
            AuditDecision::Deny,
            refused.metadata.clone(),
            refused.at,
        );
        event.because(refused.reason)
    }

    fn summary(&self) -> Option<Refused> {
        let suppressed = self.refusals.suppressed.swap(0, Ordering::Relaxed);
        (suppressed > 0).then(|| Refused {
            ledger: Ledger::System,
            what: "attempt.suppressed".to_owned(),
            request_id: RequestId::accept_or_mint(None, &*self.clock),
            reason: "strangers_suppressed",
            metadata: json!({"suppressed": suppressed, "service": "api"}),
            at: self.clock.now(),
            trace: None,
        })
    }
}
