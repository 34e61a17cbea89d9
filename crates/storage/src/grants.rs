//! Bindings of application, user and resource to scopes; policy reads them.

use crate::Conn;
use crate::error::Result;
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
    /// Which application it serves.
    #[diesel(deserialize_as = Uuid)]
    pub application_id: ApplicationId,
    /// For which user.
    pub user_id: String,
    /// At which resource.
    #[diesel(deserialize_as = Uuid)]
    pub resource_id: ResourceId,
    /// What it covers.
    pub scopes: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A grant to be.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: GrantId,
    /// Which application it serves.
    pub application_id: ApplicationId,
    /// For which user.
    pub user_id: String,
    /// At which resource.
    pub resource_id: ResourceId,
    /// What it covers: 1 to 64 scopes.
    pub scopes: ScopeSet,
    /// Who makes it.
    pub created_by: String,
}

/// Which grants to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantFilter {
    /// Only those of this application.
    pub application_id: Option<ApplicationId>,
    /// Only those of this user.
    pub user_id: Option<String>,
    /// Only those at this resource.
    pub resource_id: Option<ResourceId>,
    /// Only active ones, or only revoked ones.
    pub active: Option<bool>,
}

/// Adds one.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) `grants_one_active` when an active one binds the same three.
pub async fn insert(conn: &mut Conn, new: &NewGrant) -> Result<GrantRow> {
    let scopes: Vec<&str> = new.scopes.iter().map(Scope::as_str).collect();
    let values = (
        grants::zone_id.eq(Uuid::from(new.zone_id)),
        grants::id.eq(Uuid::from(new.id)),
        grants::application_id.eq(Uuid::from(new.application_id)),
        grants::user_id.eq(&new.user_id),
        grants::resource_id.eq(Uuid::from(new.resource_id)),
        grants::scopes.eq(scopes),
        grants::created_by.eq(&new.created_by),
    );
    let row = diesel::insert_into(grants::table)
        .values(values)
        .returning(GrantRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The grant, active or revoked.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: GrantId) -> Result<Option<GrantRow>> {
    let row = grants::table.find((Uuid::from(zone), Uuid::from(id)));
    Ok(row.select(GrantRow::as_select()).first(conn).await.optional()?)
}

/// A page of the zone's grants.
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

/// Revokes an active grant and answers with it; `None` when the zone has no such grant, or it is revoked already.
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
