//! The spool: decision events that JetStream did not acknowledge in time. A row here is a record; the relay moves it on.

use crate::Conn;
use crate::error::Result;
use crate::kept::Kept;
use crate::outbox::milliseconds;
use crate::schema::event_spool;
use caracal_domain::id::{EventId, ZoneId};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use std::time::Duration;
use uuid::Uuid;

/// A row to publish.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct SpoolRow {
    /// The event's id, the `Nats-Msg-Id`.
    #[diesel(sql_type = SqlUuid, deserialize_as = Uuid)]
    pub id: EventId,
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

/// Keeps an event; keeping the same one twice is harmless. Its commit wakes the relays. A shared connection: what is asked
/// at once is pipelined.
///
/// # Errors
/// When the database cannot be written: then there is no record.
pub async fn append(
    mut conn: &Conn,
    zone: ZoneId,
    id: EventId,
    subject: &str,
    payload: &[u8],
    traceparent: Option<&str>,
) -> Result<()> {
    let values = (
        event_spool::zone_id.eq(Uuid::from(zone)),
        event_spool::id.eq(Uuid::from(id)),
        event_spool::subject.eq(subject),
        event_spool::payload.eq(payload),
        event_spool::traceparent.eq(traceparent),
    );
    diesel::insert_into(event_spool::table)
        .values(values)
        .on_conflict_do_nothing()
        .execute(&mut conn)
        .await?;
    Ok(())
}

/// Adds several events of one zone.
///
/// # Errors
/// When the database cannot be written.
pub async fn append_all(
    mut conn: &Conn,
    zone: ZoneId,
    subject: &str,
    events: &[(EventId, Vec<u8>)],
    traceparent: Option<&str>,
) -> Result<()> {
    let values = |(id, payload): &(EventId, Vec<u8>)| {
        (
            event_spool::zone_id.eq(Uuid::from(zone)),
            event_spool::id.eq(Uuid::from(*id)),
            event_spool::subject.eq(subject.to_owned()),
            event_spool::payload.eq(payload.clone()),
            event_spool::traceparent.eq(traceparent.map(str::to_owned)),
        )
    };
    // Within what one statement may have of parameters.
    for some in events.chunks(1000) {
        let rows: Vec<_> = some.iter().map(values).collect();
        diesel::insert_into(event_spool::table)
            .values(rows)
            .execute(&mut conn)
            .await?;
    }
    Ok(())
}

/// Leases up to `limit` rows, oldest first; as [`outbox::claim`](crate::outbox::claim).
///
/// # Errors
/// When the database cannot be written.
pub async fn claim(conn: &mut Conn, holder: &str, limit: i64, lease: Duration) -> Result<Vec<SpoolRow>> {
    let query = diesel::sql_query(include_str!("spool/claim.sql"))
        .bind::<Text, _>(holder)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(milliseconds(lease)?);
    Ok(Kept(query).load(conn).await?)
}

/// Drops rows that JetStream has acknowledged.
///
/// # Errors
/// When the database cannot be written; publishing them again is harmless, since their ids deduplicate.
pub async fn delete(conn: &mut Conn, ids: &[EventId]) -> Result<()> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    diesel::delete(event_spool::table.filter(event_spool::id.eq_any(ids)))
        .execute(conn)
        .await?;
    Ok(())
}

/// How many rows wait, for a gauge.
///
/// # Errors
/// When the database cannot be read.
pub async fn waiting(conn: &mut Conn) -> Result<i64> {
    Ok(event_spool::table.count().get_result(conn).await?)
}
