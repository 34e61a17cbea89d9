//! Users' consents at providers, and the consents that are under way.

use crate::Conn;
use crate::error::Result;
use crate::page::{Page, ascending};
use crate::schema::provider_connections;
use caracal_domain::Timestamp;
use caracal_domain::id::{ConnectionId, ProviderId, ResourceId, ZoneId};
use caracal_domain::zone::Sealed;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

pub use renewal::{lapse, lock, refresh};
pub use states::{
    NewState, StateRow, consume_state, find_state, insert_state, is_wanted, withdraw_states_of,
};

mod renewal;
mod states;

/// What ending one changes.
macro_rules! ended {
    () => {
        (
            provider_connections::revoked_at.eq(diesel::dsl::now),
            provider_connections::updated_at.eq(diesel::dsl::now),
            provider_connections::version.eq(provider_connections::version + 1),
        )
    };
}

/// A connection as stored; its tokens are ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = provider_connections)]
pub struct ConnectionRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: ConnectionId,
    /// Whose.
    pub user_id: String,
    /// For which resource.
    #[diesel(deserialize_as = Uuid)]
    pub resource_id: ResourceId,
    /// At which provider.
    #[diesel(deserialize_as = Uuid)]
    pub provider_id: ProviderId,
    /// What was consented to.
    pub scopes: Vec<String>,
    /// Which DEK generation sealed the tokens.
    pub tokens_key_id: String,
    /// A JSON object of tokens, sealed.
    pub tokens_sealed: Vec<u8>,
    /// When the access token ends, if that is known.
    pub access_expires_at: Option<Timestamp>,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub revoked_at: Option<Timestamp>,
    /// When its provider stopped renewing it.
    pub lapsed_at: Option<Timestamp>,
}

/// Whether a connection can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// It can.
    Active,
    /// Its provider no longer renews it: the user must connect again.
    Lapsed,
    /// It has ended, or was replaced.
    Revoked,
}

impl ConnectionRow {
    /// Whether it can be used.
    #[must_use]
    pub const fn status(&self) -> ConnectionStatus {
        match (self.revoked_at, self.lapsed_at) {
            (Some(_), _) => ConnectionStatus::Revoked,
            (None, Some(_)) => ConnectionStatus::Lapsed,
            (None, None) => ConnectionStatus::Active,
        }
    }

    /// The sealed tokens.
    #[must_use]
    pub fn tokens(&self) -> Sealed {
        Sealed {
            key_id: self.tokens_key_id.clone(),
            bytes: self.tokens_sealed.clone(),
        }
    }
}

/// A connection to be.
#[derive(Debug, Clone)]
pub struct NewConnection {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: ConnectionId,
    /// Whose.
    pub user_id: String,
    /// For which resource.
    pub resource_id: ResourceId,
    /// At which provider.
    pub provider_id: ProviderId,
    /// What was consented to.
    pub scopes: Vec<String>,
    /// The tokens, sealed.
    pub tokens: Sealed,
    /// When the access token ends, if that is known.
    pub access_expires_at: Option<Timestamp>,
}

/// Which connections to list; `None` everywhere lists all.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFilter {
    /// Of this user.
    pub user_id: Option<String>,
    /// For this resource.
    pub resource_id: Option<ResourceId>,
    /// At this provider.
    pub provider_id: Option<ProviderId>,
    /// Of this status.
    pub status: Option<ConnectionStatus>,
}

/// Adds one in place of any active one of the same user, resource and provider; answers it and the id of what it
/// replaced.
///
/// # Errors
/// When the database cannot be written.
pub async fn replace(conn: &mut Conn, new: &NewConnection) -> Result<(ConnectionRow, Option<ConnectionId>)> {
    let before = provider_connections::table
        .filter(provider_connections::zone_id.eq(Uuid::from(new.zone_id)))
        .filter(provider_connections::user_id.eq(&new.user_id))
        .filter(provider_connections::resource_id.eq(Uuid::from(new.resource_id)))
        .filter(provider_connections::provider_id.eq(Uuid::from(new.provider_id)))
        .filter(provider_connections::revoked_at.is_null());
    let replaced: Option<Uuid> = diesel::update(before)
        .set(ended!())
        .returning(provider_connections::id)
        .get_result(conn)
        .await
        .optional()?;
    let values = (
        provider_connections::zone_id.eq(Uuid::from(new.zone_id)),
        provider_connections::id.eq(Uuid::from(new.id)),
        provider_connections::user_id.eq(&new.user_id),
        provider_connections::resource_id.eq(Uuid::from(new.resource_id)),
        provider_connections::provider_id.eq(Uuid::from(new.provider_id)),
        provider_connections::scopes.eq(&new.scopes),
        provider_connections::tokens_key_id.eq(&new.tokens.key_id),
        provider_connections::tokens_sealed.eq(&new.tokens.bytes),
        provider_connections::access_expires_at.eq(new.access_expires_at),
    );
    let row = diesel::insert_into(provider_connections::table)
        .values(values)
        .returning(ConnectionRow::as_returning());
    Ok((row.get_result(conn).await?, replaced.map(Into::into)))
}

/// The connection, whether it has ended or not.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: ConnectionId) -> Result<Option<ConnectionRow>> {
    let row = provider_connections::table.find((Uuid::from(zone), Uuid::from(id)));
    Ok(row
        .select(ConnectionRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The user's connection for a resource at a provider that has not ended; it may have lapsed.
///
/// # Errors
/// When the database cannot be read.
pub async fn active(
    conn: &mut Conn,
    zone: ZoneId,
    user: &str,
    resource: ResourceId,
    provider: ProviderId,
) -> Result<Option<ConnectionRow>> {
    let row = provider_connections::table
        .filter(provider_connections::zone_id.eq(Uuid::from(zone)))
        .filter(provider_connections::user_id.eq(user))
        .filter(provider_connections::resource_id.eq(Uuid::from(resource)))
        .filter(provider_connections::provider_id.eq(Uuid::from(provider)))
        .filter(provider_connections::revoked_at.is_null());
    Ok(row
        .select(ConnectionRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// A page of the zone's connections.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(
    conn: &mut Conn,
    zone: ZoneId,
    filter: &ConnectionFilter,
    page: &Page,
) -> Result<Vec<ConnectionRow>> {
    let of_zone = provider_connections::table.filter(provider_connections::zone_id.eq(Uuid::from(zone)));
    let mut rows = of_zone.select(ConnectionRow::as_select()).into_boxed();
    if let Some(user) = &filter.user_id {
        rows = rows.filter(provider_connections::user_id.eq(user));
    }
    if let Some(resource) = filter.resource_id {
        rows = rows.filter(provider_connections::resource_id.eq(Uuid::from(resource)));
    }
    if let Some(provider) = filter.provider_id {
        rows = rows.filter(provider_connections::provider_id.eq(Uuid::from(provider)));
    }
    let (ended, lapsed) = (
        provider_connections::revoked_at.is_not_null(),
        provider_connections::lapsed_at.is_not_null(),
    );
    rows = match filter.status {
        Some(ConnectionStatus::Active) => rows.filter(diesel::dsl::not(ended.or(lapsed))),
        Some(ConnectionStatus::Lapsed) => rows.filter(lapsed.and(diesel::dsl::not(ended))),
        Some(ConnectionStatus::Revoked) => rows.filter(ended),
        None => rows,
    };
    Ok(ascending!(rows, provider_connections, page).load(conn).await?)
}

/// Ends an active connection; `None` when there is none to end.
///
/// # Errors
/// When the database cannot be written.
pub async fn revoke(conn: &mut Conn, zone: ZoneId, id: ConnectionId) -> Result<Option<ConnectionRow>> {
    let active = provider_connections::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(provider_connections::revoked_at.is_null());
    Ok(diesel::update(active)
        .set(ended!())
        .returning(ConnectionRow::as_returning())
        .get_result(conn)
        .await
        .optional()?)
}

/// Whose connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// A user's.
    User(&'a str),
    /// Those at a provider.
    Provider(ProviderId),
    /// Those for a resource.
    Resource(ResourceId),
}

/// Ends every active connection of these, and gives them.
///
/// # Errors
/// When the database cannot be written.
pub async fn revoke_all(conn: &mut Conn, zone: ZoneId, of: Of<'_>) -> Result<Vec<ConnectionRow>> {
    let active = provider_connections::table
        .filter(provider_connections::zone_id.eq(Uuid::from(zone)))
        .filter(provider_connections::revoked_at.is_null());
    let ended = diesel::update(active).set(ended!()).into_boxed();
    let ended = match of {
        Of::User(user) => ended.filter(provider_connections::user_id.eq(user)),
        Of::Provider(id) => ended.filter(provider_connections::provider_id.eq(Uuid::from(id))),
        Of::Resource(id) => ended.filter(provider_connections::resource_id.eq(Uuid::from(id))),
    };
    Ok(ended.returning(ConnectionRow::as_returning()).load(conn).await?)
}
