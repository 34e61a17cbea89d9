//! What background work asks of the database.

use crate::Conn;
use crate::applications::ApplicationRow;
use crate::error::Result;
use crate::schema::{applications, zones};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;

/// Whether the caller is, until its transaction ends, the only one doing `what` in this database.
///
/// # Errors
/// When the database cannot be asked.
pub async fn try_alone(conn: &mut Conn, what: &str) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Turn {
        #[diesel(sql_type = Bool)]
        mine: bool,
    }
    let lock = diesel::sql_query(
        "SELECT pg_try_advisory_xact_lock(hashtext('caracal_upkeep'), hashtext($1)) AS mine",
    );
    let turn: Turn = lock.bind::<Text, _>(what).get_result(conn).await?;
    Ok(turn.mine)
}

/// Self-registered applications of live zones whose time is over and that are not archived yet; at most `limit`.
///
/// # Errors
/// When the database cannot be read.
pub async fn expired_registrations(conn: &mut Conn, limit: i64) -> Result<Vec<ApplicationRow>> {
    let over = applications::table
        .inner_join(zones::table.on(zones::id.eq(applications::zone_id)))
        .filter(zones::archived_at.is_null())
        .filter(applications::archived_at.is_null())
        .filter(applications::expires_at.le(now));
    Ok(over
        .order(applications::expires_at)
        .limit(limit)
        .select(ApplicationRow::as_select())
        .load(conn)
        .await?)
}
