//! Ingesting: take a batch, write it, and only then acknowledge it. An ingester that dies in between leaves messages
//! that come again to another; the ledger knows them by their ids.

use crate::ledger::{Ledger, Letter, Written};
use crate::metrics::Metrics;
use crate::sift::{Entry, sift};
use caracal_bus::{Delivery, Puller};
use caracal_domain::AuditEvent;
use caracal_lifecycle::trace::continue_from;
use caracal_storage::Error;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Span;

/// How many messages one transaction takes at most.
const BATCH: usize = 500;
/// How long a first message waits for company.
const LINGER: Duration = Duration::from_millis(50);
/// Between attempts while the database is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Carries one stream into the ledger.
#[derive(Debug)]
pub struct Ingester {
    ledger: Ledger,
    metrics: Metrics,
    stream: &'static str,
}

impl Ingester {
    /// An ingester of this stream.
    #[must_use]
    pub fn new(ledger: Ledger, metrics: Metrics, stream: &'static str) -> Self {
        Self {
            ledger,
            metrics,
            stream,
        }
    }

    /// Ingests until told to stop; a batch in hand is finished first.
    pub async fn run(&self, mut puller: Puller, stopping: CancellationToken) {
        loop {
            let batch = tokio::select! {
                () = stopping.cancelled() => return,
                batch = puller.batch(BATCH, LINGER) => batch,
            };
            // What is not written when the process stops was not acknowledged, and comes again.
            tokio::select! {
                () = self.ingest(&batch) => {}
                () = stop_waiting(&stopping) => return,
            }
        }
    }

    /// Writes a batch, however long it takes, and acknowledges it.
    pub async fn ingest(&self, batch: &[Delivery]) {
        // Each message has a part in its sender's trace, as long as the batch that it is written with.
        let _spans: Vec<Span> = batch.iter().map(|delivery| self.span_of(delivery)).collect();
        let mut events = Vec::new();
        for delivery in batch {
            match sift(delivery) {
                Entry::Event(event) => events.push((delivery, *event)),
                Entry::Letter { reason, payload } => {
                    self.set_aside(delivery, Letter { reason, payload }, batch).await;
                }
            }
        }
        if !self.write_together(&events, batch).await {
            for (delivery, event) in &events {
                self.write_alone(delivery, event, batch).await;
            }
        }
        self.metrics.took_batch();
    }

    fn span_of(&self, delivery: &Delivery) -> Span {
        let span = tracing::info_span!(
            "ledger.write",
            otel.kind = "consumer",
            stream = self.stream,
            message_id = delivery.id
        );
        continue_from(&span, delivery.traceparent.as_deref());
        span
    }

    /// False when something in the batch cannot be stored; then each event is tried by itself, so that it does not hold up
    /// the others.
    async fn write_together(&self, events: &[(&Delivery, AuditEvent)], batch: &[Delivery]) -> bool {
        let only_events: Vec<AuditEvent> = events.iter().map(|(_, event)| event.clone()).collect();
        match self.write(&only_events, batch).await {
            Ok(written) => {
                self.metrics.wrote(self.stream, written);
                for (delivery, _) in events {
                    delivery.ack().await;
                }
                true
            }
            Err(error) => {
                warn(&error, "something in a batch cannot be stored");
                false
            }
        }
    }

    async fn write_alone(&self, delivery: &Delivery, event: &AuditEvent, batch: &[Delivery]) {
        match self.write(std::slice::from_ref(event), batch).await {
            Ok(written) => {
                self.metrics.wrote(self.stream, written);
                delivery.ack().await;
            }
            Err(error) => {
                let payload = delivery.payload.clone().unwrap_or_default();
                let letter = Letter {
                    reason: format!("refused by the ledger: {}", chain(&error)),
                    payload,
                };
                self.set_aside(delivery, letter, batch).await;
            }
        }
    }

    /// Writes until it is done or what is written is itself at fault. Anything else that stands in the way, known or not,
    /// is the database's and passes: an event that was acknowledged is never given up for it.
    async fn write(&self, events: &[AuditEvent], batch: &[Delivery]) -> Result<Written, Error> {
        loop {
            match self.ledger.write(events).await {
                Err(error) if !error.is_about_data() => wait(&error, batch).await,
                outcome => return outcome,
            }
        }
    }

    async fn set_aside(&self, delivery: &Delivery, letter: Letter, batch: &[Delivery]) {
        self.metrics.set_aside(self.stream);
        let (id, reason) = (&delivery.id, &letter.reason);
        tracing::error!(
            stream = self.stream,
            message_id = id,
            reason,
            "a message was set aside as a dead letter"
        );
        while let Err(error) = self.ledger.keep(self.stream, delivery, letter.clone()).await {
            wait(&error, batch).await;
        }
        delivery.ack().await;
    }
}

/// While the database is away the batch in hand is kept from coming again.
async fn wait(error: &Error, batch: &[Delivery]) {
    warn(error, "the ledger cannot be written");
    for delivery in batch {
        delivery.keep().await;
    }
    sleep(PAUSE).await;
}

/// Time to finish what is in hand.
async fn stop_waiting(stopping: &CancellationToken) {
    stopping.cancelled().await;
    sleep(PAUSE * 4).await;
}

fn chain(error: &Error) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |source| source.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// Logs an error with its whole chain.
pub(crate) fn warn(error: &(dyn std::error::Error + 'static), what: &str) {
    tracing::warn!(error, "{what}");
}
