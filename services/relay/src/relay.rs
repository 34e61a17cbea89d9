//! Draining: claim with a lease, publish, and only then mark or delete. A relay that dies in between leaves rows whose
//! lease runs out; publishing them again is harmless, since their ids deduplicate.

use crate::metrics::Metrics;
use caracal_bus::{Bus, PublishError};
use caracal_domain::id::InstanceId;
use caracal_lifecycle::trace::{continue_from, traceparent_of};
use caracal_storage::{Database, Error, outbox, spool};
use futures::{FutureExt as _, Stream, StreamExt as _, pin_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument as _;

/// How many rows are claimed, and published, at once.
const BATCH: i64 = 64;
const IN_FLIGHT: usize = 64;
/// How long one publish may take.
const PUBLISH: Duration = Duration::from_secs(1);
/// How long a claim holds: longer than a batch takes, shorter than anyone would want to wait for a dead relay.
const LEASE: Duration = Duration::from_secs(3);
/// Between the beginnings of two rounds. The first of a burst is drained at once; under load a round then moves what came
/// in this long instead of a row or two, which costs PostgreSQL, JetStream and whoever reads behind them less.
const PACE: Duration = Duration::from_millis(10);
/// The safety net under the notifications.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// After a round that did not publish everything.
const REST: Duration = Duration::from_millis(100);
/// Between looks at the gauges.
const LOOK: Duration = Duration::from_secs(1);
/// Between rounds of making and dropping partitions.
const MAINTENANCE: Duration = Duration::from_mins(10);

/// Moves rows from PostgreSQL to `JetStream`.
#[derive(Debug)]
pub struct Relay {
    pub(crate) database: Database,
    pub(crate) bus: Bus,
    pub(crate) metrics: Metrics,
    /// Who holds the leases: this process.
    pub(crate) holder: String,
    /// Somebody knows of rows to move.
    pub(crate) wake: Notify,
    database_answers: AtomicBool,
}

/// What became of one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many rows were claimed.
    pub claimed: usize,
    /// How many of them `JetStream` acknowledged.
    pub published: usize,
}

impl Moved {
    /// Whether there may have been more than were claimed.
    fn is_full(self) -> bool {
        i64::try_from(self.claimed).is_ok_and(|claimed| claimed >= BATCH)
    }
}

/// What to do after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another: there may be more.
    Again,
    /// Wait to be woken.
    Wait,
    /// Rest: something was not published, and would not be at once.
    Rest,
}

impl Relay {
    /// A relay that claims under the name of this instance.
    #[must_use]
    pub fn new(database: Database, bus: Bus, instance: InstanceId, metrics: Metrics) -> Self {
        Self {
            database,
            bus,
            metrics,
            holder: instance.to_string(),
            wake: Notify::new(),
            database_answers: AtomicBool::new(false),
        }
    }

    /// Drains whenever there may be something to drain.
    pub async fn run(&self, wakes: impl Stream<Item = ()>) {
        pin_mut!(wakes);
        loop {
            let began = Instant::now();
            match self.drain().await {
                // What a full batch left behind waits for nothing.
                Ok(Next::Again) => {}
                Ok(Next::Wait) => {
                    tokio::select! {
                        _ = wakes.next() => {}
                        () = self.wake.notified() => {}
                        () = sleep(SLOW_POLL) => {}
                    }
                    sleep_until(began + PACE).await;
                    // One round serves all that were told of meanwhile; a round for each would find nothing.
                    while let Some(Some(())) = wakes.next().now_or_never() {}
                }
                Ok(Next::Rest) => sleep(REST).await,
                Err(error) => {
                    warn(&error, "the outbox cannot be drained");
                    sleep(SLOW_POLL).await;
                }
            }
        }
    }

    /// Publishes one batch of the outbox.
    ///
    /// # Errors
    /// When PostgreSQL cannot be asked; what was published meanwhile is published again later, as a duplicate.
    pub async fn drain_outbox(&self) -> Result<Moved, Error> {
        let rows = outbox::claim(&mut *self.database.acquire().await?, &self.holder, BATCH, LEASE).await?;
        let claimed = rows.len();
        let published = self.publish_all(rows.into_iter().map(Row::from)).await;
        if claimed > 0 {
            let mut conn = self.database.acquire().await?;
            outbox::mark_published(&mut conn, &published).await?;
            if published.len() < claimed {
                outbox::release(&mut conn, &self.holder).await?;
            }
        }
        Ok(Moved {
            claimed,
            published: published.len(),
        })
    }

    /// Publishes one batch of the spool.
    ///
    /// # Errors
    /// As [`Relay::drain_outbox`].
    pub async fn drain_spool(&self) -> Result<Moved, Error> {
        let rows = spool::claim(&mut *self.database.acquire().await?, &self.holder, BATCH, LEASE).await?;
        let claimed = rows.len();
        let published = self.publish_all(rows.into_iter().map(Row::from)).await;
        if !published.is_empty() {
            spool::delete(&mut *self.database.acquire().await?, &published).await?;
        }
        Ok(Moved {
            claimed,
            published: published.len(),
        })
    }

    /// Gives up what this relay holds, so that nobody waits for its leases to run out.
    pub async fn release(&self) {
        if let Ok(mut conn) = self.database.acquire().await
            && let Err(error) = outbox::release(&mut conn, &self.holder).await
        {
            tracing::debug!(%error, "leases were left to run out");
        }
    }

    /// Whether PostgreSQL answered when it was last asked.
    #[must_use]
    pub fn database_answers(&self) -> bool {
        self.database_answers.load(Ordering::Relaxed)
    }

    /// Keeps the gauges current.
    pub async fn look_for_ever(&self) {
        loop {
            // One that says nothing is as good as away.
            let looked = timeout(LOOK * 2, self.look()).await;
            let answers = matches!(looked, Ok(Ok(())));
            self.database_answers.store(answers, Ordering::Relaxed);
            sleep(LOOK).await;
        }
    }

    /// Makes the partitions of the days to come and drops those whose rows were all published.
    pub async fn maintain_for_ever(&self) {
        loop {
            let maintained = match self.database.acquire().await {
                Ok(mut conn) => outbox::maintain_partitions(&mut conn).await,
                Err(error) => Err(error),
            };
            let pause = match maintained {
                Ok(()) => MAINTENANCE,
                Err(error) => {
                    warn(&error, "partitions were not maintained");
                    SLOW_POLL * 30
                }
            };
            sleep(pause).await;
        }
    }

    /// One round. Without NATS nothing is claimed: another relay may reach it.
    async fn drain(&self) -> Result<Next, Error> {
        if !self.bus.is_connected() {
            return Ok(Next::Rest);
        }
        // On the heap: whoever runs this for ever would carry room for both.
        let (outbox, spool) = tokio::try_join!(Box::pin(self.drain_outbox()), Box::pin(self.drain_spool()))?;
        let rounds = [outbox, spool];
        Ok(if rounds.iter().any(|moved| moved.published < moved.claimed) {
            Next::Rest
        } else if rounds.iter().any(|moved| moved.is_full()) {
            Next::Again
        } else {
            Next::Wait
        })
    }

    /// The ids of those that `JetStream` has stored, now or before.
    async fn publish_all<Id>(&self, rows: impl Iterator<Item = Row<Id>>) -> Vec<Id> {
        let publish = |row: Row<Id>| async move {
            match timeout(PUBLISH, self.publish(&row)).await {
                Ok(Ok(())) => Some(row.id),
                Ok(Err(error)) => {
                    warn(&error, "a row was not published");
                    None
                }
                Err(_) => None,
            }
        };
        let published = futures::stream::iter(rows)
            .map(publish)
            .buffer_unordered(IN_FLIGHT);
        published.filter_map(std::future::ready).collect().await
    }

    async fn publish<Id>(&self, row: &Row<Id>) -> Result<(), PublishError> {
        let (subject, id) = (row.subject.as_str(), row.message_id.as_str());
        let span = tracing::info_span!("relay.publish", otel.kind = "producer", subject, message_id = id);
        continue_from(&span, row.traceparent.as_deref());
        // Where nothing is traced, what the row says goes on as it is.
        let traceparent = traceparent_of(&span).or_else(|| row.traceparent.clone());
        let ack = self
            .bus
            .publish(subject, id, row.payload.clone(), traceparent.as_deref())
            .instrument(span)
            .await?;
        self.metrics.published(ack.duplicate);
        Ok(())
    }

    async fn look(&self) -> Result<(), Error> {
        let mut conn = self.database.acquire().await?;
        let outbox = outbox::unpublished(&mut conn).await?;
        let oldest = outbox::oldest_unpublished(&mut conn).await?;
        let spool = spool::waiting(&mut conn).await?;
        let now = caracal_storage::database_time(&mut conn).await?;
        self.metrics
            .looked(outbox, spool, oldest.map(|oldest| now - oldest));
        Ok(())
    }
}

/// What outbox and spool rows have in common.
struct Row<Id> {
    id: Id,
    message_id: String,
    subject: String,
    payload: Vec<u8>,
    traceparent: Option<String>,
}

impl From<outbox::OutboxRow> for Row<caracal_domain::id::OutboxId> {
    fn from(row: outbox::OutboxRow) -> Self {
        let (id, message_id) = (row.id, row.id.to_string());
        Self {
            id,
            message_id,
            subject: row.subject,
            payload: row.payload,
            traceparent: row.traceparent,
        }
    }
}

impl From<spool::SpoolRow> for Row<caracal_domain::id::EventId> {
    fn from(row: spool::SpoolRow) -> Self {
        let (id, message_id) = (row.id, row.id.to_string());
        Self {
            id,
            message_id,
            subject: row.subject,
            payload: row.payload,
            traceparent: row.traceparent,
        }
    }
}

/// Logs an error with its whole chain.
pub(crate) fn warn(error: &(dyn std::error::Error + 'static), what: &str) {
    tracing::warn!(error, "{what}");
}
