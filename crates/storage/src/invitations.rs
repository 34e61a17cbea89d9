//! Invitations to administer a zone; only the SHA-256 of their token is stored.

use crate::Conn;
use crate::column::Optional;
use crate::error::Result;
use crate::page::{Page, ascending};
use crate::schema::{invitations, zones};
use caracal_domain::Timestamp;
use caracal_domain::id::{AdminTokenId, InvitationId, ZoneId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// An invitation as stored, without the hash of its token.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = invitations)]
pub struct InvitationRow {
    /// The zone to be administered.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: InvitationId,
    /// Who is invited.
    pub email: String,
    /// `admin` or `viewer`.
    pub role: String,
    /// Who invites.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was accepted.
    pub accepted_at: Option<Timestamp>,
    /// The token it was exchanged for.
    #[diesel(deserialize_as = Optional<AdminTokenId>)]
    pub admin_token_id: Option<AdminTokenId>,
    /// Its ETag.
    pub version: i64,
}

/// An invitation to be.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// The zone to be administered.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: InvitationId,
    /// Who is invited.
    pub email: String,
    /// `admin` or `viewer`.
    pub role: &'static str,
    /// SHA-256 of its token.
    pub token_sha256: [u8; 32],
    /// Who invites.
    pub created_by: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Adds one.
///
/// # Errors
/// When the database cannot be written.
pub async fn insert(conn: &mut Conn, new: &NewInvitation) -> Result<InvitationRow> {
    let values = (
        invitations::zone_id.eq(Uuid::from(new.zone_id)),
        invitations::id.eq(Uuid::from(new.id)),
        invitations::email.eq(&new.email),
        invitations::role.eq(new.role),
        invitations::token_sha256.eq(new.token_sha256.as_slice()),
        invitations::created_by.eq(&new.created_by),
        invitations::expires_at.eq(new.expires_at),
    );
    let row = diesel::insert_into(invitations::table)
        .values(values)
        .returning(InvitationRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// A page of the zone's invitations that were not taken back.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, zone: ZoneId, page: &Page) -> Result<Vec<InvitationRow>> {
    let of_zone = invitations::table
        .filter(invitations::zone_id.eq(Uuid::from(zone)))
        .filter(invitations::revoked_at.is_null());
    let rows = of_zone.select(InvitationRow::as_select()).into_boxed();
    Ok(ascending!(rows, invitations, page).load(conn).await?)
}

/// The invitation, if it was not taken back.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: InvitationId) -> Result<Option<InvitationRow>> {
    let kept = invitations::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(invitations::revoked_at.is_null());
    Ok(kept
        .select(InvitationRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Takes an invitation back and answers with it; `None` when there is none to take back: unknown, accepted, or taken
/// back before.
///
/// # Errors
/// When the database cannot be written.
pub async fn revoke(conn: &mut Conn, zone: ZoneId, id: InvitationId) -> Result<Option<InvitationRow>> {
    let open = invitations::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(invitations::accepted_at.is_null())
        .filter(invitations::revoked_at.is_null());
    let revoked = (
        invitations::revoked_at.eq(diesel::dsl::now),
        invitations::version.eq(invitations::version + 1),
    );
    let row = diesel::update(open)
        .set(revoked)
        .returning(InvitationRow::as_returning());
    Ok(row.get_result(conn).await.optional()?)
}

/// The invitation with this token, locked until the transaction ends; `None` when it cannot be accepted: unknown,
/// expired, accepted, taken back, or its zone archived. Of several at once one finds it.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_open_by_token(conn: &mut Conn, token_sha256: &[u8; 32]) -> Result<Option<InvitationRow>> {
    let live_zone = zones::table
        .filter(zones::id.eq(invitations::zone_id))
        .filter(zones::archived_at.is_null());
    let open = invitations::table
        .filter(invitations::token_sha256.eq(token_sha256.as_slice()))
        .filter(invitations::accepted_at.is_null())
        .filter(invitations::revoked_at.is_null())
        .filter(invitations::expires_at.gt(diesel::dsl::now))
        .filter(diesel::dsl::exists(live_zone));
    Ok(open
        .select(InvitationRow::as_select())
        .for_update()
        .first(conn)
        .await
        .optional()?)
}

/// Notes what an invitation was exchanged for; the caller holds its lock.
///
/// # Errors
/// When the database cannot be written.
pub async fn accept(
    conn: &mut Conn,
    zone: ZoneId,
    id: InvitationId,
    token: AdminTokenId,
) -> Result<InvitationRow> {
    let accepted = (
        invitations::accepted_at.eq(diesel::dsl::now),
        invitations::admin_token_id.eq(Uuid::from(token)),
        invitations::version.eq(invitations::version + 1),
    );
    let row = diesel::update(invitations::table.find((Uuid::from(zone), Uuid::from(id))))
        .set(accepted)
        .returning(InvitationRow::as_returning());
    Ok(row.get_result(conn).await?)
}
