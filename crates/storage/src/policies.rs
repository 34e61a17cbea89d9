//! Policies and their immutable versions.

use crate::Conn;
use crate::error::{Error, Result};
use crate::page::{Page, ascending};
use crate::schema::{policies, policy_versions};
use caracal_domain::Timestamp;
use caracal_domain::id::{PolicyId, PolicyVersionId, ZoneId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A policy as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = policies)]
pub struct PolicyRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: PolicyId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who owns it.
    pub owner_type: String,
    /// Who made it.
    pub created_by: String,
    /// Its ETag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed visibly.
    pub updated_at: Timestamp,
}

/// A policy to be.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = policies)]
pub struct NewPolicy {
    /// Its zone.
    #[diesel(serialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(serialize_as = Uuid)]
    pub id: PolicyId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who owns it.
    pub owner_type: String,
    /// Who makes it.
    pub created_by: String,
}

/// An immutable version of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = policy_versions)]
pub struct PolicyVersionRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: PolicyVersionId,
    /// The policy.
    #[diesel(deserialize_as = Uuid)]
    pub policy_id: PolicyId,
    /// Its number: 1, 2, 3, …
    pub version: i32,
    /// The Rego source.
    pub content: String,
    /// Its SHA-256, hex.
    pub content_sha256: String,
    /// The input schema it was written for.
    pub schema_version: String,
    /// The compiled module's name.
    pub module: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A version to be; its number is drawn when it is stored.
#[derive(Debug, Clone)]
pub struct NewPolicyVersion {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: PolicyVersionId,
    /// The policy.
    pub policy_id: PolicyId,
    /// The Rego source.
    pub content: String,
    /// Its SHA-256, hex; the database checks it.
    pub content_sha256: String,
    /// The input schema it was written for.
    pub schema_version: String,
    /// The compiled module's name; the module is stored first.
    pub module: String,
    /// The texts in the source that may be an application's name or id.
    pub names: Vec<String>,
    /// Who makes it.
    pub created_by: String,
}

/// Adds one.
///
/// # Errors
/// [`Error::Conflict`] `policies_name_live` when a live one has the same name.
pub async fn insert(conn: &mut Conn, new: &NewPolicy) -> Result<PolicyRow> {
    let row = diesel::insert_into(policies::table)
        .values(new.clone())
        .returning(PolicyRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The policy, if it is live.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: PolicyId) -> Result<Option<PolicyRow>> {
    let live = policies::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(policies::archived_at.is_null());
    Ok(live.select(PolicyRow::as_select()).first(conn).await.optional()?)
}

/// The policy, which must be live.
///
/// # Errors
/// [`Error::NotFound`] when it is not.
pub async fn get(conn: &mut Conn, zone: ZoneId, id: PolicyId) -> Result<PolicyRow> {
    find(conn, zone, id).await?.ok_or(Error::NotFound("policy"))
}

/// The policy, if it is live, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(conn: &mut Conn, zone: ZoneId, id: PolicyId) -> Result<Option<PolicyRow>> {
    let live = policies::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(policies::archived_at.is_null());
    Ok(live
        .select(PolicyRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// The live policy with this name, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_named_for_update(conn: &mut Conn, zone: ZoneId, name: &str) -> Result<Option<PolicyRow>> {
    let live = policies::table
        .filter(policies::zone_id.eq(Uuid::from(zone)))
        .filter(policies::name.eq(name))
        .filter(policies::archived_at.is_null());
    Ok(live
        .select(PolicyRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?)
}

/// Whether a live policy of the zone has this name.
///
/// # Errors
/// When the database cannot be read.
pub async fn is_taken(conn: &mut Conn, zone: ZoneId, name: &str) -> Result<bool> {
    let live = policies::table
        .filter(policies::zone_id.eq(Uuid::from(zone)))
        .filter(policies::name.eq(name))
        .filter(policies::archived_at.is_null());
    Ok(diesel::select(diesel::dsl::exists(live)).get_result(conn).await?)
}

/// A page of the zone's live policies, or of those with this name, of which there is one at most.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, zone: ZoneId, name: Option<&str>, page: &Page) -> Result<Vec<PolicyRow>> {
    let of_zone = policies::table
        .filter(policies::zone_id.eq(Uuid::from(zone)))
        .filter(policies::archived_at.is_null());
    let mut rows = of_zone.select(PolicyRow::as_select()).into_boxed();
    if let Some(name) = name {
        rows = rows.filter(policies::name.eq(name));
    }
    Ok(ascending!(rows, policies, page).load(conn).await?)
}

/// Archives a live policy; false when there is none.
///
/// # Errors
/// When the database cannot be written.
pub async fn archive(conn: &mut Conn, zone: ZoneId, id: PolicyId) -> Result<bool> {
    let live = policies::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(policies::archived_at.is_null());
    let archived = (
        policies::archived_at.eq(diesel::dsl::now),
        policies::updated_at.eq(diesel::dsl::now),
        policies::version.eq(policies::version + 1),
    );
    Ok(diesel::update(live).set(archived).execute(conn).await? > 0)
}

/// Adds the next version of a live policy and moves the policy's own version on.
///
/// # Errors
/// [`Error::NotFound`] when the policy is not live.
pub async fn insert_version(conn: &mut Conn, new: &NewPolicyVersion) -> Result<PolicyVersionRow> {
    let of_policy = policy_versions::table
        .filter(policy_versions::zone_id.eq(Uuid::from(new.zone_id)))
        .filter(policy_versions::policy_id.eq(Uuid::from(new.policy_id)));
    // The policy's row lock makes the numbers follow each other.
    let policy = policies::table.find((Uuid::from(new.zone_id), Uuid::from(new.policy_id)));
    let moved = (
        policies::version.eq(policies::version + 1),
        policies::updated_at.eq(diesel::dsl::now),
    );
    let live = policy.filter(policies::archived_at.is_null());
    if diesel::update(live).set(moved).execute(conn).await? == 0 {
        return Err(Error::NotFound("policy"));
    }
    let last: Option<i32> = of_policy
        .select(diesel::dsl::max(policy_versions::version))
        .first(conn)
        .await?;
    let values = (
        policy_versions::zone_id.eq(Uuid::from(new.zone_id)),
        policy_versions::id.eq(Uuid::from(new.id)),
        policy_versions::policy_id.eq(Uuid::from(new.policy_id)),
        policy_versions::version.eq(last.unwrap_or(0) + 1),
        policy_versions::content.eq(&new.content),
        policy_versions::content_sha256.eq(&new.content_sha256),
        policy_versions::schema_version.eq(&new.schema_version),
        policy_versions::module.eq(&new.module),
        policy_versions::names.eq(&new.names),
        policy_versions::created_by.eq(&new.created_by),
    );
    let row = diesel::insert_into(policy_versions::table)
        .values(values)
        .returning(PolicyVersionRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// A page of a policy's versions, first to last: after the version that the page names.
///
/// # Errors
/// When the database cannot be read.
pub async fn list_versions(
    conn: &mut Conn,
    zone: ZoneId,
    policy: PolicyId,
    page: &Page,
) -> Result<Vec<PolicyVersionRow>> {
    let of_policy = policy_versions::table
        .filter(policy_versions::zone_id.eq(Uuid::from(zone)))
        .filter(policy_versions::policy_id.eq(Uuid::from(policy)));
    let after = match page.after {
        Some((_, id)) => {
            let last = of_policy.filter(policy_versions::id.eq(id));
            last.select(policy_versions::version)
                .first(conn)
                .await
                .optional()?
        }
        None => Some(0),
    };
    let later = of_policy.filter(policy_versions::version.nullable().gt(after));
    Ok(later
        .order(policy_versions::version)
        .limit(page.limit)
        .select(PolicyVersionRow::as_select())
        .load(conn)
        .await?)
}

/// Every version of a policy, first to last.
///
/// # Errors
/// When the database cannot be read.
pub async fn versions(conn: &mut Conn, zone: ZoneId, policy: PolicyId) -> Result<Vec<PolicyVersionRow>> {
    let of_policy = policy_versions::table
        .filter(policy_versions::zone_id.eq(Uuid::from(zone)))
        .filter(policy_versions::policy_id.eq(Uuid::from(policy)));
    Ok(of_policy
        .order(policy_versions::version)
        .select(PolicyVersionRow::as_select())
        .load(conn)
        .await?)
}

/// One version, whether its policy is archived or not.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_version(
    conn: &mut Conn,
    zone: ZoneId,
    id: PolicyVersionId,
) -> Result<Option<PolicyVersionRow>> {
    let version = policy_versions::table.find((Uuid::from(zone), Uuid::from(id)));
    Ok(version
        .select(PolicyVersionRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Those of the versions that are the zone's and whose policy is live, in no particular order.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_versions(
    conn: &mut Conn,
    zone: ZoneId,
    ids: &[PolicyVersionId],
) -> Result<Vec<PolicyVersionRow>> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let policy = policies::zone_id
        .eq(policy_versions::zone_id)
        .and(policies::id.eq(policy_versions::policy_id));
    let live = policy_versions::table
        .inner_join(policies::table.on(policy))
        .filter(policy_versions::zone_id.eq(Uuid::from(zone)))
        .filter(policy_versions::id.eq_any(ids))
        .filter(policies::archived_at.is_null());
    Ok(live.select(PolicyVersionRow::as_select()).load(conn).await?)
}

/// What the versions are called: the policy's name and the version's number, in no particular order. Archived ones too.
///
/// # Errors
/// When the database cannot be read.
pub async fn version_names(
    conn: &mut Conn,
    zone: ZoneId,
    ids: &[PolicyVersionId],
) -> Result<Vec<(PolicyVersionId, String, i32)>> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let policy = policies::zone_id
        .eq(policy_versions::zone_id)
        .and(policies::id.eq(policy_versions::policy_id));
    let named = policy_versions::table
        .inner_join(policies::table.on(policy))
        .filter(policy_versions::zone_id.eq(Uuid::from(zone)))
        .filter(policy_versions::id.eq_any(ids))
        .select((policy_versions::id, policies::name, policy_versions::version));
    let rows: Vec<(Uuid, String, i32)> = named.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(id, name, version)| (id.into(), name, version))
        .collect())
}
