//! Which version of which set is active in a zone.

use super::touch;
use crate::Conn;
use crate::column::Optional;
use crate::error::Result;
use crate::schema::{policy_set_versions, zone_activations};
use caracal_domain::id::{OutboxId, PolicySetId, PolicySetVersionId, ZoneId};
use caracal_domain::{Epoch, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Which version is active in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = zone_activations)]
pub struct ActivationRow {
    /// The zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// The set.
    #[diesel(deserialize_as = Uuid)]
    pub policy_set_id: PolicySetId,
    /// The version that decides.
    #[diesel(deserialize_as = Uuid)]
    pub active_version_id: PolicySetVersionId,
    /// The version that is only observed.
    #[diesel(deserialize_as = Optional<PolicySetVersionId>)]
    pub shadow_version_id: Option<PolicySetVersionId>,
    /// The message that told of it.
    #[diesel(deserialize_as = Uuid)]
    pub outbox_id: OutboxId,
    /// The epoch it was made at.
    #[diesel(deserialize_as = i64)]
    pub epoch: Epoch,
    /// Who made it.
    pub activated_by: String,
    /// When.
    pub activated_at: Timestamp,
}

/// An activation to be.
#[derive(Debug, Clone)]
pub struct Activation {
    /// The zone.
    pub zone_id: ZoneId,
    /// The set.
    pub policy_set_id: PolicySetId,
    /// The version that is to decide; of that set.
    pub version_id: PolicySetVersionId,
    /// The version that is only to be observed; of the zone.
    pub shadow_version_id: Option<PolicySetVersionId>,
    /// The message that tells of it.
    pub outbox_id: OutboxId,
    /// The epoch drawn for it.
    pub epoch: Epoch,
    /// Who makes it.
    pub activated_by: String,
}

/// Makes a version the zone's active one, in place of any other; moves the versions of the sets that gain and lose it.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) `zone_activations_active` or `zone_activations_shadow` when a version is not of the set or zone.
pub async fn activate(conn: &mut Conn, new: &Activation) -> Result<()> {
    let before = activation(conn, new.zone_id).await?;
    let values = (
        zone_activations::policy_set_id.eq(Uuid::from(new.policy_set_id)),
        zone_activations::active_version_id.eq(Uuid::from(new.version_id)),
        zone_activations::shadow_version_id.eq(new.shadow_version_id.map(Uuid::from)),
        zone_activations::outbox_id.eq(Uuid::from(new.outbox_id)),
        zone_activations::epoch.eq(new.epoch.get()),
        zone_activations::activated_by.eq(&new.activated_by),
        zone_activations::activated_at.eq(diesel::dsl::now),
    );
    diesel::insert_into(zone_activations::table)
        .values((zone_activations::zone_id.eq(Uuid::from(new.zone_id)), values))
        .on_conflict(zone_activations::zone_id)
        .do_update()
        .set(values)
        .execute(conn)
        .await?;
    touch(conn, new.zone_id, new.policy_set_id).await?;
    if let Some(other) = before.filter(|before| before.policy_set_id != new.policy_set_id) {
        touch(conn, new.zone_id, other.policy_set_id).await?;
    }
    Ok(())
}

/// What is active in the zone.
///
/// # Errors
/// When the database cannot be read.
pub async fn activation(conn: &mut Conn, zone: ZoneId) -> Result<Option<ActivationRow>> {
    let row = zone_activations::table
        .find(Uuid::from(zone))
        .select(ActivationRow::as_select());
    Ok(row.first(conn).await.optional()?)
}

/// Leaves the zone without an active set if it is this one; whether it was.
///
/// # Errors
/// When the database cannot be written.
pub async fn deactivate(conn: &mut Conn, zone: ZoneId, set: PolicySetId) -> Result<bool> {
    let row = zone_activations::table.find(Uuid::from(zone));
    let active = row.filter(zone_activations::policy_set_id.eq(Uuid::from(set)));
    Ok(diesel::delete(active).execute(conn).await? > 0)
}

/// Ends the observation of a version of this set beside the zone's active one, and moves on the version of the set that
/// showed it; which it was.
///
/// # Errors
/// When the database cannot be written.
pub async fn end_shadow(
    conn: &mut Conn,
    zone: ZoneId,
    set: PolicySetId,
) -> Result<Option<PolicySetVersionId>> {
    let Some(active) = activation(conn, zone).await? else {
        return Ok(None);
    };
    let of_set = policy_set_versions::table
        .filter(policy_set_versions::zone_id.eq(Uuid::from(zone)))
        .filter(policy_set_versions::policy_set_id.eq(Uuid::from(set)))
        .select(policy_set_versions::id.nullable());
    let observed = zone_activations::table
        .find(Uuid::from(zone))
        .filter(zone_activations::shadow_version_id.eq_any(of_set));
    let ended = diesel::update(observed)
        .set(zone_activations::shadow_version_id.eq(None::<Uuid>))
        .execute(conn)
        .await?;
    if ended == 0 {
        return Ok(None);
    }
    touch(conn, zone, active.policy_set_id).await?;
    Ok(active.shadow_version_id)
}
