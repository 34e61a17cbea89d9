//! Subjects whose sign-in is refused for a while. The table `sessions` itself refuses them: an insert fails with the
//! constraint [`REFUSED_BY`].

use crate::Conn;
use crate::error::Result;
use crate::schema::subject_blocks;
use caracal_domain::Timestamp;
use caracal_domain::id::ZoneId;
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// The constraint by which a session of a blocked subject is refused.
pub const REFUSED_BY: &str = "sessions_subject_blocked";

/// Until when the subject is blocked; `None` when it is not.
///
/// # Errors
/// When the database cannot be read.
pub async fn blocked_until(conn: &mut Conn, zone: ZoneId, subject: &str) -> Result<Option<Timestamp>> {
    let block = subject_blocks::table
        .find((Uuid::from(zone), subject))
        .filter(subject_blocks::blocked_until.gt(diesel::dsl::now));
    Ok(block
        .select(subject_blocks::blocked_until)
        .first(conn)
        .await
        .optional()?)
}

/// Blocks the subject until then, whatever was said before.
///
/// # Errors
/// When the database cannot be written.
pub async fn block(conn: &mut Conn, zone: ZoneId, subject: &str, until: Timestamp, by: &str) -> Result<()> {
    let values = (
        subject_blocks::zone_id.eq(Uuid::from(zone)),
        subject_blocks::subject_id.eq(subject),
        subject_blocks::blocked_until.eq(until),
        subject_blocks::blocked_by.eq(by),
    );
    diesel::insert_into(subject_blocks::table)
        .values(values)
        .on_conflict((subject_blocks::zone_id, subject_blocks::subject_id))
        .do_update()
        .set((
            subject_blocks::blocked_until.eq(excluded(subject_blocks::blocked_until)),
            subject_blocks::blocked_by.eq(excluded(subject_blocks::blocked_by)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Lets the subject sign in again.
///
/// # Errors
/// When the database cannot be written.
pub async fn lift(conn: &mut Conn, zone: ZoneId, subject: &str) -> Result<()> {
    diesel::delete(subject_blocks::table.find((Uuid::from(zone), subject)))
        .execute(conn)
        .await?;
    Ok(())
}
