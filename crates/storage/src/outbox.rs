//! The transactional outbox: rows commit with the change they tell of, relays lease and publish them, and a heartbeat
//! waits for every row that was visible when it looked.

use crate::Conn;
use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::notifications;
use crate::schema::outbox;
use caracal_domain::id::OutboxId;
use caracal_domain::{FeedEvent, Timestamp};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures::{Stream, StreamExt};
use std::time::Duration;
use uuid::Uuid;

/// A row to publish.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct OutboxRow {
    /// Its id, the `Nats-Msg-Id`.
    #[diesel(sql_type = SqlUuid, deserialize_as = Uuid)]
    pub id: OutboxId,
    /// Where to publish it.
    #[diesel(sql_type = Text)]
    pub subject: String,
    /// What to publish.
    #[diesel(sql_type = Binary)]
    pub payload: Vec<u8>,
    /// The trace of the request that wrote it (W3C).
    #[diesel(sql_type = Nullable<Text>)]
    pub traceparent: Option<String>,
}

/// A stream of wake-ups: one whenever rows were committed to the outbox or the spool, and one after each (re)connection.
/// It never ends; while the database is away it is silent.
pub fn listen(url: &str) -> impl Stream<Item = ()> + Send + use<> {
    notifications::listen(url, "caracal_outbox").map(drop)
}

/// Adds a row to the transaction that makes the change. Its commit wakes the relays.
///
/// # Errors
/// When the database cannot be written.
pub async fn append(
    mut conn: &Conn,
    event: &FeedEvent,
    payload: &[u8],
    traceparent: Option<&str>,
) -> Result<()> {
    let values = (
        outbox::zone_id.eq(Uuid::from(event.zone_id)),
        outbox::id.eq(Uuid::from(event.id)),
        outbox::subject.eq(event.body.subject()),
        outbox::payload.eq(payload),
        outbox::traceparent.eq(traceparent),
    );
    diesel::insert_into(outbox::table)
        .values(values)
        .execute(&mut conn)
        .await?;
    Ok(())
}

/// Leases up to `limit` unpublished rows, oldest first. No row is leased to two holders at once; one whose lease ran
/// out is anybody's again.
///
/// # Errors
/// When the database cannot be written.
pub async fn claim(conn: &mut Conn, holder: &str, limit: i64, lease: Duration) -> Result<Vec<OutboxRow>> {
    let query = diesel::sql_query(include_str!("outbox/claim.sql"))
        .bind::<Text, _>(holder)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(milliseconds(lease)?);
    Ok(Kept(query).load(conn).await?)
}

/// Marks rows as acknowledged by JetStream.
///
/// # Errors
/// When the database cannot be written; publishing them again is harmless, since their ids deduplicate.
pub async fn mark_published(conn: &mut Conn, ids: &[OutboxId]) -> Result<()> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let rows = outbox::table
        .filter(outbox::id.eq_any(ids))
        .filter(outbox::published_at.is_null());
    let published = (
        outbox::published_at.eq(diesel::dsl::now),
        outbox::claimed_by.eq(None::<String>),
        outbox::claimed_until.eq(None::<Timestamp>),
    );
    Kept(diesel::update(rows).set(published)).execute(conn).await?;
    Ok(())
}

/// Gives up every lease of a holder that stops, so that others need not wait for them to run out.
///
/// # Errors
/// When the database cannot be written.
pub async fn release(conn: &mut Conn, holder: &str) -> Result<()> {
    let held = outbox::table
        .filter(outbox::published_at.is_null())
        .filter(outbox::claimed_by.eq(holder));
    let free = (
        outbox::claimed_by.eq(None::<String>),
        outbox::claimed_until.eq(None::<Timestamp>),
    );
    diesel::update(held).set(free).execute(conn).await?;
    Ok(())
}

/// The database's time and a snapshot that holds everything committed by then. Outside a transaction.
///
/// # Errors
/// When the database cannot be read.
pub async fn now_and_snapshot(conn: &mut Conn) -> Result<(Timestamp, String)> {
    #[derive(QueryableByName)]
    struct Looked {
        #[diesel(sql_type = Timestamptz)]
        now: Timestamp,
        #[diesel(sql_type = Text)]
        snapshot: String,
    }
    let looked: Looked = Kept(diesel::sql_query(include_str!("outbox/now_and_snapshot.sql")))
        .get_result(conn)
        .await?;
    Ok((looked.now, looked.snapshot))
}

/// Whether a row visible in the snapshot is still unpublished, whoever holds it. While so, no heartbeat may claim the
/// snapshot's time.
///
/// # Errors
/// When the database cannot be read.
pub async fn pending_in(conn: &mut Conn, snapshot: &str) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Pending {
        #[diesel(sql_type = Bool)]
        pending: bool,
    }
    let query = diesel::sql_query(include_str!("outbox/pending_in.sql")).bind::<Text, _>(snapshot);
    let answer: Pending = Kept(query).get_result(conn).await?;
    Ok(answer.pending)
}

/// How many rows wait, for a gauge.
///
/// # Errors
/// When the database cannot be read.
pub async fn unpublished(conn: &mut Conn) -> Result<i64> {
    Ok(outbox::table
        .filter(outbox::published_at.is_null())
        .count()
        .get_result(conn)
        .await?)
}

/// When the row that waits longest was written, for a gauge.
///
/// # Errors
/// When the database cannot be read.
pub async fn oldest_unpublished(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let waiting = outbox::table.filter(outbox::published_at.is_null());
    Ok(waiting
        .select(diesel::dsl::min(outbox::created_at))
        .get_result(conn)
        .await?)
}

/// Makes the partitions of the days to come and drops those in which everything was published long ago.
///
/// # Errors
/// When the database cannot be written.
pub async fn maintain_partitions(conn: &mut Conn) -> Result<()> {
    diesel::sql_query("SELECT caracal_maintain_partitions()")
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) fn milliseconds(lease: Duration) -> Result<i64> {
    i64::try_from(lease.as_millis()).map_err(|error| Error::Other(error.into()))
}
