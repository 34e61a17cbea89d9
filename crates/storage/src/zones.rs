//! Zones, and the epoch that orders everything that happens in one.

use crate::Conn;
use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::page::{Page, ascending};
use crate::schema::zones;
use caracal_domain::id::ZoneId;
use caracal_domain::{Epoch, Timestamp};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bytea, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use std::collections::HashMap;
use uuid::Uuid;

/// A zone as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = zones)]
pub struct ZoneRow {
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: ZoneId,
    /// The organisation it belongs to.
    pub org_id: String,
    /// Its name.
    pub name: String,
    /// Its slug, unique among live zones.
    pub slug: String,
    /// Whether applications may register themselves.
    pub dcr_enabled: bool,
    /// Whether sign-in needs PKCE.
    pub pkce_required: bool,
    /// How users sign in.
    pub login_flow: String,
    /// Whether reserved names may be used in it.
    pub is_system: bool,
    /// Mandates a minute, per resource, application and replica.
    pub mint_rate_per_minute: i32,
    /// Its epoch.
    #[diesel(deserialize_as = i64)]
    pub epoch: Epoch,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed visibly.
    pub updated_at: Timestamp,
}

/// A zone to be.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = zones)]
pub struct NewZone {
    /// Its id.
    #[diesel(serialize_as = Uuid)]
    pub id: ZoneId,
    /// The organisation it belongs to.
    pub org_id: String,
    /// Its name.
    pub name: String,
    /// Its slug.
    pub slug: String,
    /// Whether applications may register themselves.
    pub dcr_enabled: bool,
    /// Whether sign-in needs PKCE.
    pub pkce_required: bool,
    /// How users sign in.
    pub login_flow: String,
    /// Whether reserved names may be used in it.
    pub is_system: bool,
}

/// What to change of a zone; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = zones)]
pub struct ZoneChanges {
    /// The organisation it belongs to.
    pub org_id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its slug.
    pub slug: Option<String>,
    /// Whether applications may register themselves.
    pub dcr_enabled: Option<bool>,
    /// Whether sign-in needs PKCE.
    pub pkce_required: Option<bool>,
    /// How users sign in.
    pub login_flow: Option<String>,
    /// Whether reserved names may be used in it.
    pub is_system: Option<bool>,
    /// Mandates a minute.
    pub mint_rate_per_minute: Option<i32>,
}

/// Where a zone's epoch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bump {
    /// The epoch before.
    pub previous: Epoch,
    /// The epoch of this transaction.
    pub epoch: Epoch,
    /// Whether the zone is archived, as it is now that its row is the transaction's.
    pub is_archived: bool,
    /// Whether it is a system zone.
    pub is_system: bool,
}

/// Adds a zone.
///
/// # Errors
/// [`Error::Conflict`] `zones_slug_live` when the slug is taken.
pub async fn insert(mut conn: &Conn, new: &NewZone) -> Result<ZoneRow> {
    let row = diesel::insert_into(zones::table)
        .values(new.clone())
        .returning(ZoneRow::as_returning());
    Ok(Kept(row).get_result(&mut conn).await?)
}

/// The zone, if it is live.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(mut conn: &Conn, zone: ZoneId) -> Result<Option<ZoneRow>> {
    let live = zones::table
        .filter(zones::id.eq(Uuid::from(zone)))
        .filter(zones::archived_at.is_null());
    Ok(live
        .select(ZoneRow::as_select())
        .first(&mut conn)
        .await
        .optional()?)
}

/// The zone, live or archived: for what outlives it.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_even_archived(mut conn: &Conn, zone: ZoneId) -> Result<Option<ZoneRow>> {
    let any = zones::table.find(Uuid::from(zone));
    Ok(any
        .select(ZoneRow::as_select())
        .first(&mut conn)
        .await
        .optional()?)
}

/// The zone, which must be live.
///
/// # Errors
/// [`Error::NotFound`] when it is not.
pub async fn get(conn: &mut Conn, zone: ZoneId) -> Result<ZoneRow> {
    find(conn, zone).await?.ok_or(Error::NotFound("zone"))
}

/// The zone, if it is live, held as it is until the transaction ends. Whoever holds it must not change it: two who hold it
/// would wait for each other.
///
/// # Errors
/// When the database cannot be read.
pub async fn hold(conn: &mut Conn, zone: ZoneId) -> Result<Option<ZoneRow>> {
    let live = zones::table
        .filter(zones::id.eq(Uuid::from(zone)))
        .filter(zones::archived_at.is_null());
    Ok(live
        .select(ZoneRow::as_select())
        .for_share()
        .first(conn)
        .await
        .optional()?)
}

/// The zone, if it is live, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(conn: &mut Conn, zone: ZoneId) -> Result<Option<ZoneRow>> {
    let live = zones::table
        .filter(zones::id.eq(Uuid::from(zone)))
        .filter(zones::archived_at.is_null());
    Ok(live
        .select(ZoneRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// What the zone's live objects are called, of the names that have `part` (in lower case) in them.
///
/// # Errors
/// When the database cannot be read.
pub async fn names_within(conn: &mut Conn, zone: ZoneId, part: &str) -> Result<Vec<String>> {
    #[derive(QueryableByName)]
    struct Named {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
    }
    let query = diesel::sql_query(include_str!("zones/names_within.sql"))
        .bind::<diesel::sql_types::Uuid, _>(Uuid::from(zone))
        .bind::<diesel::sql_types::Text, _>(part);
    let found: Vec<Named> = query.load(conn).await?;
    Ok(found.into_iter().map(|named| named.name).collect())
}

/// The live zone with this slug.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_by_slug(conn: &mut Conn, slug: &str) -> Result<Option<ZoneRow>> {
    let live = zones::table
        .filter(zones::slug.eq(slug))
        .filter(zones::archived_at.is_null());
    Ok(live.select(ZoneRow::as_select()).first(conn).await.optional()?)
}

/// The id of the live zone with this slug, for roles that may see no more of a zone.
///
/// # Errors
/// When the database cannot be read.
pub async fn id_by_slug(conn: &mut Conn, slug: &str) -> Result<Option<ZoneId>> {
    let live = zones::table
        .filter(zones::slug.eq(slug))
        .filter(zones::archived_at.is_null());
    let id: Option<Uuid> = live.select(zones::id).first(conn).await.optional()?;
    Ok(id.map(ZoneId::from))
}

/// A slug like `base` that no live zone has: `base`, or one of `base-2`, `base-3`, …, the first free one among the low
/// numbers. It is held until the transaction ends: nobody else who asks here is given it, but nothing keeps others from
/// taking it without asking.
///
/// # Errors
/// When the database cannot be asked.
pub async fn free_slug(mut conn: &Conn, base: &str) -> Result<String> {
    #[derive(QueryableByName)]
    struct Free {
        #[diesel(sql_type = Text)]
        slug: String,
    }
    let free = diesel::sql_query("SELECT caracal_free_slug($1) AS slug").bind::<Text, _>(base);
    let free: Free = Kept(free).get_result(&mut conn).await?;
    Ok(free.slug)
}

/// A page of live zones, or of those with this slug, of which there is one at most.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, slug: Option<&str>, page: &Page) -> Result<Vec<ZoneRow>> {
    let mut live = zones::table
        .filter(zones::archived_at.is_null())
        .select(ZoneRow::as_select())
        .into_boxed();
    if let Some(slug) = slug {
        live = live.filter(zones::slug.eq(slug));
    }
    Ok(ascending!(live, zones, page).load(conn).await?)
}

/// What tells a page of live zones from any other page of zones there ever was: the ids and versions of its zones, in
/// order. Whatever is shown of a zone moves its version on, so a page with the same stamps reads the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps(Vec<u8>);

impl Stamps {
    /// Those of rows that were listed.
    #[must_use]
    pub fn of(rows: &[ZoneRow]) -> Self {
        let stamp = |row: &ZoneRow| {
            let (id, version) = (Uuid::from(row.id), row.version.to_be_bytes());
            id.into_bytes().into_iter().chain(version)
        };
        Self(rows.iter().flat_map(stamp).collect())
    }
}

/// The stamps of a page as [`list`] would find it now, which costs much less.
///
/// # Errors
/// When the database cannot be read.
pub async fn stamps(conn: &mut Conn, page: &Page) -> Result<Stamps> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Bytea)]
        stamps: Vec<u8>,
    }
    // No zone is as old as that.
    let (at, id) = page.after.unwrap_or((Timestamp::UNIX_EPOCH, Uuid::nil()));
    let query = diesel::sql_query(include_str!("zones/stamps.sql"))
        .bind::<Timestamptz, _>(at)
        .bind::<SqlUuid, _>(id)
        .bind::<BigInt, _>(page.limit);
    let found: Found = Kept(query).get_result(conn).await?;
    Ok(Stamps(found.stamps))
}

/// Changes a live zone and moves its version on.
///
/// # Errors
/// [`Error::NotFound`] when it is not live, [`Error::Conflict`] when the slug is taken.
pub async fn update(conn: &mut Conn, zone: ZoneId, changes: &ZoneChanges) -> Result<ZoneRow> {
    let live = zones::table
        .filter(zones::id.eq(Uuid::from(zone)))
        .filter(zones::archived_at.is_null());
    let moved = (
        zones::version.eq(zones::version + 1),
        zones::updated_at.eq(diesel::dsl::now),
    );
    let row = diesel::update(live)
        .set((changes.clone(), moved))
        .returning(ZoneRow::as_returning());
    row.get_result(conn)
        .await
        .optional()?
        .ok_or(Error::NotFound("zone"))
}

/// Archives a live zone; false when there is none.
///
/// # Errors
/// [`Error::Conflict`] `zones_system_zone_protected` for the system zone.
pub async fn archive(conn: &mut Conn, zone: ZoneId) -> Result<bool> {
    let live = zones::table
        .filter(zones::id.eq(Uuid::from(zone)))
        .filter(zones::archived_at.is_null());
    let archived = (
        zones::archived_at.eq(diesel::dsl::now),
        zones::updated_at.eq(diesel::dsl::now),
        zones::version.eq(zones::version + 1),
    );
    Ok(diesel::update(live).set(archived).execute(conn).await? > 0)
}

/// Draws the zone's next epoch under its row lock. Call it last in a transaction that changes configuration or takes
/// authority away: the lock is held until the commit, so epoch order is commit order.
///
/// # Errors
/// [`Error::NotFound`] when there is no such zone.
pub async fn bump_epoch(mut conn: &Conn, zone: ZoneId) -> Result<Bump> {
    #[derive(QueryableByName)]
    struct Drawn {
        #[diesel(sql_type = BigInt)]
        previous: i64,
        #[diesel(sql_type = BigInt)]
        epoch: i64,
        #[diesel(sql_type = diesel::sql_types::Bool)]
        is_archived: bool,
        #[diesel(sql_type = diesel::sql_types::Bool)]
        is_system: bool,
    }
    let bump = diesel::sql_query(include_str!("zones/bump_epoch.sql")).bind::<SqlUuid, _>(Uuid::from(zone));
    let drawn: Option<Drawn> = Kept(bump).get_result(&mut conn).await.optional()?;
    let drawn = drawn.ok_or(Error::NotFound("zone"))?;
    Ok(Bump {
        previous: drawn.previous.into(),
        epoch: drawn.epoch.into(),
        is_archived: drawn.is_archived,
        is_system: drawn.is_system,
    })
}

/// The zone's epoch now; `None` when there is no such zone or it is archived.
///
/// # Errors
/// When the database cannot be read.
pub async fn epoch(conn: &mut Conn, zone: ZoneId) -> Result<Option<Epoch>> {
    let live = zones::table
        .filter(zones::id.eq(Uuid::from(zone)))
        .filter(zones::archived_at.is_null());
    let epoch: Option<i64> = live.select(zones::epoch).first(conn).await.optional()?;
    Ok(epoch.map(Epoch::from))
}

/// The epochs now of those of the zones that are live.
///
/// # Errors
/// When the database cannot be read.
pub async fn epochs(conn: &mut Conn, ids: &[ZoneId]) -> Result<HashMap<ZoneId, Epoch>> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let live = zones::table
        .filter(zones::id.eq_any(ids))
        .filter(zones::archived_at.is_null());
    let rows: Vec<(Uuid, i64)> = live.select((zones::id, zones::epoch)).load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(id, epoch)| (id.into(), epoch.into()))
        .collect())
}
