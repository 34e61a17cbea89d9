//! Policy sets, their immutable manifests, and which of them is active.

use crate::Conn;
use crate::error::{Error, Result};
use crate::page::{Page, ascending};
use crate::schema::{policies, policy_set_manifest, policy_set_versions, policy_sets, policy_versions};
use caracal_domain::Timestamp;
use caracal_domain::id::{PolicyId, PolicySetId, PolicySetVersionId, PolicyVersionId, ZoneId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

pub use activation::{Activation, ActivationRow, activate, activation, deactivate, end_shadow};

mod activation;

/// A policy set as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = policy_sets)]
pub struct PolicySetRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: PolicySetId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// Its ETag; activating another set moves it too.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed visibly.
    pub updated_at: Timestamp,
}

/// A policy set to be.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = policy_sets)]
pub struct NewPolicySet {
    /// Its zone.
    #[diesel(serialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(serialize_as = Uuid)]
    pub id: PolicySetId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who makes it.
    pub created_by: String,
}

/// An immutable manifest.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = policy_set_versions)]
pub struct PolicySetVersionRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: PolicySetVersionId,
    /// The set.
    #[diesel(deserialize_as = Uuid)]
    pub policy_set_id: PolicySetId,
    /// Its number: 1, 2, 3, …
    pub version: i32,
    /// SHA-256 of the manifest, hex.
    pub manifest_sha256: String,
    /// The input schema it was written for.
    pub schema_version: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A manifest to be; its number is drawn when it is stored.
#[derive(Debug, Clone)]
pub struct NewPolicySetVersion {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: PolicySetVersionId,
    /// The set.
    pub policy_set_id: PolicySetId,
    /// SHA-256 of the manifest, hex.
    pub manifest_sha256: String,
    /// The input schema it was written for.
    pub schema_version: String,
    /// Who makes it.
    pub created_by: String,
    /// What it bundles, in order, each once.
    pub manifest: Vec<PolicyVersionId>,
}

/// One line of a manifest, with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestLine {
    /// Its place, from 0.
    pub position: i32,
    /// The version.
    pub policy_version_id: PolicyVersionId,
    /// Whose version.
    pub policy_id: PolicyId,
    /// The compiled module's name.
    pub module: String,
    /// Whether that policy has been archived since.
    pub policy_archived: bool,
}

/// Adds one.
///
/// # Errors
/// [`Error::Conflict`] `policy_sets_name_live` when a live one has the same name.
pub async fn insert(conn: &mut Conn, new: &NewPolicySet) -> Result<PolicySetRow> {
    let row = diesel::insert_into(policy_sets::table)
        .values(new.clone())
        .returning(PolicySetRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The policy set, if it is live.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: PolicySetId) -> Result<Option<PolicySetRow>> {
    let live = policy_sets::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(policy_sets::archived_at.is_null());
    Ok(live
        .select(PolicySetRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The live policy set with this name.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_named(conn: &mut Conn, zone: ZoneId, name: &str) -> Result<Option<PolicySetRow>> {
    let live = policy_sets::table
        .filter(policy_sets::zone_id.eq(Uuid::from(zone)))
        .filter(policy_sets::name.eq(name))
        .filter(policy_sets::archived_at.is_null());
    Ok(live
        .select(PolicySetRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The policy set, which must be live.
///
/// # Errors
/// [`Error::NotFound`] when it is not.
pub async fn get(conn: &mut Conn, zone: ZoneId, id: PolicySetId) -> Result<PolicySetRow> {
    find(conn, zone, id).await?.ok_or(Error::NotFound("policy set"))
}

/// The policy set, if it is live, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(conn: &mut Conn, zone: ZoneId, id: PolicySetId) -> Result<Option<PolicySetRow>> {
    let live = policy_sets::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(policy_sets::archived_at.is_null());
    Ok(live
        .select(PolicySetRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// A page of the zone's live policy sets, or of those with this name, of which there is one at most.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(
    conn: &mut Conn,
    zone: ZoneId,
    name: Option<&str>,
    page: &Page,
) -> Result<Vec<PolicySetRow>> {
    let of_zone = policy_sets::table
        .filter(policy_sets::zone_id.eq(Uuid::from(zone)))
        .filter(policy_sets::archived_at.is_null());
    let mut rows = of_zone.select(PolicySetRow::as_select()).into_boxed();
    if let Some(name) = name {
        rows = rows.filter(policy_sets::name.eq(name));
    }
    Ok(ascending!(rows, policy_sets, page).load(conn).await?)
}

/// Archives a live policy set; false when there is none.
///
/// # Errors
/// When the database cannot be written.
pub async fn archive(conn: &mut Conn, zone: ZoneId, id: PolicySetId) -> Result<bool> {
    let live = policy_sets::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(policy_sets::archived_at.is_null());
    let archived = (
        policy_sets::archived_at.eq(diesel::dsl::now),
        policy_sets::updated_at.eq(diesel::dsl::now),
        policy_sets::version.eq(policy_sets::version + 1),
    );
    Ok(diesel::update(live).set(archived).execute(conn).await? > 0)
}

/// Adds the next version of a live set with its manifest, and moves the set's own version on.
///
/// # Errors
/// [`Error::NotFound`] when the set is not live, [`Error::Conflict`] `policy_set_manifest_policy_version` when the
/// zone has no such policy version, `policy_set_manifest_once` when one stands there twice.
pub async fn insert_version(conn: &mut Conn, new: &NewPolicySetVersion) -> Result<PolicySetVersionRow> {
    if !touch(conn, new.zone_id, new.policy_set_id).await? {
        return Err(Error::NotFound("policy set"));
    }
    let of_set = policy_set_versions::table
        .filter(policy_set_versions::zone_id.eq(Uuid::from(new.zone_id)))
        .filter(policy_set_versions::policy_set_id.eq(Uuid::from(new.policy_set_id)));
    let last: Option<i32> = of_set
        .select(diesel::dsl::max(policy_set_versions::version))
        .first(conn)
        .await?;
    let values = (
        policy_set_versions::zone_id.eq(Uuid::from(new.zone_id)),
        policy_set_versions::id.eq(Uuid::from(new.id)),
        policy_set_versions::policy_set_id.eq(Uuid::from(new.policy_set_id)),
        policy_set_versions::version.eq(last.unwrap_or(0) + 1),
        policy_set_versions::manifest_sha256.eq(&new.manifest_sha256),
        policy_set_versions::schema_version.eq(&new.schema_version),
        policy_set_versions::created_by.eq(&new.created_by),
    );
    let row = diesel::insert_into(policy_set_versions::table).values(values);
    let row = row
        .returning(PolicySetVersionRow::as_returning())
        .get_result(conn)
        .await?;
    let lines: Vec<_> = (0_i32..)
        .zip(&new.manifest)
        .map(|(position, version)| {
            (
                policy_set_manifest::zone_id.eq(Uuid::from(new.zone_id)),
                policy_set_manifest::policy_set_version_id.eq(Uuid::from(new.id)),
                policy_set_manifest::position.eq(position),
                policy_set_manifest::policy_version_id.eq(Uuid::from(*version)),
            )
        })
        .collect();
    diesel::insert_into(policy_set_manifest::table)
        .values(lines)
        .execute(conn)
        .await?;
    Ok(row)
}

/// A page of a set's versions, first to last: after the version that the page names.
///
/// # Errors
/// When the database cannot be read.
pub async fn list_versions(
    conn: &mut Conn,
    zone: ZoneId,
    set: PolicySetId,
    page: &Page,
) -> Result<Vec<PolicySetVersionRow>> {
    let of_set = policy_set_versions::table
        .filter(policy_set_versions::zone_id.eq(Uuid::from(zone)))
        .filter(policy_set_versions::policy_set_id.eq(Uuid::from(set)));
    let after = match page.after {
        Some((_, id)) => {
            let last = of_set.filter(policy_set_versions::id.eq(id));
            last.select(policy_set_versions::version)
                .first(conn)
                .await
                .optional()?
        }
        None => Some(0),
    };
    let later = of_set.filter(policy_set_versions::version.nullable().gt(after));
    Ok(later
        .order(policy_set_versions::version)
        .limit(page.limit)
        .select(PolicySetVersionRow::as_select())
        .load(conn)
        .await?)
}

/// Every version of a set, first to last.
///
/// # Errors
/// When the database cannot be read.
pub async fn versions(conn: &mut Conn, zone: ZoneId, set: PolicySetId) -> Result<Vec<PolicySetVersionRow>> {
    let of_set = policy_set_versions::table
        .filter(policy_set_versions::zone_id.eq(Uuid::from(zone)))
        .filter(policy_set_versions::policy_set_id.eq(Uuid::from(set)));
    Ok(of_set
        .order(policy_set_versions::version)
        .select(PolicySetVersionRow::as_select())
        .load(conn)
        .await?)
}

/// One version of any set of the zone.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_version(
    conn: &mut Conn,
    zone: ZoneId,
    id: PolicySetVersionId,
) -> Result<Option<PolicySetVersionRow>> {
    let version = policy_set_versions::table.find((Uuid::from(zone), Uuid::from(id)));
    Ok(version
        .select(PolicySetVersionRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The manifest of a version, in order.
///
/// # Errors
/// When the database cannot be read.
pub async fn manifest(conn: &mut Conn, zone: ZoneId, id: PolicySetVersionId) -> Result<Vec<ManifestLine>> {
    let version = policy_versions::zone_id
        .eq(policy_set_manifest::zone_id)
        .and(policy_versions::id.eq(policy_set_manifest::policy_version_id));
    let policy = policies::zone_id
        .eq(policy_versions::zone_id)
        .and(policies::id.eq(policy_versions::policy_id));
    let lines = policy_set_manifest::table
        .inner_join(policy_versions::table.on(version))
        .inner_join(policies::table.on(policy))
        .filter(policy_set_manifest::zone_id.eq(Uuid::from(zone)))
        .filter(policy_set_manifest::policy_set_version_id.eq(Uuid::from(id)))
        .order(policy_set_manifest::position)
        .select((
            policy_set_manifest::position,
            policy_versions::id,
            policies::id,
            policy_versions::module,
            policies::archived_at.is_not_null(),
        ));
    let rows: Vec<(i32, Uuid, Uuid, String, bool)> = lines.load(conn).await?;
    let line = |(position, version, policy, module, policy_archived): (_, Uuid, Uuid, _, _)| ManifestLine {
        position,
        policy_version_id: version.into(),
        policy_id: policy.into(),
        module,
        policy_archived,
    };
    Ok(rows.into_iter().map(line).collect())
}

async fn touch(conn: &mut Conn, zone: ZoneId, set: PolicySetId) -> Result<bool> {
    let live = policy_sets::table
        .find((Uuid::from(zone), Uuid::from(set)))
        .filter(policy_sets::archived_at.is_null());
    let moved = (
        policy_sets::version.eq(policy_sets::version + 1),
        policy_sets::updated_at.eq(diesel::dsl::now),
    );
    Ok(diesel::update(live).set(moved).execute(conn).await? > 0)
}
