//! The ledger: appended in batches under each zone's locked head, read by request, by filter and by sequence.

use crate::Conn;
use crate::column::{Optional, Stored};
use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::page::{Page, descending};
use crate::schema::{audit_event_ids, audit_heads, audit_ledger};
use caracal_chain::Frontier;
use caracal_domain::id::{EventId, PolicySetId, PolicySetVersionId, ZoneId};
use caracal_domain::{AuditDecision, RequestId, Timestamp};
use diesel::dsl::{AsExprOf, AsSelect, count_star};
use diesel::expression::{SqlLiteral, UncheckedBind};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::HashSet;
use uuid::Uuid;

pub use append::{LedgerRow, append_batch};
pub use follow::{after, head, listen};
pub use tree::{Growth, frontier, graft, leaf_hashes, nodes, place, without_tree};

mod append;
mod follow;
mod tree;

/// The last link of a zone's chain, and the right edge of the tree over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its sequence number.
    pub seq: i64,
    /// Its hash.
    pub hash: [u8; 32],
    /// `None` while the tree of a chain older than trees is not grown.
    pub frontier: Option<Frontier>,
}

/// An event as stored, without the bytes that were hashed.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = audit_ledger)]
pub struct AuditRow {
    /// Whose ledger.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its place in the chain, from 1.
    pub seq: i64,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: EventId,
    /// What it is about.
    pub event_type: String,
    /// The request it happened in.
    pub request_id: String,
    /// How it was decided.
    #[diesel(deserialize_as = Stored<AuditDecision>)]
    pub decision: AuditDecision,
    /// `complete`, or why the evaluation was not.
    pub evaluation_status: String,
    /// The precise slug of a refusal.
    pub reason: Option<String>,
    /// The policy set that decided.
    #[diesel(deserialize_as = Optional<PolicySetId>)]
    pub policy_set_id: Option<PolicySetId>,
    /// Its version.
    #[diesel(deserialize_as = Optional<PolicySetVersionId>)]
    pub policy_set_version_id: Option<PolicySetVersionId>,
    /// SHA-256 of its manifest, hex.
    pub manifest_sha: Option<String>,
    /// What decided.
    pub determining_policies_json: Value,
    /// What the policies explained.
    pub diagnostics_json: Value,
    /// Everything else.
    pub metadata_json: Value,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was chained.
    pub ingested_at: Timestamp,
    /// The hash of the event before it.
    pub previous_hash: Vec<u8>,
    /// Its own hash.
    pub hash: Vec<u8>,
}

/// A link of the chain with the bytes it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = audit_ledger)]
pub struct LedgerEntry {
    /// Its place in the chain, from 1.
    pub seq: i64,
    /// The event's id.
    #[diesel(deserialize_as = Uuid)]
    pub id: EventId,
    /// The bytes that were hashed, as they were hashed.
    pub canonical: Vec<u8>,
    /// The hash of the link before it.
    pub previous_hash: Vec<u8>,
    /// Its own hash.
    pub hash: Vec<u8>,
}

/// Which events to list; `None` everywhere lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// After.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Of this request.
    pub request_id: Option<String>,
    /// So decided.
    pub decision: Option<AuditDecision>,
    /// Of this type.
    pub event_type: Option<String>,
    /// Of this application.
    pub application_id: Option<Uuid>,
    /// Of this session.
    pub session_id: Option<Uuid>,
    /// Of this agent session.
    pub agent_session_id: Option<Uuid>,
    /// About this resource, alone or among others.
    pub resource: Option<String>,
    /// By an agent with this label.
    pub label: Option<String>,
}

/// Locks the zone's head until the transaction ends, so that one writer at a time extends the chain. `None`: the chain
/// has no link yet.
///
/// # Errors
/// [`Error::Conflict`] `audit_heads_zone` when there is no such zone.
pub async fn head_for_update(conn: &mut Conn, zone: ZoneId) -> Result<Option<Head>> {
    if let Some(found) = locked_head(conn, zone).await? {
        return found.try_into();
    }
    let genesis = audit_heads::zone_id.eq(Uuid::from(zone));
    diesel::insert_into(audit_heads::table)
        .values(genesis)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    locked_head(conn, zone)
        .await?
        .ok_or(Error::NotFound("ledger head"))?
        .try_into()
}

#[derive(Queryable)]
struct StoredHead {
    seq: i64,
    hash: Option<Vec<u8>>,
    frontier: Option<Vec<u8>>,
}

async fn locked_head(conn: &mut Conn, zone: ZoneId) -> Result<Option<StoredHead>> {
    let row = audit_heads::table.find(Uuid::from(zone));
    let head = row.select((audit_heads::seq, audit_heads::hash, audit_heads::frontier));
    Ok(head.for_update().first(conn).await.optional()?)
}

impl TryFrom<StoredHead> for Option<Head> {
    type Error = Error;

    fn try_from(StoredHead { seq, hash, frontier }: StoredHead) -> Result<Self> {
        let Some(hash) = hash else { return Ok(None) };
        let hash = hash.try_into().map_err(|_| Error::Corrupt("ledger head"))?;
        let frontier = frontier.map(|bytes| tree::read(seq, &bytes)).transpose()?;
        Ok(Some(Head { seq, hash, frontier }))
    }
}

/// Which of the events the zone's ledger holds already. Ask under the locked head.
///
/// # Errors
/// When the database cannot be read.
pub async fn known(conn: &mut Conn, zone: ZoneId, ids: &[EventId]) -> Result<HashSet<EventId>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let query = diesel::sql_query(include_str!("audit/known.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Array<SqlUuid>, _>(ids.iter().copied().map(Uuid::from).collect::<Vec<Uuid>>());
    let found: Vec<Found> = Kept(query).load(conn).await?;
    Ok(found.into_iter().map(|found| found.id.into()).collect())
}

/// The first events of a request, in order of what happened: at most `limit`, and, but for the first, no more than
/// `bytes` of them as they were hashed. Callers choose their request ids, so there may be any number of any size.
///
/// # Errors
/// When the database cannot be read.
pub async fn by_request(
    conn: &mut Conn,
    zone: ZoneId,
    request: &RequestId,
    (limit, bytes): (i64, i64),
) -> Result<Vec<AuditRow>> {
    #[derive(QueryableByName)]
    struct First {
        #[diesel(sql_type = BigInt)]
        seq: i64,
    }
    let query = diesel::sql_query(include_str!("audit/first_of_request.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Text, _>(request.as_str())
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>(bytes);
    let first: Vec<First> = Kept(query).load(conn).await?;
    let places: Vec<i64> = first.into_iter().map(|first| first.seq).collect();
    let of_request = audit_ledger::table
        .filter(audit_ledger::zone_id.eq(Uuid::from(zone)))
        .filter(audit_ledger::seq.eq_any(places));
    let sorted = of_request
        .order((audit_ledger::occurred_at, audit_ledger::seq))
        .select(AuditRow::as_select());
    Ok(sorted.load(conn).await?)
}

/// What was decided in a request, in events of which type, and how many times.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Decided {
    /// The type.
    pub event_type: String,
    /// The decision.
    #[diesel(deserialize_as = Stored<AuditDecision>)]
    pub decision: AuditDecision,
    /// How many events.
    pub events: i64,
}

/// What all events of a request come to, however many there are.
///
/// # Errors
/// When the database cannot be read.
pub async fn decided_in(conn: &mut Conn, zone: ZoneId, request: &RequestId) -> Result<Vec<Decided>> {
    let of_request = audit_ledger::table
        .filter(audit_ledger::zone_id.eq(Uuid::from(zone)))
        .filter(audit_ledger::request_id.eq(request.as_str()));
    let kind = (audit_ledger::event_type, audit_ledger::decision);
    let counted =
        of_request
            .group_by(kind)
            .select((audit_ledger::event_type, audit_ledger::decision, count_star()));
    Ok(counted.load(conn).await?)
}

/// One event.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: EventId) -> Result<Option<AuditRow>> {
    let place = audit_event_ids::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .select(audit_event_ids::seq);
    let Some(seq) = place.first::<i64>(conn).await.optional()? else {
        return Ok(None);
    };
    let at_place = audit_ledger::table
        .filter(audit_ledger::zone_id.eq(Uuid::from(zone)))
        .filter(audit_ledger::seq.eq(seq));
    Ok(at_place
        .select(AuditRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// A page of events, newest first by (`occurred_at`, `id`).
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, zone: ZoneId, filter: &AuditFilter, page: &Page) -> Result<Vec<AuditRow>> {
    use audit_ledger::dsl as column;
    let Some(resource) = &filter.resource else {
        let all = filtered(zone, filter);
        return Ok(descending!(all, column::occurred_at, column::id, page)
            .load(conn)
            .await?);
    };
    // Two indexes have them, and neither has the order of both.
    let one = filtered(zone, filter).filter(column::resource.eq(resource));
    let several = filtered(zone, filter).filter(among_several(resource));
    let mut rows: Vec<AuditRow> = descending!(one, column::occurred_at, column::id, page)
        .load(conn)
        .await?;
    let several = descending!(several, column::occurred_at, column::id, page);
    rows.extend(several.load::<AuditRow>(conn).await?);
    rows.sort_unstable_by_key(|row| Reverse((row.occurred_at, Uuid::from(row.id))));
    rows.dedup_by_key(|row| row.id);
    rows.truncate(usize::try_from(page.limit).unwrap_or_default());
    Ok(rows)
}

/// Whether an event is about this resource among several, written as its index is.
fn among_several(resource: &str) -> AmongSeveral {
    let holds = "(metadata_json ? 'resources' AND metadata_json -> 'resources' @> jsonb_build_array(";
    let holds = diesel::dsl::sql::<Bool>(holds).bind::<Text, _>(resource.to_owned());
    holds.sql("))")
}

type AmongSeveral = SqlLiteral<Bool, UncheckedBind<SqlLiteral<Bool>, AsExprOf<String, Text>>>;

/// The zone's events that pass the filter, in no order yet; which resource they are about is not looked at.
fn filtered(zone: ZoneId, filter: &AuditFilter) -> Filtered<'_> {
    use audit_ledger::dsl as column;
    let of_zone = audit_ledger::table.filter(column::zone_id.eq(Uuid::from(zone)));
    let mut query = of_zone.select(AuditRow::as_select()).into_boxed();
    if let Some(since) = filter.since {
        query = query.filter(column::occurred_at.gt(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(column::occurred_at.lt(until));
    }
    if let Some(request) = &filter.request_id {
        query = query.filter(column::request_id.eq(request));
    }
    if let Some(decision) = filter.decision {
        query = query.filter(column::decision.eq(decision.as_str()));
        if decision != AuditDecision::Allow {
            // What the index of refusals is limited to; a statement planned for any decision does not see that it follows.
            query = query.filter(diesel::dsl::sql::<Bool>("decision <> 'allow'"));
        }
    }
    if let Some(event_type) = &filter.event_type {
        query = query.filter(column::event_type.eq(event_type));
    }
    if let Some(application) = filter.application_id {
        query = query.filter(column::application_id.eq(application));
    }
    if let Some(session) = filter.session_id {
        query = query.filter(column::session_id.eq(session));
    }
    if let Some(agent) = filter.agent_session_id {
        query = query.filter(column::agent_session_id.eq(agent));
    }
    if let Some(label) = &filter.label {
        // What the index of labels is limited to; PostgreSQL does not see that it follows.
        query = query
            .filter(diesel::dsl::sql::<Bool>("labels <> '{}'"))
            .filter(column::labels.contains(vec![label]));
    }
    query
}

/// A query for [`AuditRow`]s that more can be asked of.
type Filtered<'a> = audit_ledger::BoxedQuery<'a, Pg, AsSelect<AuditRow, Pg>>;

/// How many events of a type there are since a moment.
///
/// # Errors
/// When the database cannot be read.
pub async fn count(conn: &mut Conn, zone: ZoneId, event_type: &str, since: Timestamp) -> Result<i64> {
    let rows = audit_ledger::table
        .filter(audit_ledger::zone_id.eq(Uuid::from(zone)))
        .filter(audit_ledger::event_type.eq(event_type))
        .filter(audit_ledger::occurred_at.gt(since));
    Ok(rows.count().get_result(conn).await?)
}

/// The links from `from` to `to`, both included, in order.
///
/// # Errors
/// When the database cannot be read.
pub async fn entries(conn: &mut Conn, zone: ZoneId, from: i64, to: i64) -> Result<Vec<LedgerEntry>> {
    let stretch = audit_ledger::table
        .filter(audit_ledger::zone_id.eq(Uuid::from(zone)))
        .filter(audit_ledger::seq.between(from, to));
    Ok(stretch
        .order(audit_ledger::seq)
        .select(LedgerEntry::as_select())
        .load(conn)
        .await?)
}
