//! Outside issuers whose tokens make user sessions.

use crate::Conn;
use crate::error::{Error, Result};
use crate::page::{Page, ascending};
use crate::schema::subject_issuers;
use caracal_domain::Timestamp;
use caracal_domain::id::{SubjectIssuerId, ZoneId};
use caracal_domain::zone::SubjectIssuer;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::sync::Arc;
use uuid::Uuid;

/// An issuer as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = subject_issuers)]
pub struct SubjectIssuerRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: SubjectIssuerId,
    /// The `iss` of its tokens, compared exactly.
    pub issuer: String,
    /// Where its keys are; `None` means by discovery.
    pub jwks_uri: Option<String>,
    /// The `aud` its tokens must have.
    pub audience: String,
    /// What is put before `sub` to make a subject id here.
    pub subject_prefix: String,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// An issuer to be.
#[derive(Debug, Clone)]
pub struct NewSubjectIssuer {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: SubjectIssuerId,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are; `None` means by discovery.
    pub jwks_uri: Option<String>,
    /// The `aud` its tokens must have.
    pub audience: String,
    /// What is put before `sub`.
    pub subject_prefix: String,
}

/// What to change of an issuer; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = subject_issuers)]
pub struct SubjectIssuerChanges {
    /// The `iss` of its tokens.
    pub issuer: Option<String>,
    /// Where its keys are; `Some(None)` means by discovery.
    pub jwks_uri: Option<Option<String>>,
    /// The `aud` its tokens must have.
    pub audience: Option<String>,
    /// What is put before `sub`.
    pub subject_prefix: Option<String>,
}

/// Adds one.
///
/// # Errors
/// [`Error::Conflict`] `subject_issuers_prefix_live` or `subject_issuers_token_live` when a live one has the prefix, or
/// accepts the same tokens.
pub async fn insert(conn: &mut Conn, new: &NewSubjectIssuer) -> Result<SubjectIssuerRow> {
    let values = (
        subject_issuers::zone_id.eq(Uuid::from(new.zone_id)),
        subject_issuers::id.eq(Uuid::from(new.id)),
        subject_issuers::issuer.eq(&new.issuer),
        subject_issuers::jwks_uri.eq(&new.jwks_uri),
        subject_issuers::audience.eq(&new.audience),
        subject_issuers::subject_prefix.eq(&new.subject_prefix),
    );
    let row = diesel::insert_into(subject_issuers::table)
        .values(values)
        .returning(SubjectIssuerRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The issuer, if it is live.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: SubjectIssuerId) -> Result<Option<SubjectIssuerRow>> {
    let live = subject_issuers::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(subject_issuers::archived_at.is_null());
    Ok(live
        .select(SubjectIssuerRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The issuer, if it is live, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(
    conn: &mut Conn,
    zone: ZoneId,
    id: SubjectIssuerId,
) -> Result<Option<SubjectIssuerRow>> {
    let live = subject_issuers::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(subject_issuers::archived_at.is_null());
    Ok(live
        .select(SubjectIssuerRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// A page of the zone's live issuers.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, zone: ZoneId, page: &Page) -> Result<Vec<SubjectIssuerRow>> {
    let of_zone = subject_issuers::table
        .filter(subject_issuers::zone_id.eq(Uuid::from(zone)))
        .filter(subject_issuers::archived_at.is_null());
    let rows = of_zone.select(SubjectIssuerRow::as_select()).into_boxed();
    Ok(ascending!(rows, subject_issuers, page).load(conn).await?)
}

/// All of the zone's live issuers, for its snapshot.
pub(crate) async fn live(zone: ZoneId, mut conn: &Conn) -> Result<Vec<Arc<SubjectIssuer>>> {
    let rows: Vec<SubjectIssuerRow> = subject_issuers::table
        .filter(subject_issuers::zone_id.eq(Uuid::from(zone)))
        .filter(subject_issuers::archived_at.is_null())
        .order((subject_issuers::created_at, subject_issuers::id))
        .select(SubjectIssuerRow::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|row| Arc::new(row.into())).collect())
}

impl From<SubjectIssuerRow> for SubjectIssuer {
    fn from(row: SubjectIssuerRow) -> Self {
        Self {
            id: row.id,
            issuer: row.issuer,
            jwks_uri: row.jwks_uri,
            audience: row.audience,
            subject_prefix: row.subject_prefix,
        }
    }
}

/// How many live ones the zone has. Exact for whoever holds the zone's row lock.
///
/// # Errors
/// When the database cannot be read.
pub async fn count(conn: &mut Conn, zone: ZoneId) -> Result<i64> {
    let live = subject_issuers::table
        .filter(subject_issuers::zone_id.eq(Uuid::from(zone)))
        .filter(subject_issuers::archived_at.is_null());
    Ok(live.count().get_result(conn).await?)
}

/// Changes a live issuer and moves its version on.
///
/// # Errors
/// [`Error::NotFound`] when it is not live, [`Error::Conflict`] as for [`insert`].
pub async fn update(
    conn: &mut Conn,
    zone: ZoneId,
    id: SubjectIssuerId,
    changes: &SubjectIssuerChanges,
) -> Result<SubjectIssuerRow> {
    let live = subject_issuers::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(subject_issuers::archived_at.is_null());
    let moved = (
        subject_issuers::version.eq(subject_issuers::version + 1),
        subject_issuers::updated_at.eq(diesel::dsl::now),
    );
    let row = diesel::update(live)
        .set((changes.clone(), moved))
        .returning(SubjectIssuerRow::as_returning());
    row.get_result(conn)
        .await
        .optional()?
        .ok_or(Error::NotFound("subject issuer"))
}

/// Archives a live issuer; false when there is none.
///
/// # Errors
/// When the database cannot be written.
pub async fn archive(conn: &mut Conn, zone: ZoneId, id: SubjectIssuerId) -> Result<bool> {
    let live = subject_issuers::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(subject_issuers::archived_at.is_null());
    let archived = (
        subject_issuers::archived_at.eq(diesel::dsl::now),
        subject_issuers::updated_at.eq(diesel::dsl::now),
        subject_issuers::version.eq(subject_issuers::version + 1),
    );
    Ok(diesel::update(live).set(archived).execute(conn).await? > 0)
}
