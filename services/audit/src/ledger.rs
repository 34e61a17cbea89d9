//! Writing the ledger: one transaction per batch, each zone's chain extended under its locked head.

use caracal_chain::{Frontier, Link, canonical_bytes, leaf_hash, link};
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::{AuditEvent, Clock};
use caracal_storage::audit::{self, Growth, Head, LedgerRow};
use caracal_storage::dead_letters::{self, DeadLetter};
use caracal_storage::{Conn, Database, Error};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// How many leaves are read at once where a tree is grown over an old chain.
const LEAVES_AT_ONCE: i64 = 10_000;

/// The ledger in PostgreSQL.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Database,
    clock: Arc<dyn Clock>,
}

/// What a batch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Events that are now in the ledger.
    pub chained: usize,
    /// Events that were there before.
    pub duplicates: usize,
}

impl Ledger {
    /// The ledger in this database.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    /// Chains the events, each once however often it comes, in one transaction. Zones are locked in the order of their
    /// ids, so that two writers never wait for each other in a circle.
    ///
    /// # Errors
    /// When the transaction did not, or may not have, come about; writing the same events again is harmless.
    pub async fn write(&self, events: &[AuditEvent]) -> Result<Written, Error> {
        if events.is_empty() {
            return Ok(Written::default());
        }
        let mut zones: BTreeMap<ZoneId, Vec<&AuditEvent>> = BTreeMap::new();
        for event in events {
            zones.entry(event.zone_id).or_default().push(event);
        }
        let mut transaction = self.database.begin().await?;
        let mut chained = 0;
        for (zone, events) in zones {
            chained += extend(&mut transaction, zone, &events).await?;
        }
        transaction.commit().await?;
        Ok(Written {
            chained,
            duplicates: events.len() - chained,
        })
    }

    /// Grows the trees of chains that are older than trees, one transaction each; harmless when several do it at once.
    ///
    /// # Errors
    /// When the database cannot be read or written; what is done is done.
    pub async fn grow_missing_trees(&self) -> Result<(), Error> {
        let bare = audit::without_tree(&mut *self.database.acquire().await?).await?;
        for zone in bare {
            let mut transaction = self.database.begin().await?;
            let head = audit::head_for_update(&mut transaction, zone).await?;
            if head.is_some_and(|head| head.frontier.is_none()) {
                let growth = grow(&mut transaction, zone).await?;
                audit::graft(&mut transaction, zone, &growth).await?;
                tracing::info!(%zone, size = growth.frontier.size(), "a ledger older than trees has its tree");
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Keeps what is no event, for a human.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn keep(
        &self,
        stream: &str,
        delivery: &caracal_bus::Delivery,
        letter: Letter,
    ) -> Result<(), Error> {
        // PostgreSQL keeps no NUL in a text, and what a stranger writes must not stop a stream.
        let storable = |text: &str| text.replace('\0', "\u{FFFD}");
        let letter = DeadLetter {
            id: EventId::mint(&*self.clock),
            subject: storable(&delivery.subject),
            message_id: (!delivery.id.is_empty()).then(|| storable(&delivery.id)),
            stream: stream.to_owned(),
            stream_created_at: delivery.stream_made_at.unwrap_or_default(),
            stream_sequence: i64::try_from(delivery.stream_sequence).unwrap_or(i64::MAX),
            reason: storable(&letter.reason),
            payload: letter.payload,
        };
        dead_letters::insert(&mut *self.database.acquire().await?, &letter).await
    }
}

/// What is wrong with a message, and its bytes.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What is wrong.
    pub reason: String,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// Appends to one zone's chain what it does not hold yet, and answers how many that were.
async fn extend(conn: &mut Conn, zone: ZoneId, events: &[&AuditEvent]) -> Result<usize, Error> {
    let head = audit::head_for_update(conn, zone).await?;
    let (mut last, frontier) = match head {
        None => (Link::genesis(), Some(Frontier::default())),
        Some(Head { seq, hash, frontier }) => {
            let previous_hash = [0; 32];
            (
                Link {
                    seq,
                    previous_hash,
                    hash,
                },
                frontier,
            )
        }
    };
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let mut known: HashSet<EventId> = audit::known(conn, zone, &ids).await?;
    let mut growth = match frontier {
        Some(frontier) => Growth {
            frontier,
            nodes: Vec::new(),
        },
        None => grow(conn, zone).await?,
    };
    let mut rows = Vec::with_capacity(events.len());
    for event in events.iter().filter(|event| known.insert(event.id)) {
        let canonical = canonical_bytes(event);
        let leaf_hash = leaf_hash(&canonical);
        last = link(zone, &last, &leaf_hash);
        growth.frontier.push(leaf_hash, &mut growth.nodes);
        rows.push(LedgerRow {
            event: (*event).clone(),
            canonical,
            leaf_hash,
            seq: last.seq,
            previous_hash: last.previous_hash,
            hash: last.hash,
        });
    }
    audit::append_batch(conn, zone, &rows, &growth).await?;
    Ok(rows.len())
}

/// The tree over a chain that is older than trees, from its leaves. Done under the head's lock.
async fn grow(conn: &mut Conn, zone: ZoneId) -> Result<Growth, Error> {
    let mut growth = Growth::default();
    loop {
        let size = i64::try_from(growth.frontier.size()).map_err(|_| Error::Corrupt("ledger"))?;
        let leaves = audit::leaf_hashes(conn, zone, size, LEAVES_AT_ONCE).await?;
        if leaves.is_empty() {
            return Ok(growth);
        }
        for leaf in leaves {
            growth.frontier.push(leaf, &mut growth.nodes);
        }
    }
}
