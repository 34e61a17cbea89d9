//! Registered clients, services and agent workloads.

use crate::Conn;
use crate::column::{Named, Stored};
use crate::error::{Error, Result};
use crate::page::{Page, ascending};
use crate::schema::applications;
use caracal_domain::Timestamp;
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::zone::{Application, CredentialType, RegistrationMethod};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// An application as stored.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = applications)]
pub struct ApplicationRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id, the OAuth `client_id`.
    #[diesel(deserialize_as = Uuid)]
    pub id: ApplicationId,
    /// Its name.
    pub name: String,
    /// How it came to be.
    #[diesel(deserialize_as = Stored<RegistrationMethod>)]
    pub registration_method: RegistrationMethod,
    /// How it proves itself.
    #[diesel(deserialize_as = Stored<CredentialType>)]
    pub credential_type: CredentialType,
    /// Argon2id hash (PHC string) of its shared secret.
    pub secret_hash: Option<String>,
    /// Its public keys (RFC 7517).
    pub jwks: Option<Value>,
    /// Where its public keys are.
    pub jwks_uri: Option<String>,
    /// Labels that policy can read.
    pub traits: Vec<String>,
    /// `implicit` or `required`.
    pub consent: String,
    /// Where a user's browser may be sent back to.
    pub redirect_uris: Vec<String>,
    /// When a self-registered application ends.
    pub expires_at: Option<Timestamp>,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed visibly.
    pub updated_at: Timestamp,
}

impl std::fmt::Debug for ApplicationRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApplicationRow")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl From<ApplicationRow> for Application {
    fn from(row: ApplicationRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            registration_method: row.registration_method,
            credential_type: row.credential_type,
            secret_hash: row.secret_hash,
            jwks: row.jwks,
            jwks_uri: row.jwks_uri,
            traits: row.traits,
            expires_at: row.expires_at,
        }
    }
}

/// An application to be.
#[derive(Clone)]
pub struct NewApplication {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: ApplicationId,
    /// Its name.
    pub name: String,
    /// How it came to be.
    pub registration_method: RegistrationMethod,
    /// How it proves itself.
    pub credential_type: CredentialType,
    /// Argon2id hash (PHC string) of its shared secret; exactly for the types that have one.
    pub secret_hash: Option<String>,
    /// Its public keys.
    pub jwks: Option<Value>,
    /// Where its public keys are.
    pub jwks_uri: Option<String>,
    /// Labels that policy can read.
    pub traits: Vec<String>,
    /// `implicit` or `required`.
    pub consent: String,
    /// Where a user's browser may be sent back to.
    pub redirect_uris: Vec<String>,
    /// When a self-registered application ends; exactly for those.
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for NewApplication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewApplication")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What to change of an application; `None` leaves a field as it is.
#[derive(Clone, Default)]
pub struct ApplicationChanges {
    /// Its name.
    pub name: Option<String>,
    /// How it proves itself.
    pub credential_type: Option<CredentialType>,
    /// The hash of its shared secret; `Some(None)` removes it.
    pub secret_hash: Option<Option<String>>,
    /// Its public keys; `Some(None)` removes them.
    pub jwks: Option<Option<Value>>,
    /// Where its public keys are; `Some(None)` removes it.
    pub jwks_uri: Option<Option<String>>,
    /// Labels that policy can read.
    pub traits: Option<Vec<String>>,
    /// `implicit` or `required`.
    pub consent: Option<String>,
    /// Where a user's browser may be sent back to.
    pub redirect_uris: Option<Vec<String>>,
}

impl std::fmt::Debug for ApplicationChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApplicationChanges")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Adds one.
///
/// # Errors
/// [`Error::Conflict`] `applications_name_live` when a live one has the same name.
pub async fn insert(conn: &mut Conn, new: &NewApplication) -> Result<ApplicationRow> {
    let values = (
        applications::zone_id.eq(Uuid::from(new.zone_id)),
        applications::id.eq(Uuid::from(new.id)),
        applications::name.eq(&new.name),
        applications::registration_method.eq(new.registration_method.name()),
        applications::credential_type.eq(new.credential_type.name()),
        applications::secret_hash.eq(&new.secret_hash),
        applications::jwks.eq(&new.jwks),
        applications::jwks_uri.eq(&new.jwks_uri),
        applications::traits.eq(&new.traits),
        applications::consent.eq(&new.consent),
        applications::redirect_uris.eq(&new.redirect_uris),
        applications::expires_at.eq(new.expires_at),
    );
    let row = diesel::insert_into(applications::table)
        .values(values)
        .returning(ApplicationRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The application, if it is live.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: ApplicationId) -> Result<Option<ApplicationRow>> {
    let live = applications::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(applications::archived_at.is_null());
    Ok(live
        .select(ApplicationRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The application, which must be live.
///
/// # Errors
/// [`Error::NotFound`] when it is not.
pub async fn get(conn: &mut Conn, zone: ZoneId, id: ApplicationId) -> Result<ApplicationRow> {
    find(conn, zone, id).await?.ok_or(Error::NotFound("application"))
}

/// The application, if it is live, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(
    conn: &mut Conn,
    zone: ZoneId,
    id: ApplicationId,
) -> Result<Option<ApplicationRow>> {
    let live = applications::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(applications::archived_at.is_null());
    Ok(live
        .select(ApplicationRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// The live application with this name, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_named_for_update(
    conn: &mut Conn,
    zone: ZoneId,
    name: &str,
) -> Result<Option<ApplicationRow>> {
    let live = applications::table
        .filter(applications::zone_id.eq(Uuid::from(zone)))
        .filter(applications::name.eq(name))
        .filter(applications::archived_at.is_null());
    Ok(live
        .select(ApplicationRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// A page of the zone's live applications, or of those with this name, of which there is one at most.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(
    conn: &mut Conn,
    zone: ZoneId,
    name: Option<&str>,
    page: &Page,
) -> Result<Vec<ApplicationRow>> {
    let of_zone = applications::table
        .filter(applications::zone_id.eq(Uuid::from(zone)))
        .filter(applications::archived_at.is_null());
    let mut rows = of_zone.select(ApplicationRow::as_select()).into_boxed();
    if let Some(name) = name {
        rows = rows.filter(applications::name.eq(name));
    }
    Ok(ascending!(rows, applications, page).load(conn).await?)
}

/// Changes a live application and moves its version on.
///
/// # Errors
/// [`Error::NotFound`] when it is not live, [`Error::Conflict`] as for [`insert`].
pub async fn update(
    conn: &mut Conn,
    zone: ZoneId,
    id: ApplicationId,
    changes: &ApplicationChanges,
) -> Result<ApplicationRow> {
    let live = applications::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(applications::archived_at.is_null());
    let moved = (
        applications::version.eq(applications::version + 1),
        applications::updated_at.eq(diesel::dsl::now),
    );
    let changed = (
        changes.name.as_ref().map(|name| applications::name.eq(name)),
        changes
            .credential_type
            .map(|kind| applications::credential_type.eq(kind.name())),
        changes
            .secret_hash
            .as_ref()
            .map(|hash| applications::secret_hash.eq(hash)),
        changes.jwks.as_ref().map(|jwks| applications::jwks.eq(jwks)),
        changes
            .jwks_uri
            .as_ref()
            .map(|uri| applications::jwks_uri.eq(uri)),
        changes
            .traits
            .as_ref()
            .map(|traits| applications::traits.eq(traits)),
        changes
            .consent
            .as_ref()
            .map(|consent| applications::consent.eq(consent)),
        changes
            .redirect_uris
            .as_ref()
            .map(|uris| applications::redirect_uris.eq(uris)),
    );
    let row = diesel::update(live)
        .set((changed, moved))
        .returning(ApplicationRow::as_returning());
    row.get_result(conn)
        .await
        .optional()?
        .ok_or(Error::NotFound("application"))
}

/// Archives a live application; false when there is none.
///
/// # Errors
/// When the database cannot be written.
pub async fn archive(conn: &mut Conn, zone: ZoneId, id: ApplicationId) -> Result<bool> {
    let live = applications::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(applications::archived_at.is_null());
    let archived = (
        applications::archived_at.eq(diesel::dsl::now),
        applications::updated_at.eq(diesel::dsl::now),
        applications::version.eq(applications::version + 1),
    );
    Ok(diesel::update(live).set(archived).execute(conn).await? > 0)
}

/// The zone of an application, by its id alone; live ones only. For clients that name no zone.
///
/// # Errors
/// When the database cannot be read.
pub async fn zone_of(conn: &mut Conn, id: ApplicationId) -> Result<Option<ZoneId>> {
    let live = applications::table
        .filter(applications::id.eq(Uuid::from(id)))
        .filter(applications::archived_at.is_null());
    let zone: Option<Uuid> = live.select(applications::zone_id).first(conn).await.optional()?;
    Ok(zone.map(ZoneId::from))
}

/// Whether any application, live or not, ever had this id.
///
/// # Errors
/// When the database cannot be read.
pub async fn is_known(conn: &mut Conn, id: ApplicationId) -> Result<bool> {
    let known = applications::table.filter(applications::id.eq(Uuid::from(id)));
    Ok(diesel::select(diesel::dsl::exists(known))
        .get_result(conn)
        .await?)
}

/// How many self-registered applications of the zone are live and have not expired.
///
/// # Errors
/// When the database cannot be read.
pub async fn live_dcr(conn: &mut Conn, zone: ZoneId) -> Result<i64> {
    let live = applications::table
        .filter(applications::zone_id.eq(Uuid::from(zone)))
        .filter(applications::archived_at.is_null())
        .filter(applications::expires_at.gt(diesel::dsl::now));
    Ok(live.count().get_result(conn).await?)
}

/// How many applications registered themselves in the second before this transaction began, archived ones included.
/// Exact for whoever holds the zone's row lock.
///
/// # Errors
/// When the database cannot be read.
pub async fn registered_within_a_second(conn: &mut Conn, zone: ZoneId) -> Result<i64> {
    let a_second_ago = diesel::dsl::sql::<diesel::sql_types::Timestamptz>("now() - interval '1 second'");
    let recent = applications::table
        .filter(applications::zone_id.eq(Uuid::from(zone)))
        .filter(applications::registration_method.eq(RegistrationMethod::Dcr.name()))
        .filter(applications::created_at.gt(a_second_ago));
    Ok(recent.count().get_result(conn).await?)
}

/// Whether a policy of the zone's active set names the application, by its id or its name.
///
/// # Errors
/// When the database cannot be read.
pub async fn named_by_active_policy(
    conn: &mut Conn,
    zone: ZoneId,
    id: ApplicationId,
    name: &str,
) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        found: bool,
    }
    let query = diesel::sql_query(include_str!("applications/named_by_active_policy.sql"))
        .bind::<diesel::sql_types::Uuid, _>(Uuid::from(zone))
        .bind::<diesel::sql_types::Text, _>(id.to_string())
        .bind::<diesel::sql_types::Text, _>(Value::from(name).to_string())
        .bind::<diesel::sql_types::Text, _>(name);
    let found: Found = query.get_result(conn).await?;
    Ok(found.found)
}

pub(crate) async fn live(zone: ZoneId, mut conn: &Conn) -> Result<HashMap<ApplicationId, Arc<Application>>> {
    let of_zone = applications::table.filter(applications::zone_id.eq(Uuid::from(zone)));
    let live = of_zone
        .filter(applications::archived_at.is_null())
        .select(ApplicationRow::as_select());
    let rows: Vec<ApplicationRow> = live.load(&mut conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, Arc::new(row.into())))
        .collect())
}
