//! How a zone's signing keys follow one another. Every function here wants the zone's row lock in its transaction, so
//! that one rotation at a time sees and leaves one active and one next key.

use crate::Conn;
use crate::column::Named;
use crate::error::{Error, Result};
use crate::keys::insert_signing_keys;
use crate::schema::{signing_keys, zones};
use caracal_domain::Timestamp;
use caracal_domain::id::{SigningKeyId, ZoneId};
use caracal_domain::zone::{KeyStatus, SigningKey};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Sets when the zone's `next` key begins to sign.
///
/// # Errors
/// [`Error::NotFound`] when the zone has no such key.
pub async fn schedule_rotation(conn: &mut Conn, zone: ZoneId, at: Timestamp) -> Result<()> {
    let next = of_zone(zone).filter(signing_keys::status.eq(KeyStatus::Next.name()));
    let scheduled = diesel::update(next).set(signing_keys::activates_at.eq(at));
    match scheduled.execute(conn).await? {
        0 => Err(Error::NotFound("signing key")),
        _ => Ok(()),
    }
}

/// The `next` key signs from now on, the one that signed stays published until `retires_at`, and `next` follows.
///
/// # Errors
/// When the database cannot be written.
pub async fn rotate_graceful(
    conn: &mut Conn,
    zone: ZoneId,
    next: &SigningKey,
    retires_at: Timestamp,
) -> Result<()> {
    let active = of_zone(zone).filter(signing_keys::status.eq(KeyStatus::Active.name()));
    let retiring = (
        signing_keys::status.eq(KeyStatus::Retiring.name()),
        signing_keys::retires_at.eq(retires_at),
    );
    diesel::update(active).set(retiring).execute(conn).await?;
    promote(conn, zone, next).await
}

/// The `next` key signs from now on, `next` follows, and every key that has signed is retired at once: which they are.
///
/// # Errors
/// When the database cannot be written.
pub async fn rotate_emergency(conn: &mut Conn, zone: ZoneId, next: &SigningKey) -> Result<Vec<SigningKeyId>> {
    let have_signed = [KeyStatus::Active.name(), KeyStatus::Retiring.name()];
    let old = of_zone(zone).filter(signing_keys::status.eq_any(have_signed));
    let dropped: Vec<Uuid> = diesel::update(old)
        .set(retired())
        .returning(signing_keys::id)
        .get_results(conn)
        .await?;
    promote(conn, zone, next).await?;
    Ok(dropped.into_iter().map(SigningKeyId::from).collect())
}

/// Retires the zone's keys whose last token has expired; which they are.
///
/// # Errors
/// When the database cannot be written.
pub async fn retire_expired(conn: &mut Conn, zone: ZoneId) -> Result<Vec<SigningKeyId>> {
    let leaving = of_zone(zone)
        .filter(signing_keys::status.eq(KeyStatus::Retiring.name()))
        .filter(signing_keys::retires_at.le(now));
    let gone: Vec<Uuid> = diesel::update(leaving)
        .set(signing_keys::status.eq(KeyStatus::Retired.name()))
        .returning(signing_keys::id)
        .get_results(conn)
        .await?;
    Ok(gone.into_iter().map(SigningKeyId::from).collect())
}

/// Live zones in which a scheduled rotation is due, or a key is to leave; at most `limit`.
///
/// # Errors
/// When the database cannot be read.
pub async fn zones_due(conn: &mut Conn, limit: i64) -> Result<Vec<ZoneId>> {
    let live = || {
        signing_keys::table
            .inner_join(zones::table.on(zones::id.eq(signing_keys::zone_id)))
            .filter(zones::archived_at.is_null())
            .select(signing_keys::zone_id)
    };
    let due = live()
        .filter(signing_keys::status.eq(KeyStatus::Next.name()))
        .filter(signing_keys::activates_at.le(now));
    let leaving = live()
        .filter(signing_keys::status.eq(KeyStatus::Retiring.name()))
        .filter(signing_keys::retires_at.le(now));
    // Apart, so that each is read from its own index: both are asked for every second.
    let found: Vec<Uuid> = due.union(leaving).limit(limit).load(conn).await?;
    Ok(found.into_iter().map(ZoneId::from).collect())
}

async fn promote(conn: &mut Conn, zone: ZoneId, next: &SigningKey) -> Result<()> {
    let waiting = of_zone(zone).filter(signing_keys::status.eq(KeyStatus::Next.name()));
    let signs = (
        signing_keys::status.eq(KeyStatus::Active.name()),
        signing_keys::activates_at.eq(now),
    );
    if diesel::update(waiting).set(signs).execute(conn).await? == 0 {
        return Err(Error::NotFound("signing key"));
    }
    insert_signing_keys(conn, zone, &[next]).await
}

type Retired = (
    diesel::dsl::Eq<signing_keys::status, &'static str>,
    diesel::dsl::Eq<signing_keys::retires_at, now>,
);

fn retired() -> Retired {
    (
        signing_keys::status.eq(KeyStatus::Retired.name()),
        signing_keys::retires_at.eq(now),
    )
}

type OfZone = diesel::dsl::Filter<signing_keys::table, diesel::dsl::Eq<signing_keys::zone_id, Uuid>>;

fn of_zone(zone: ZoneId) -> OfZone {
    signing_keys::table.filter(signing_keys::zone_id.eq(Uuid::from(zone)))
}
