//! Renewing a connection: one replica at a time, since a provider may take the use of an old refresh token for theft.

use crate::Conn;
use crate::error::Result;
use crate::schema::provider_connections;
use caracal_domain::Timestamp;
use caracal_domain::id::{ConnectionId, ZoneId};
use caracal_domain::zone::Sealed;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Waits until nobody else is renewing the connection, and keeps everybody else from it until the transaction ends. The
/// row itself stays free: whoever revokes it meanwhile does not wait for the provider.
///
/// # Errors
/// When the database cannot be asked, or another's turn lasts too long.
pub async fn lock(conn: &mut Conn, id: ConnectionId) -> Result<()> {
    let lock =
        diesel::sql_query("SELECT pg_advisory_xact_lock(hashtext('caracal_connection'), hashtext($1))");
    lock.bind::<Text, _>(id.to_string()).execute(conn).await?;
    Ok(())
}

/// Notes that the provider no longer renews a connection, unless it has changed since `version`; whether it is noted.
///
/// # Errors
/// When the database cannot be written.
pub async fn lapse(conn: &mut Conn, zone: ZoneId, id: ConnectionId, version: i64) -> Result<bool> {
    let unchanged = provider_connections::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(provider_connections::revoked_at.is_null())
        .filter(provider_connections::version.eq(version));
    let lapsed = (
        provider_connections::lapsed_at.eq(diesel::dsl::now),
        provider_connections::version.eq(provider_connections::version + 1),
        provider_connections::updated_at.eq(diesel::dsl::now),
    );
    Ok(diesel::update(unchanged).set(lapsed).execute(conn).await? > 0)
}

/// Puts refreshed tokens in place, unless somebody else has refreshed them since `version`; whether they are in place.
///
/// # Errors
/// When the database cannot be written.
pub async fn refresh(
    conn: &mut Conn,
    zone: ZoneId,
    id: ConnectionId,
    version: i64,
    tokens: &Sealed,
    access_expires_at: Option<Timestamp>,
) -> Result<bool> {
    let unchanged = provider_connections::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(provider_connections::revoked_at.is_null())
        .filter(provider_connections::version.eq(version));
    let refreshed = (
        provider_connections::tokens_key_id.eq(&tokens.key_id),
        provider_connections::tokens_sealed.eq(&tokens.bytes),
        provider_connections::access_expires_at.eq(access_expires_at),
        provider_connections::lapsed_at.eq(None::<Timestamp>),
        provider_connections::version.eq(provider_connections::version + 1),
        provider_connections::updated_at.eq(diesel::dsl::now),
    );
    Ok(diesel::update(unchanged).set(refreshed).execute(conn).await? > 0)
}
