//! Following a zone's ledger as it grows.

use super::{AuditFilter, AuditRow, among_several, filtered};
use crate::Conn;
use crate::error::Result;
use crate::notifications;
use crate::schema::{audit_heads, audit_ledger};
use caracal_domain::id::ZoneId;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::{Stream, StreamExt};
use uuid::Uuid;

/// The sequence number of the zone's last event; 0 when it has none.
///
/// # Errors
/// When the database cannot be read.
pub async fn head(conn: &mut Conn, zone: ZoneId) -> Result<i64> {
    let head = audit_heads::table.find(Uuid::from(zone)).select(audit_heads::seq);
    Ok(head.first(conn).await.optional()?.unwrap_or(0))
}

/// The first `limit` events beyond `seq`, up to `to` included, that pass the filter, in order of the chain.
///
/// # Errors
/// When the database cannot be read.
pub async fn after(
    conn: &mut Conn,
    zone: ZoneId,
    filter: &AuditFilter,
    seq: i64,
    to: i64,
    limit: i64,
) -> Result<Vec<AuditRow>> {
    let mut beyond = filtered(zone, filter)
        .filter(audit_ledger::seq.gt(seq))
        .filter(audit_ledger::seq.le(to));
    if let Some(resource) = &filter.resource {
        let one = audit_ledger::resource.is_not_distinct_from(resource);
        beyond = beyond.filter(one.or(among_several(resource)));
    }
    Ok(beyond
        .order(audit_ledger::seq.asc())
        .limit(limit)
        .load(conn)
        .await?)
}

/// The zones whose ledger grew, as it happens; `None` after each (re)connection, when any may have grown. It never ends.
pub fn listen(url: &str) -> impl Stream<Item = Option<ZoneId>> + Send + use<> {
    notifications::listen(url, "caracal_ledger").map(|payload| payload?.parse().ok())
}
