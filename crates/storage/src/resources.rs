//! Protected upstreams.

use crate::Conn;
use crate::column::{Named, Optional, Stored};
use crate::error::{Error, Result};
use crate::page::{Page, ascending};
use crate::schema::resources;
use caracal_domain::id::{ProviderId, ResourceId, ZoneId};
use caracal_domain::zone::{AuthMode, Operation, Resource};
use caracal_domain::{Scope, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use std::sync::Arc;
use url::Url;
use uuid::Uuid;

/// A resource as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = resources)]
pub struct ResourceRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// What tokens and policies call it.
    pub identifier: String,
    /// Whether it also covers what lies below its identifier.
    pub prefix: bool,
    /// What may be asked for.
    pub scopes: Vec<String>,
    /// Where calls go.
    pub upstream_url: Option<String>,
    /// Where the upstream credential comes from.
    #[diesel(deserialize_as = Optional<ProviderId>)]
    pub credential_provider_id: Option<ProviderId>,
    /// How the gateway authenticates to the upstream.
    #[diesel(deserialize_as = Stored<AuthMode>)]
    pub auth_mode: AuthMode,
    /// When not empty, the only calls that pass: an array of [`Operation`].
    pub operations: Value,
    /// Request headers that pass beyond the gateway's own list.
    pub forward_headers: Vec<String>,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed visibly.
    pub updated_at: Timestamp,
}

impl TryFrom<ResourceRow> for Resource {
    type Error = Error;

    fn try_from(row: ResourceRow) -> Result<Self> {
        let scopes: std::result::Result<_, _> =
            row.scopes.iter().map(|scope| scope.parse::<Scope>()).collect();
        let upstream_url = row.upstream_url.as_deref().map(Url::parse).transpose();
        Ok(Self {
            id: row.id,
            name: row.name,
            identifier: row
                .identifier
                .parse()
                .map_err(|_| Error::Corrupt("resource identifier"))?,
            prefix: row.prefix,
            scopes: scopes.map_err(|_| Error::Corrupt("scope"))?,
            upstream_url: upstream_url.map_err(|_| Error::Corrupt("upstream URL"))?,
            provider_id: row.credential_provider_id,
            auth_mode: row.auth_mode,
            operations: serde_json::from_value(row.operations).map_err(|_| Error::Corrupt("operation"))?,
            forward_headers: row.forward_headers,
        })
    }
}

/// A resource to be.
#[derive(Debug, Clone)]
pub struct NewResource {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// What tokens and policies call it.
    pub identifier: String,
    /// Whether it also covers what lies below its identifier.
    pub prefix: bool,
    /// What may be asked for.
    pub scopes: Vec<String>,
    /// Where calls go.
    pub upstream_url: Option<String>,
    /// Where the upstream credential comes from.
    pub credential_provider_id: Option<ProviderId>,
    /// How the gateway authenticates to the upstream.
    pub auth_mode: AuthMode,
    /// When not empty, the only calls that pass.
    pub operations: Vec<Operation>,
    /// Request headers that pass beyond the gateway's own list.
    pub forward_headers: Vec<String>,
}

/// What to change of a resource; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ResourceChanges {
    /// Its name.
    pub name: Option<String>,
    /// What tokens and policies call it.
    pub identifier: Option<String>,
    /// Whether it also covers what lies below its identifier.
    pub prefix: Option<bool>,
    /// What may be asked for.
    pub scopes: Option<Vec<String>>,
    /// Where calls go; `Some(None)` removes it.
    pub upstream_url: Option<Option<String>>,
    /// Where the upstream credential comes from; `Some(None)` removes it.
    pub credential_provider_id: Option<Option<ProviderId>>,
    /// How the gateway authenticates to the upstream.
    pub auth_mode: Option<AuthMode>,
    /// When not empty, the only calls that pass.
    pub operations: Option<Vec<Operation>>,
    /// Request headers that pass beyond the gateway's own list.
    pub forward_headers: Option<Vec<String>>,
}

/// Adds one.
///
/// # Errors
/// [`Error::Conflict`] `resources_identifier_live` when a live one has the same identifier, `resources_provider` when its provider is not
/// of the zone.
pub async fn insert(conn: &mut Conn, new: &NewResource) -> Result<ResourceRow> {
    let values = (
        resources::zone_id.eq(Uuid::from(new.zone_id)),
        resources::id.eq(Uuid::from(new.id)),
        resources::name.eq(&new.name),
        resources::identifier.eq(&new.identifier),
        resources::prefix.eq(new.prefix),
        resources::scopes.eq(&new.scopes),
        resources::upstream_url.eq(&new.upstream_url),
        resources::credential_provider_id.eq(new.credential_provider_id.map(Uuid::from)),
        resources::auth_mode.eq(new.auth_mode.name()),
        resources::operations.eq(operations_json(&new.operations)?),
        resources::forward_headers.eq(&new.forward_headers),
    );
    let row = diesel::insert_into(resources::table)
        .values(values)
        .returning(ResourceRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The resource, if it is live.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: ResourceId) -> Result<Option<ResourceRow>> {
    let live = resources::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(resources::archived_at.is_null());
    Ok(live
        .select(ResourceRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The resource, which must be live.
///
/// # Errors
/// [`Error::NotFound`] when it is not.
pub async fn get(conn: &mut Conn, zone: ZoneId, id: ResourceId) -> Result<ResourceRow> {
    find(conn, zone, id).await?.ok_or(Error::NotFound("resource"))
}

/// The resource, if it is live, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(conn: &mut Conn, zone: ZoneId, id: ResourceId) -> Result<Option<ResourceRow>> {
    let live = resources::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(resources::archived_at.is_null());
    Ok(live
        .select(ResourceRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// Whether a live resource of the zone has this identifier.
///
/// # Errors
/// When the database cannot be read.
pub async fn is_taken(conn: &mut Conn, zone: ZoneId, identifier: &str) -> Result<bool> {
    let live = resources::table
        .filter(resources::zone_id.eq(Uuid::from(zone)))
        .filter(resources::identifier.eq(identifier))
        .filter(resources::archived_at.is_null());
    Ok(diesel::select(diesel::dsl::exists(live)).get_result(conn).await?)
}

/// A page of the zone's live resources, or of those with this identifier, of which there is one at most.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(
    conn: &mut Conn,
    zone: ZoneId,
    identifier: Option<&str>,
    page: &Page,
) -> Result<Vec<ResourceRow>> {
    let of_zone = resources::table
        .filter(resources::zone_id.eq(Uuid::from(zone)))
        .filter(resources::archived_at.is_null());
    let mut rows = of_zone.select(ResourceRow::as_select()).into_boxed();
    if let Some(identifier) = identifier {
        rows = rows.filter(resources::identifier.eq(identifier));
    }
    Ok(ascending!(rows, resources, page).load(conn).await?)
}

/// Changes a live resource and moves its version on.
///
/// # Errors
/// [`Error::NotFound`] when it is not live, [`Error::Conflict`] as for [`insert`].
pub async fn update(
    conn: &mut Conn,
    zone: ZoneId,
    id: ResourceId,
    changes: &ResourceChanges,
) -> Result<ResourceRow> {
    let live = resources::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(resources::archived_at.is_null());
    let moved = (
        resources::version.eq(resources::version + 1),
        resources::updated_at.eq(diesel::dsl::now),
    );
    let operations = changes.operations.as_deref().map(operations_json).transpose()?;
    let changed = (
        changes.name.as_ref().map(|name| resources::name.eq(name)),
        changes
            .identifier
            .as_ref()
            .map(|identifier| resources::identifier.eq(identifier)),
        changes.prefix.map(|prefix| resources::prefix.eq(prefix)),
        changes.scopes.as_ref().map(|scopes| resources::scopes.eq(scopes)),
        changes
            .upstream_url
            .as_ref()
            .map(|url| resources::upstream_url.eq(url)),
        changes
            .credential_provider_id
            .map(|id| resources::credential_provider_id.eq(id.map(Uuid::from))),
        changes.auth_mode.map(|mode| resources::auth_mode.eq(mode.name())),
        operations.map(|operations| resources::operations.eq(operations)),
        changes
            .forward_headers
            .as_ref()
            .map(|headers| resources::forward_headers.eq(headers)),
    );
    let row = diesel::update(live)
        .set((changed, moved))
        .returning(ResourceRow::as_returning());
    row.get_result(conn)
        .await
        .optional()?
        .ok_or(Error::NotFound("resource"))
}

/// Archives a live resource; false when there is none.
///
/// # Errors
/// When the database cannot be written.
pub async fn archive(conn: &mut Conn, zone: ZoneId, id: ResourceId) -> Result<bool> {
    let live = resources::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(resources::archived_at.is_null());
    let archived = (
        resources::archived_at.eq(diesel::dsl::now),
        resources::updated_at.eq(diesel::dsl::now),
        resources::version.eq(resources::version + 1),
    );
    Ok(diesel::update(live).set(archived).execute(conn).await? > 0)
}

/// The live resources that use the provider, but for those that show no credential; locked against other writers until
/// the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn following(conn: &mut Conn, zone: ZoneId, provider: ProviderId) -> Result<Vec<ResourceRow>> {
    let following = resources::table
        .filter(resources::zone_id.eq(Uuid::from(zone)))
        .filter(resources::credential_provider_id.eq(Uuid::from(provider)))
        .filter(resources::auth_mode.ne(AuthMode::None.name()))
        .filter(resources::archived_at.is_null());
    Ok(following
        .order(resources::id)
        .select(ResourceRow::as_select())
        .for_no_key_update()
        .load(conn)
        .await?)
}

/// How many live resources use the provider.
///
/// # Errors
/// When the database cannot be read.
pub async fn count_of_provider(conn: &mut Conn, zone: ZoneId, provider: ProviderId) -> Result<i64> {
    let using = resources::table
        .filter(resources::zone_id.eq(Uuid::from(zone)))
        .filter(resources::credential_provider_id.eq(Uuid::from(provider)))
        .filter(resources::archived_at.is_null());
    Ok(using.count().get_result(conn).await?)
}

/// The first `limit` live resources that use the provider.
///
/// # Errors
/// When the database cannot be read.
pub async fn of_provider(
    conn: &mut Conn,
    zone: ZoneId,
    provider: ProviderId,
    limit: i64,
) -> Result<Vec<ResourceRow>> {
    let using = resources::table
        .filter(resources::zone_id.eq(Uuid::from(zone)))
        .filter(resources::credential_provider_id.eq(Uuid::from(provider)))
        .filter(resources::archived_at.is_null());
    Ok(using
        .order((resources::created_at, resources::id))
        .limit(limit)
        .select(ResourceRow::as_select())
        .load(conn)
        .await?)
}

pub(crate) async fn live(zone: ZoneId, mut conn: &Conn) -> Result<Vec<Arc<Resource>>> {
    let of_zone = resources::table.filter(resources::zone_id.eq(Uuid::from(zone)));
    let live = of_zone
        .filter(resources::archived_at.is_null())
        .select(ResourceRow::as_select());
    let rows: Vec<ResourceRow> = live.load(&mut conn).await?;
    rows.into_iter()
        .map(|row| Resource::try_from(row).map(Arc::new))
        .collect()
}

fn operations_json(operations: &[Operation]) -> Result<Value> {
    serde_json::to_value(operations).map_err(|error| Error::Other(error.into()))
}
