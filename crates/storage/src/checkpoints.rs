//! The last signed checkpoint of each zone's ledger.

use crate::Conn;
use crate::error::Result;
use crate::schema::audit_checkpoints;
use caracal_domain::id::ZoneId;
use diesel::prelude::*;
use diesel::query_dsl::methods::FilterDsl;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// The zone's last checkpoint, as the note that was signed.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId) -> Result<Option<String>> {
    let row = audit_checkpoints::table.find(Uuid::from(zone));
    let note = row.select(audit_checkpoints::note);
    Ok(note.first(conn).await.optional()?)
}

/// Keeps a checkpoint unless a later one is kept already.
///
/// # Errors
/// When the database cannot be written, or there is no such zone.
pub async fn keep(conn: &mut Conn, zone: ZoneId, size: i64, note: &str) -> Result<()> {
    let row = (
        audit_checkpoints::zone_id.eq(Uuid::from(zone)),
        audit_checkpoints::size.eq(size),
        audit_checkpoints::note.eq(note),
    );
    let upsert = diesel::insert_into(audit_checkpoints::table)
        .values(row)
        .on_conflict(audit_checkpoints::zone_id)
        .do_update()
        .set((
            audit_checkpoints::size.eq(excluded(audit_checkpoints::size)),
            audit_checkpoints::note.eq(excluded(audit_checkpoints::note)),
            audit_checkpoints::signed_at.eq(diesel::dsl::now),
        ));
    FilterDsl::filter(
        upsert,
        audit_checkpoints::size.lt(excluded(audit_checkpoints::size)),
    )
    .execute(conn)
    .await?;
    Ok(())
}
