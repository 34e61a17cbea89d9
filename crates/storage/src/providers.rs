//! Where upstream credentials come from.

use crate::Conn;
use crate::column::{Named, Stored};
use crate::error::{Error, Result};
use crate::page::{Page, ascending};
use crate::schema::providers;
use caracal_domain::Timestamp;
use caracal_domain::id::{ProviderId, ZoneId};
use caracal_domain::zone::{Provider, ProviderKind, Sealed};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// A provider as stored; its secrets are ciphertext.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = providers)]
pub struct ProviderRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: ProviderId,
    /// Its name.
    pub name: String,
    /// What configuration calls it.
    pub identifier: String,
    /// What it is, as it was given.
    #[diesel(deserialize_as = Stored<ProviderKind>)]
    pub kind: ProviderKind,
    /// Who owns it.
    pub owner_type: String,
    /// What may be shown.
    pub config_json: Value,
    /// Which DEK generation sealed the secrets.
    pub secrets_key_id: Option<String>,
    /// A JSON object of secrets, sealed.
    pub secrets_sealed: Option<Vec<u8>>,
    /// The names of the secrets.
    pub secret_config_keys: Vec<String>,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed visibly.
    pub updated_at: Timestamp,
}

impl ProviderRow {
    /// The sealed secrets, if it has any.
    #[must_use]
    pub fn sealed_secrets(&self) -> Option<Sealed> {
        let (key_id, bytes) = (self.secrets_key_id.clone()?, self.secrets_sealed.clone()?);
        Some(Sealed { key_id, bytes })
    }
}

impl From<ProviderRow> for Provider {
    fn from(row: ProviderRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            sealed_secrets: row.sealed_secrets(),
            config: row.config_json,
        }
    }
}

/// Sealed secrets and their names; they change together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderSecrets {
    /// A JSON object, sealed; `None` exactly when there are no names.
    pub sealed: Option<Sealed>,
    /// The names in it.
    pub keys: Vec<String>,
}

impl ProviderSecrets {
    fn key_id(&self) -> Option<&String> {
        self.sealed.as_ref().map(|sealed| &sealed.key_id)
    }

    fn bytes(&self) -> Option<&Vec<u8>> {
        self.sealed.as_ref().map(|sealed| &sealed.bytes)
    }
}

/// A provider to be.
#[derive(Debug, Clone)]
pub struct NewProvider {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: ProviderId,
    /// Its name.
    pub name: String,
    /// What configuration calls it.
    pub identifier: String,
    /// What it is.
    pub kind: ProviderKind,
    /// Who owns it.
    pub owner_type: String,
    /// What may be shown.
    pub config_json: Value,
    /// What may not.
    pub secrets: ProviderSecrets,
}

/// What to change of a provider; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ProviderChanges {
    /// Its name.
    pub name: Option<String>,
    /// What configuration calls it.
    pub identifier: Option<String>,
    /// What it is.
    pub kind: Option<ProviderKind>,
    /// Who owns it.
    pub owner_type: Option<String>,
    /// What may be shown.
    pub config_json: Option<Value>,
    /// What may not.
    pub secrets: Option<ProviderSecrets>,
}

/// Adds one.
///
/// # Errors
/// [`Error::Conflict`] `providers_identifier_live` when a live one has the same identifier.
pub async fn insert(conn: &mut Conn, new: &NewProvider) -> Result<ProviderRow> {
    let values = (
        providers::zone_id.eq(Uuid::from(new.zone_id)),
        providers::id.eq(Uuid::from(new.id)),
        providers::name.eq(&new.name),
        providers::identifier.eq(&new.identifier),
        providers::kind.eq(new.kind.name()),
        providers::owner_type.eq(&new.owner_type),
        providers::config_json.eq(&new.config_json),
        providers::secrets_key_id.eq(new.secrets.key_id()),
        providers::secrets_sealed.eq(new.secrets.bytes()),
        providers::secret_config_keys.eq(&new.secrets.keys),
    );
    let row = diesel::insert_into(providers::table)
        .values(values)
        .returning(ProviderRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The provider, if it is live.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: ProviderId) -> Result<Option<ProviderRow>> {
    let live = providers::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(providers::archived_at.is_null());
    Ok(live
        .select(ProviderRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The provider, which must be live.
///
/// # Errors
/// [`Error::NotFound`] when it is not.
pub async fn get(conn: &mut Conn, zone: ZoneId, id: ProviderId) -> Result<ProviderRow> {
    find(conn, zone, id).await?.ok_or(Error::NotFound("provider"))
}

/// The provider, if it is live, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(conn: &mut Conn, zone: ZoneId, id: ProviderId) -> Result<Option<ProviderRow>> {
    let live = providers::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(providers::archived_at.is_null());
    Ok(live
        .select(ProviderRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// The provider, archived or not: what a resource that was bound to it still follows.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_even_archived(
    conn: &mut Conn,
    zone: ZoneId,
    id: ProviderId,
) -> Result<Option<ProviderRow>> {
    let row = providers::table.find((Uuid::from(zone), Uuid::from(id)));
    Ok(row
        .select(ProviderRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Keeps the zone's providers as they are until the transaction ends, for whoever binds a resource to one of them; any
/// number may at once. Comes before any row is locked.
///
/// # Errors
/// When the database cannot be asked.
pub async fn hold(conn: &mut Conn, zone: ZoneId) -> Result<()> {
    let lock = "SELECT pg_advisory_xact_lock_shared(hashtext('caracal_providers'), hashtext($1))";
    let lock = diesel::sql_query(lock).bind::<Text, _>(zone.to_string());
    lock.execute(conn).await?;
    Ok(())
}

/// Lets one transaction at a time change the zone's providers, and nobody bind a resource meanwhile, until it ends. Comes
/// before any row is locked.
///
/// # Errors
/// When the database cannot be asked.
pub async fn lock(conn: &mut Conn, zone: ZoneId) -> Result<()> {
    let lock = "SELECT pg_advisory_xact_lock(hashtext('caracal_providers'), hashtext($1))";
    let lock = diesel::sql_query(lock).bind::<Text, _>(zone.to_string());
    lock.execute(conn).await?;
    Ok(())
}

/// A page of the zone's live providers, or of those with this identifier, of which there is one at most.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(
    conn: &mut Conn,
    zone: ZoneId,
    identifier: Option<&str>,
    page: &Page,
) -> Result<Vec<ProviderRow>> {
    let of_zone = providers::table
        .filter(providers::zone_id.eq(Uuid::from(zone)))
        .filter(providers::archived_at.is_null());
    let mut rows = of_zone.select(ProviderRow::as_select()).into_boxed();
    if let Some(identifier) = identifier {
        rows = rows.filter(providers::identifier.eq(identifier));
    }
    Ok(ascending!(rows, providers, page).load(conn).await?)
}

/// Changes a live provider and moves its version on.
///
/// # Errors
/// [`Error::NotFound`] when it is not live, [`Error::Conflict`] as for [`insert`].
pub async fn update(
    conn: &mut Conn,
    zone: ZoneId,
    id: ProviderId,
    changes: &ProviderChanges,
) -> Result<ProviderRow> {
    let live = providers::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(providers::archived_at.is_null());
    let moved = (
        providers::version.eq(providers::version + 1),
        providers::updated_at.eq(diesel::dsl::now),
    );
    let secrets = changes.secrets.as_ref().map(|secrets| {
        (
            providers::secrets_key_id.eq(secrets.key_id()),
            providers::secrets_sealed.eq(secrets.bytes()),
            providers::secret_config_keys.eq(&secrets.keys),
        )
    });
    let changed = (
        changes.name.as_ref().map(|name| providers::name.eq(name)),
        changes
            .identifier
            .as_ref()
            .map(|identifier| providers::identifier.eq(identifier)),
        changes.kind.map(|kind| providers::kind.eq(kind.name())),
        changes
            .owner_type
            .as_ref()
            .map(|owner| providers::owner_type.eq(owner)),
        changes
            .config_json
            .as_ref()
            .map(|config| providers::config_json.eq(config)),
        secrets,
    );
    let row = diesel::update(live)
        .set((changed, moved))
        .returning(ProviderRow::as_returning());
    row.get_result(conn)
        .await
        .optional()?
        .ok_or(Error::NotFound("provider"))
}

/// Archives a live provider; false when there is none.
///
/// # Errors
/// When the database cannot be written.
pub async fn archive(conn: &mut Conn, zone: ZoneId, id: ProviderId) -> Result<bool> {
    let live = providers::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(providers::archived_at.is_null());
    let archived = (
        providers::archived_at.eq(diesel::dsl::now),
        providers::updated_at.eq(diesel::dsl::now),
        providers::version.eq(providers::version + 1),
    );
    Ok(diesel::update(live).set(archived).execute(conn).await? > 0)
}

pub(crate) async fn live(zone: ZoneId, mut conn: &Conn) -> Result<HashMap<ProviderId, Arc<Provider>>> {
    let of_zone = providers::table.filter(providers::zone_id.eq(Uuid::from(zone)));
    let live = of_zone
        .filter(providers::archived_at.is_null())
        .select(ProviderRow::as_select());
    let rows: Vec<ProviderRow> = live.load(&mut conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, Arc::new(row.into())))
        .collect())
}
