//! The keys that sign checkpoints; their private halves only ever sealed.

use crate::Conn;
use crate::error::Result;
use crate::schema::ledger_keys;
use caracal_domain::Timestamp;
use caracal_domain::id::LedgerKeyId;
use caracal_domain::zone::Sealed;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A key as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = ledger_keys)]
pub struct LedgerKeyRow {
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: LedgerKeyId,
    /// The name it signs under.
    pub name: String,
    /// The public half: an Ed25519 point, 32 bytes.
    pub public_key: Vec<u8>,
    /// Which DEK generation sealed the private half.
    pub private_key_id: String,
    /// The private half, sealed under the system zone's DEK.
    pub private_sealed: Vec<u8>,
    /// When it ceased to sign.
    pub retired_at: Option<Timestamp>,
}

/// Every key, the one that signs first.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<LedgerKeyRow>> {
    let sorted = ledger_keys::table.order((
        ledger_keys::retired_at.desc().nulls_first(),
        ledger_keys::created_at.desc(),
    ));
    Ok(sorted.select(LedgerKeyRow::as_select()).load(conn).await?)
}

/// Keeps the first key; when there is one that signs, nothing happens.
///
/// # Errors
/// When the database cannot be written.
pub async fn insert_first(
    conn: &mut Conn,
    id: LedgerKeyId,
    name: &str,
    public: &[u8; 32],
    private: &Sealed,
) -> Result<()> {
    let row = (
        ledger_keys::id.eq(Uuid::from(id)),
        ledger_keys::name.eq(name),
        ledger_keys::public_key.eq(public.as_slice()),
        ledger_keys::private_key_id.eq(&private.key_id),
        ledger_keys::private_sealed.eq(&private.bytes),
    );
    diesel::insert_into(ledger_keys::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}
