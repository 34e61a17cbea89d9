//! Client assertions that have been used (RFC 7523 §3): each `jti` counts once until it has expired; `sweep` removes
//! it later.

use crate::Conn;
use crate::error::Result;
use crate::schema::used_assertions;
use caracal_domain::Timestamp;
use caracal_domain::id::{ApplicationId, ZoneId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Uses an assertion up: true for exactly one of any number of callers, on any number of replicas.
///
/// # Errors
/// When the database cannot be written.
pub async fn consume(
    conn: &mut Conn,
    zone: ZoneId,
    application: ApplicationId,
    jti: &str,
    expires_at: Timestamp,
) -> Result<bool> {
    let values = (
        used_assertions::zone_id.eq(Uuid::from(zone)),
        used_assertions::application_id.eq(Uuid::from(application)),
        used_assertions::jti.eq(jti),
        used_assertions::expires_at.eq(expires_at),
    );
    let inserted = diesel::insert_into(used_assertions::table)
        .values(values)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted > 0)
}
