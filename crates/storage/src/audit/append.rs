//! Appending a batch: one statement by `UNNEST`, whatever its size.

use super::tree::{Growth, insert_nodes};
use crate::Conn;
use crate::column::Named;
use crate::error::Result;
use crate::kept::Kept;
use crate::schema::audit_heads;
use caracal_chain::Hash;
use caracal_domain::AuditEvent;
use caracal_domain::id::ZoneId;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

/// An event with its link, ready to be appended.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// The event.
    pub event: AuditEvent,
    /// The bytes that were hashed.
    pub canonical: Vec<u8>,
    /// Their hash as a leaf of the tree.
    pub leaf_hash: Hash,
    /// Its place in the chain, from 1.
    pub seq: i64,
    /// The hash of the link before it.
    pub previous_hash: [u8; 32],
    /// Its own hash.
    pub hash: [u8; 32],
}

/// Appends links to the zone's chain, moves its head to the last of them and the tree to where it has grown. The caller
/// holds the head's lock and has linked the rows to it, each event once.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) when an event or a place is taken already.
pub async fn append_batch(conn: &mut Conn, zone: ZoneId, rows: &[LedgerRow], growth: &Growth) -> Result<()> {
    let Some(last) = rows.last() else { return Ok(()) };
    insert(conn, zone, rows).await?;
    insert_nodes(conn, zone, &growth.nodes).await?;
    let head = audit_heads::table.find(Uuid::from(zone));
    let moved = (
        audit_heads::seq.eq(last.seq),
        audit_heads::hash.eq(last.hash.as_slice()),
        audit_heads::frontier.eq(growth.frontier.to_bytes()),
    );
    Kept(diesel::update(head).set(moved)).execute(conn).await?;
    Ok(())
}

async fn insert(conn: &mut Conn, zone: ZoneId, rows: &[LedgerRow]) -> Result<()> {
    fn column<'a, T>(rows: &'a [LedgerRow], of: impl Fn(&'a LedgerRow) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    let metadata_id = |name: &'static str| column(rows, move |row| id_in(&row.event.metadata_json, name));
    let append = diesel::sql_query(include_str!("append.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.seq))
        .bind::<Array<SqlUuid>, _>(column(rows, |row| Uuid::from(row.event.id)))
        .bind::<Array<Text>, _>(column(rows, |row| String::from(row.event.event_type.clone())))
        .bind::<Array<Text>, _>(column(rows, |row| row.event.request_id.as_str()))
        .bind::<Array<Text>, _>(column(rows, |row| row.event.decision.name()))
        .bind::<Array<Text>, _>(column(rows, |row| row.event.evaluation_status.as_str()))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.event.reason.as_deref()))
        .bind::<Array<Nullable<SqlUuid>>, _>(column(rows, |row| row.event.policy_set_id.map(Uuid::from)))
        .bind::<Array<Nullable<SqlUuid>>, _>(column(rows, |row| {
            row.event.policy_set_version_id.map(Uuid::from)
        }))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.event.manifest_sha.as_deref()))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.event.determining_policies_json))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.event.diagnostics_json))
        .bind::<Array<Jsonb>, _>(column(rows, |row| &row.event.metadata_json))
        .bind::<Array<Nullable<SqlUuid>>, _>(metadata_id("application_id"))
        .bind::<Array<Nullable<SqlUuid>>, _>(metadata_id("session_id"))
        .bind::<Array<Nullable<SqlUuid>>, _>(metadata_id("agent_session_id"))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| {
            row.event.metadata_json.get("resource")?.as_str()
        }))
        .bind::<Array<Jsonb>, _>(column(rows, |row| labels_in(&row.event.metadata_json)))
        .bind::<Array<Timestamptz>, _>(column(rows, |row| row.event.occurred_at))
        .bind::<Array<Binary>, _>(column(rows, |row| row.canonical.as_slice()))
        .bind::<Array<Binary>, _>(column(rows, |row| row.previous_hash.as_slice()))
        .bind::<Array<Binary>, _>(column(rows, |row| row.hash.as_slice()))
        .bind::<Array<Binary>, _>(column(rows, |row| row.leaf_hash.as_slice()));
    Kept(append).execute(conn).await?;
    Ok(())
}

fn id_in(metadata: &Value, name: &str) -> Option<Uuid> {
    Uuid::try_parse(metadata.get(name)?.as_str()?).ok()
}

fn labels_in(metadata: &Value) -> Value {
    let labels = metadata.get("labels").and_then(Value::as_array);
    labels
        .map_or_else(Vec::new, |labels| {
            labels.iter().filter(|label| label.is_string()).cloned().collect()
        })
        .into()
}
