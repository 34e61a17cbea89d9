//! Which replicas of the STS are alive: each says so every few seconds, and whoever is silent is gone.

use crate::Conn;
use crate::error::Result;
use crate::schema::{activation_loads, sts_replicas};
use caracal_domain::Timestamp;
use diesel::dsl::{now, sql};
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;

/// Whoever was last seen before this counts as gone: four beats were missed.
const SILENT: &str = "now() - interval '20 seconds'";
/// What a gone replica left behind is kept until this.
const FORGOTTEN: &str = "now() - interval '1 hour'";

/// Says that a replica is alive.
///
/// # Errors
/// When the database cannot be written.
pub async fn beat(conn: &mut Conn, instance: &str) -> Result<()> {
    diesel::insert_into(sts_replicas::table)
        .values(sts_replicas::instance.eq(instance))
        .on_conflict(sts_replicas::instance)
        .do_update()
        .set(sts_replicas::seen_at.eq(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// The replicas that are alive and when each began.
///
/// # Errors
/// When the database cannot be read.
pub async fn alive(conn: &mut Conn) -> Result<Vec<(String, Timestamp)>> {
    let alive = sts_replicas::table.filter(sts_replicas::seen_at.gt(sql::<Timestamptz>(SILENT)));
    Ok(alive
        .select((sts_replicas::instance, sts_replicas::started_at))
        .load(conn)
        .await?)
}

/// Forgets a replica that goes, and what it had loaded: nobody waits for it.
///
/// # Errors
/// When the database cannot be written.
pub async fn leave(conn: &mut Conn, instance: &str) -> Result<()> {
    diesel::delete(sts_replicas::table.find(instance))
        .execute(conn)
        .await?;
    let loads = activation_loads::table.filter(activation_loads::instance.eq(instance));
    diesel::delete(loads).execute(conn).await?;
    Ok(())
}

/// Forgets replicas that have long been gone, and what they had loaded.
///
/// # Errors
/// When the database cannot be written.
pub async fn forget_gone(conn: &mut Conn) -> Result<()> {
    let gone = sts_replicas::table.filter(sts_replicas::seen_at.lt(sql::<Timestamptz>(FORGOTTEN)));
    diesel::delete(gone).execute(conn).await?;
    let known = sts_replicas::table.select(sts_replicas::instance);
    let orphaned = activation_loads::table
        .filter(activation_loads::instance.ne_all(known))
        .filter(activation_loads::loaded_at.lt(sql::<Timestamptz>(FORGOTTEN)));
    diesel::delete(orphaned).execute(conn).await?;
    Ok(())
}
