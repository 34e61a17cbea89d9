//! Grants: what an application may do with a resource for a user. Policy reads them; they are not required to mint.

use crate::Conn;
use crate::error::{Error, Result};
use crate::page::{Page, ascending};
use crate::schema::grants;
use caracal_domain::id::{ApplicationId, GrantId, ResourceId, ZoneId};
use caracal_domain::{Scope, ScopeSet, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A grant as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = grants)]
pub struct GrantRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: GrantId,
    /// The application that may act.
    #[diesel(deserialize_as = Uuid)]
    pub application_id: ApplicationId,
    /// The user it may act for: the subject of a user session.
    pub user_id: String,
    /// The resource it may act on.
    #[diesel(deserialize_as = Uuid)]
    pub resource_id: ResourceId,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked; it is active until then.
    pub revoked_at: Option<Timestamp>,
}

impl GrantRow {
    /// What it allows, as a set.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a stored scope is none.
    pub fn scope_set(&self) -> Result<ScopeSet> {
        let scopes = self.scopes.iter().map(|scope| scope.parse::<Scope>());
        scopes
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| Error::Corrupt("grant scope"))
    }
}

/// A grant to be.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: GrantId,
    /// The application that may act.
    pub application_id: ApplicationId,
    /// The user it may act for.
    pub user_id: String,
    /// The resource it may act on.
    pub resource_id: ResourceId,
    /// What it may do, at least one scope, each once.
    pub scopes: Vec<String>,
    /// Who makes it.
    pub created_by: String,
}

/// Which grants to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantFilter {
    /// Only those of this application.
    pub application_id: Option<ApplicationId>,
    /// Only those for this user.
    pub user_id: Option<String>,
    /// Only those on this resource.
    pub resource_id: Option<ResourceId>,
    /// Only the active ones, or only the revoked ones.
    pub active: Option<bool>,
}

/// Adds a grant.
///
/// # Errors
/// [`Error::Conflict`] `grants_one_active` when the application has one for this user and resource,
/// `grants_application` or `grants_resource` when the zone has no such thing.
pub async fn insert(conn: &mut Conn, new: &NewGrant) -> Result<GrantRow> {
    let values = (
        grants::zone_id.eq(Uuid::from(new.zone_id)),
        grants::id.eq(Uuid::from(new.id)),
        grants::application_id.eq(Uuid::from(new.application_id)),
        grants::user_id.eq(&new.user_id),
        grants::resource_id.eq(Uuid::from(new.resource_id)),
        grants::scopes.eq(&new.scopes),
        grants::created_by.eq(&new.created_by),
    );
    let inserted = diesel::insert_into(grants::table).values(values);
    Ok(inserted
        .returning(GrantRow::as_returning())
        .get_result(conn)
        .await?)
}

/// The grant, active or revoked.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: GrantId) -> Result<Option<GrantRow>> {
    let row = grants::table.find((Uuid::from(zone), Uuid::from(id)));
    Ok(row.select(GrantRow::as_select()).first(conn).await.optional()?)
}

/// The active grant of an application for a user on a resource: what policy sees as `input.grant`.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_active(
    conn: &mut Conn,
    zone: ZoneId,
    application: ApplicationId,
    user: &str,
    resource: ResourceId,
) -> Result<Option<GrantRow>> {
    let active = grants::table
        .filter(grants::zone_id.eq(Uuid::from(zone)))
        .filter(grants::application_id.eq(Uuid::from(application)))
        .filter(grants::user_id.eq(user))
        .filter(grants::resource_id.eq(Uuid::from(resource)))
        .filter(grants::revoked_at.is_null());
    Ok(active
        .select(GrantRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// A page of the zone's grants, oldest first.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, zone: ZoneId, filter: &GrantFilter, page: &Page) -> Result<Vec<GrantRow>> {
    let of_zone = grants::table.filter(grants::zone_id.eq(Uuid::from(zone)));
    let mut query = of_zone.select(GrantRow::as_select()).into_boxed();
    if let Some(application) = filter.application_id {
        query = query.filter(grants::application_id.eq(Uuid::from(application)));
    }
    if let Some(user) = &filter.user_id {
        query = query.filter(grants::user_id.eq(user));
    }
    if let Some(resource) = filter.resource_id {
        query = query.filter(grants::resource_id.eq(Uuid::from(resource)));
    }
    query = match filter.active {
        None => query,
        Some(true) => query.filter(grants::revoked_at.is_null()),
        Some(false) => query.filter(grants::revoked_at.is_not_null()),
    };
    Ok(ascending!(query, grants, page).load(conn).await?)
}

/// Revokes an active grant and answers with it as it now is; `None` when there is no active one with this id.
///
/// # Errors
/// When the database cannot be written.
pub async fn revoke(conn: &mut Conn, zone: ZoneId, id: GrantId) -> Result<Option<GrantRow>> {
    let active = grants::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(grants::revoked_at.is_null());
    let revoked = (
        grants::revoked_at.eq(diesel::dsl::now),
        grants::version.eq(grants::version + 1),
    );
    let row = diesel::update(active)
        .set(revoked)
        .returning(GrantRow::as_returning());
    Ok(row.get_result(conn).await.optional()?)
}
