//! Administrators' bearer tokens; only their SHA-256 is stored.

use crate::Conn;
use crate::column::Optional;
use crate::error::Result;
use crate::kept::Kept;
use crate::page::{Page, ascending};
use crate::schema::{admin_tokens, zones};
use caracal_domain::Timestamp;
use caracal_domain::id::{AdminTokenId, ZoneId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A token as stored, without its hash.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = admin_tokens)]
pub struct AdminTokenRow {
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: AdminTokenId,
    /// The zone it is for; `None` for a global one.
    #[diesel(deserialize_as = Optional<ZoneId>)]
    pub zone_id: Option<ZoneId>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whether it may only read.
    pub read_only: bool,
    /// Whether it came from `CARACAL_ADMIN_TOKEN`.
    pub seeded: bool,
    /// Who made it.
    pub created_by: String,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A token to be.
#[derive(Debug, Clone)]
pub struct NewAdminToken {
    /// Its id.
    pub id: AdminTokenId,
    /// The zone it is for; `None` for a global one.
    pub zone_id: Option<ZoneId>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// SHA-256 of the secret.
    pub token_sha256: [u8; 32],
    /// Whether it may only read.
    pub read_only: bool,
    /// Who makes it.
    pub created_by: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// The token with this hash, if it is good: not revoked, not expired, and not of an archived zone.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_by_hash(mut conn: &Conn, hash: &[u8; 32]) -> Result<Option<AdminTokenRow>> {
    use diesel::dsl::now;
    let unexpired = admin_tokens::expires_at
        .is_null()
        .or(admin_tokens::expires_at.gt(now));
    let good = admin_tokens::table
        .left_join(zones::table.on(zones::id.nullable().eq(admin_tokens::zone_id)))
        .filter(admin_tokens::token_sha256.eq(hash.as_slice()))
        .filter(admin_tokens::revoked_at.is_null())
        .filter(unexpired.assume_not_null())
        .filter(zones::archived_at.is_null());
    Ok(good
        .select(AdminTokenRow::as_select())
        .first(&mut conn)
        .await
        .optional()?)
}

/// Whether the token still stands: not revoked, not expired, and not of an archived zone. A transaction that sees one zone
/// alone may ask as well.
///
/// # Errors
/// When the database cannot be read.
pub async fn stands(mut conn: &Conn, id: AdminTokenId) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        stands: bool,
    }
    let query = diesel::sql_query("SELECT caracal_admin_token_stands($1) AS stands")
        .bind::<diesel::sql_types::Uuid, _>(Uuid::from(id));
    let found: Found = Kept(query).get_result(&mut conn).await?;
    Ok(found.stands)
}

/// Adds a token.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) when the zone does not exist.
pub async fn insert(conn: &mut Conn, new: &NewAdminToken) -> Result<AdminTokenRow> {
    let values = (
        admin_tokens::id.eq(Uuid::from(new.id)),
        admin_tokens::scope.eq(if new.zone_id.is_some() { "zone" } else { "global" }),
        admin_tokens::zone_id.eq(new.zone_id.map(Uuid::from)),
        admin_tokens::name.eq(&new.name),
        admin_tokens::token_sha256.eq(new.token_sha256.as_slice()),
        admin_tokens::read_only.eq(new.read_only),
        admin_tokens::created_by.eq(&new.created_by),
        admin_tokens::expires_at.eq(new.expires_at),
    );
    let row = diesel::insert_into(admin_tokens::table)
        .values(values)
        .returning(AdminTokenRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// Makes `CARACAL_ADMIN_TOKEN` the one seeded global token; an earlier one with another secret ends. Several replicas
/// may do so at once, each in a transaction.
///
/// # Errors
/// When the database cannot be written.
pub async fn seed_global(conn: &mut Conn, hash: &[u8; 32], id: AdminTokenId) -> Result<()> {
    let others = admin_tokens::table
        .filter(admin_tokens::seeded)
        .filter(admin_tokens::revoked_at.is_null())
        .filter(admin_tokens::token_sha256.ne(hash.as_slice()));
    diesel::update(others)
        .set(admin_tokens::revoked_at.eq(diesel::dsl::now))
        .execute(conn)
        .await?;
    let values = (
        admin_tokens::id.eq(Uuid::from(id)),
        admin_tokens::scope.eq("global"),
        admin_tokens::name.eq("CARACAL_ADMIN_TOKEN"),
        admin_tokens::token_sha256.eq(hash.as_slice()),
        admin_tokens::seeded.eq(true),
        admin_tokens::created_by.eq("environment"),
    );
    diesel::insert_into(admin_tokens::table)
        .values(values)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// A page of tokens that are not revoked.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, page: &Page) -> Result<Vec<AdminTokenRow>> {
    let live = admin_tokens::table.filter(admin_tokens::revoked_at.is_null());
    let rows = live.select(AdminTokenRow::as_select()).into_boxed();
    Ok(ascending!(rows, admin_tokens, page).load(conn).await?)
}

/// The token, if it is not revoked.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, id: AdminTokenId) -> Result<Option<AdminTokenRow>> {
    let live = admin_tokens::table
        .find(Uuid::from(id))
        .filter(admin_tokens::revoked_at.is_null());
    Ok(live
        .select(AdminTokenRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The token, if it is not revoked, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(conn: &mut Conn, id: AdminTokenId) -> Result<Option<AdminTokenRow>> {
    let live = admin_tokens::table
        .find(Uuid::from(id))
        .filter(admin_tokens::revoked_at.is_null());
    Ok(live
        .select(AdminTokenRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// Ends a token; false when there is none to end.
///
/// # Errors
/// When the database cannot be written.
pub async fn revoke(conn: &mut Conn, id: AdminTokenId) -> Result<bool> {
    let live = admin_tokens::table
        .find(Uuid::from(id))
        .filter(admin_tokens::revoked_at.is_null());
    let ended = admin_tokens::revoked_at.eq(diesel::dsl::now);
    Ok(diesel::update(live).set(ended).execute(conn).await? > 0)
}
