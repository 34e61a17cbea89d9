//! Consents under way: what we sent a user's browser to a provider with, until it comes back.

use crate::Conn;
use crate::error::Result;
use crate::schema::oauth_states;
use caracal_domain::Timestamp;
use caracal_domain::id::{ProviderId, ResourceId, ZoneId};
use caracal_domain::zone::Sealed;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A consent under way.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = oauth_states)]
pub struct StateRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// SHA-256 of the `state` that was sent.
    pub state_sha256: Vec<u8>,
    /// Who is to consent.
    pub user_id: String,
    /// For which resource.
    #[diesel(deserialize_as = Uuid)]
    pub resource_id: ResourceId,
    /// At which provider.
    #[diesel(deserialize_as = Uuid)]
    pub provider_id: ProviderId,
    /// To what.
    pub scopes: Vec<String>,
    /// Which DEK generation sealed the verifier.
    pub verifier_key_id: String,
    /// The PKCE verifier, sealed.
    pub verifier_sealed: Vec<u8>,
    /// Who began it.
    pub created_by: String,
}

impl StateRow {
    /// The sealed verifier.
    #[must_use]
    pub fn verifier(&self) -> Sealed {
        Sealed {
            key_id: self.verifier_key_id.clone(),
            bytes: self.verifier_sealed.clone(),
        }
    }
}

/// A consent to begin.
#[derive(Debug, Clone)]
pub struct NewState {
    /// Its zone.
    pub zone_id: ZoneId,
    /// SHA-256 of the `state` that will be sent.
    pub state_sha256: [u8; 32],
    /// Who is to consent.
    pub user_id: String,
    /// For which resource.
    pub resource_id: ResourceId,
    /// At which provider.
    pub provider_id: ProviderId,
    /// The version of it that was read to send the user there.
    pub provider_version: i64,
    /// To what.
    pub scopes: Vec<String>,
    /// The PKCE verifier, sealed.
    pub verifier: Sealed,
    /// Who begins it.
    pub created_by: String,
    /// Until when it may come back.
    pub expires_at: Timestamp,
}

/// Adds one.
///
/// # Errors
/// When the database cannot be written.
pub async fn insert_state(conn: &mut Conn, new: &NewState) -> Result<()> {
    let values = (
        oauth_states::zone_id.eq(Uuid::from(new.zone_id)),
        oauth_states::state_sha256.eq(new.state_sha256.as_slice()),
        oauth_states::user_id.eq(&new.user_id),
        oauth_states::resource_id.eq(Uuid::from(new.resource_id)),
        oauth_states::provider_id.eq(Uuid::from(new.provider_id)),
        oauth_states::provider_version.eq(new.provider_version),
        oauth_states::scopes.eq(&new.scopes),
        oauth_states::verifier_key_id.eq(&new.verifier.key_id),
        oauth_states::verifier_sealed.eq(&new.verifier.bytes),
        oauth_states::created_by.eq(&new.created_by),
        oauth_states::expires_at.eq(new.expires_at),
    );
    diesel::insert_into(oauth_states::table)
        .values(values)
        .execute(conn)
        .await?;
    Ok(())
}

/// The consent under way with this state, if it may still come back. The state alone says of which zone.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_state(conn: &mut Conn, state_sha256: &[u8; 32]) -> Result<Option<StateRow>> {
    let pending = oauth_states::table
        .filter(oauth_states::state_sha256.eq(state_sha256.as_slice()))
        .filter(oauth_states::consumed_at.is_null())
        .filter(oauth_states::expires_at.gt(diesel::dsl::now));
    Ok(pending
        .select(StateRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Uses a consent up, so that it never comes back a second time; whether this was the first.
///
/// # Errors
/// When the database cannot be written.
pub async fn consume_state(conn: &mut Conn, zone: ZoneId, state_sha256: &[u8; 32]) -> Result<bool> {
    let pending = oauth_states::table
        .find((Uuid::from(zone), state_sha256.to_vec()))
        .filter(oauth_states::consumed_at.is_null())
        .filter(oauth_states::expires_at.gt(diesel::dsl::now));
    let consumed = oauth_states::consumed_at.eq(diesel::dsl::now);
    Ok(diesel::update(pending).set(consumed).execute(conn).await? > 0)
}

/// Whether a consent that was begun is still wanted: nobody withdrew it, its user is not blocked, its zone, resource and
/// provider are live, the resource is still the provider's, and the provider is as it was.
///
/// # Errors
/// When the database cannot be read.
pub async fn is_wanted(mut conn: &Conn, zone: ZoneId, state_sha256: &[u8]) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        wanted: bool,
    }
    let query = diesel::sql_query(include_str!("is_wanted.sql"))
        .bind::<diesel::sql_types::Uuid, _>(Uuid::from(zone))
        .bind::<diesel::sql_types::Binary, _>(state_sha256);
    let found: Found = query.get_result(&mut conn).await?;
    Ok(found.wanted)
}

/// Takes back every consent that a user has begun, also one whose code is being exchanged.
///
/// # Errors
/// When the database cannot be written.
pub async fn withdraw_states_of(conn: &mut Conn, zone: ZoneId, user: &str) -> Result<()> {
    let of_user = oauth_states::table
        .filter(oauth_states::zone_id.eq(Uuid::from(zone)))
        .filter(oauth_states::user_id.eq(user));
    diesel::delete(of_user).execute(conn).await?;
    Ok(())
}
