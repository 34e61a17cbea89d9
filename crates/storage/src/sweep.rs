//! Removing what has expired so long ago that nothing can name it any more. Who reads such rows compares the times
//! itself; this only keeps tables and indexes small.

use crate::Conn;
use crate::error::Result;
use diesel::sql_types::{BigInt, Integer};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

#[derive(QueryableByName)]
struct Removed {
    #[diesel(sql_type = BigInt)]
    removed: i64,
}

/// Removes up to `batch` rows each of anchors, used assertions, idempotency keys, states of consents and step-up
/// challenges. Answers how many; fewer than `batch` means that nothing is left, or that another sweeps at this moment.
///
/// # Errors
/// When the database cannot be written.
pub async fn sweep(conn: &mut Conn, batch: i32) -> Result<i64> {
    let swept: Removed = sql_query("SELECT caracal_sweep($1) AS removed")
        .bind::<Integer, _>(batch)
        .get_result(conn)
        .await?;
    Ok(swept.removed)
}
