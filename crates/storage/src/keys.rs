//! A zone's data-encryption key and its signing keys; only ever ciphertext.

mod rotate;

use crate::Conn;
use crate::column::{Named, Stored};
use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::page::{Page, ascending};
use crate::schema::{signing_keys, zone_deks};
use caracal_domain::Timestamp;
use caracal_domain::id::{SigningKeyId, ZoneId};
use caracal_domain::zone::{KeyStatus, Sealed, SigningKey};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::collections::HashMap;
use uuid::Uuid;

pub use rotate::{retire_expired, rotate_emergency, rotate_graceful, schedule_rotation, zones_due};

/// A signing key as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = signing_keys)]
pub struct SigningKeyRow {
    /// The `kid`.
    #[diesel(deserialize_as = Uuid)]
    pub id: SigningKeyId,
    /// Where it stands.
    #[diesel(deserialize_as = Stored<KeyStatus>)]
    pub status: KeyStatus,
    /// The public half: an uncompressed P-256 point.
    pub public_point: Vec<u8>,
    /// Which DEK generation sealed the private half.
    pub private_key_id: String,
    /// The private half, sealed.
    pub private_sealed: Vec<u8>,
    /// When it was made, and published.
    pub created_at: Timestamp,
    /// When it began to sign.
    pub activates_at: Option<Timestamp>,
    /// When it leaves, or left, the published set.
    pub retires_at: Option<Timestamp>,
}

impl From<SigningKeyRow> for SigningKey {
    fn from(row: SigningKeyRow) -> Self {
        Self {
            id: row.id,
            status: row.status,
            public: row.public_point,
            sealed_private: Sealed {
                key_id: row.private_key_id,
                bytes: row.private_sealed,
            },
        }
    }
}

/// Stores a new zone's first DEK.
///
/// # Errors
/// [`Error::Conflict`] when the zone has one.
pub async fn insert_dek(mut conn: &Conn, zone: ZoneId, dek: &Sealed) -> Result<()> {
    let row = (
        zone_deks::zone_id.eq(Uuid::from(zone)),
        zone_deks::generation.eq(1),
        zone_deks::kek_id.eq(&dek.key_id),
        zone_deks::sealed.eq(&dek.bytes),
    );
    diesel::insert_into(zone_deks::table)
        .values(row)
        .execute(&mut conn)
        .await?;
    Ok(())
}

/// The zone's DEK, sealed by a KEK.
///
/// # Errors
/// When the database cannot be read.
pub async fn dek(conn: &mut Conn, zone: ZoneId) -> Result<Option<Sealed>> {
    latest_dek(zone, conn).await
}

pub(crate) async fn latest_dek(zone: ZoneId, mut conn: &Conn) -> Result<Option<Sealed>> {
    let of_zone = zone_deks::table.filter(zone_deks::zone_id.eq(Uuid::from(zone)));
    let latest = of_zone
        .order(zone_deks::generation.desc())
        .select((zone_deks::kek_id, zone_deks::sealed));
    let found: Option<(String, Vec<u8>)> = latest.first(&mut conn).await.optional()?;
    Ok(found.map(|(key_id, bytes)| Sealed { key_id, bytes }))
}

/// Stores key pairs, in one statement. An active one begins to sign now.
///
/// # Errors
/// [`Error::Conflict`] `signing_keys_one_active` or `signing_keys_one_next` when the zone would have two such keys.
pub async fn insert_signing_keys(mut conn: &Conn, zone: ZoneId, keys: &[&SigningKey]) -> Result<()> {
    let row = |key: &'_ &SigningKey| {
        let begins = (key.status != KeyStatus::Next).then_some(diesel::dsl::now);
        (
            signing_keys::zone_id.eq(Uuid::from(zone)),
            signing_keys::id.eq(Uuid::from(key.id)),
            signing_keys::status.eq(key.status.name()),
            signing_keys::public_point.eq(key.public.clone()),
            signing_keys::private_key_id.eq(key.sealed_private.key_id.clone()),
            signing_keys::private_sealed.eq(key.sealed_private.bytes.clone()),
            begins.map(|now| signing_keys::activates_at.eq(now)),
        )
    };
    let rows: Vec<_> = keys.iter().map(row).collect();
    Kept(diesel::insert_into(signing_keys::table).values(rows))
        .execute(&mut conn)
        .await?;
    Ok(())
}

/// Every signing key of the zone, oldest first, retired ones included.
///
/// # Errors
/// When the database cannot be read.
pub async fn signing_keys(conn: &mut Conn, zone: ZoneId) -> Result<Vec<SigningKeyRow>> {
    let of_zone = signing_keys::table.filter(signing_keys::zone_id.eq(Uuid::from(zone)));
    let sorted = of_zone
        .order((signing_keys::created_at, signing_keys::id))
        .select(SigningKeyRow::as_select());
    Ok(sorted.load(conn).await?)
}

/// A page of the zone's signing keys, retired ones included.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, zone: ZoneId, page: &Page) -> Result<Vec<SigningKeyRow>> {
    let of_zone = signing_keys::table.filter(signing_keys::zone_id.eq(Uuid::from(zone)));
    let rows = of_zone.select(SigningKeyRow::as_select()).into_boxed();
    Ok(ascending!(rows, signing_keys, page).load(conn).await?)
}

/// The keys that are published now, and when each that signs no more leaves.
pub(crate) type Published = (Vec<SigningKey>, HashMap<SigningKeyId, Timestamp>);

pub(crate) async fn published(zone: ZoneId, mut conn: &Conn) -> Result<Published> {
    let of_zone = signing_keys::table.filter(signing_keys::zone_id.eq(Uuid::from(zone)));
    let last_token_lives = signing_keys::retires_at
        .is_null()
        .or(signing_keys::retires_at.assume_not_null().gt(diesel::dsl::now));
    let held = of_zone
        .filter(signing_keys::status.ne(KeyStatus::Retired.name()))
        .filter(last_token_lives);
    let sorted = held
        .order((signing_keys::created_at, signing_keys::id))
        .select(SigningKeyRow::as_select());
    let rows: Vec<SigningKeyRow> = sorted.load(&mut conn).await?;
    let retiring = rows
        .iter()
        .filter_map(|row| Some((row.id, row.retires_at?)))
        .collect();
    Ok((rows.into_iter().map(SigningKey::from).collect(), retiring))
}

/// Replaces the sealed private half of a key, after it was sealed anew.
///
/// # Errors
/// [`Error::NotFound`] when the zone has no such key.
pub async fn reseal_signing_key(
    conn: &mut Conn,
    zone: ZoneId,
    key: SigningKeyId,
    private: &Sealed,
) -> Result<()> {
    let row = signing_keys::table.find((Uuid::from(zone), Uuid::from(key)));
    let resealed = (
        signing_keys::private_key_id.eq(&private.key_id),
        signing_keys::private_sealed.eq(&private.bytes),
    );
    match diesel::update(row).set(resealed).execute(conn).await? {
        0 => Err(Error::NotFound("signing key")),
        _ => Ok(()),
    }
}
