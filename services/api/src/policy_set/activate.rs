//! Activation: one row says which version decides in a zone. Nothing is compiled; replicas switch when they are warm.

use super::draft::check_modules;
use super::{ActivateBody, ActivatedView};
use crate::app::Api;
use crate::change::{By, Change, Deed};
use crate::error::{Failure, Refusal};
use crate::openapi::words::PropagationStatusWord;
use actix_web::http::StatusCode;
use caracal_domain::id::{OutboxId, PolicySetId, PolicySetVersionId, ZoneId};
use caracal_domain::{Epoch, FeedBody, Timestamp};
use caracal_storage::activation_loads::LoadRow;
use caracal_storage::policy_sets::{self, Activation, ActivationRow};
use caracal_storage::{Conn, activation_loads, replicas, zones};
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;

/// How long a replica may take to load a zone it has not had.
const LOADING: TimeDelta = TimeDelta::seconds(5);

/// What was activated, and the message that tells of it.
#[derive(Debug)]
pub(crate) struct Activated {
    pub(crate) version_id: PolicySetVersionId,
    pub(crate) shadow_version_id: Option<PolicySetVersionId>,
    pub(crate) outbox_id: OutboxId,
    pub(crate) epoch: Epoch,
}

/// How far the active version has come.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ActivationStatus {
    version_id: Option<PolicySetVersionId>,
    outbox_id: Option<OutboxId>,
    epoch: Option<Epoch>,
    #[schema(value_type = PropagationStatusWord)]
    propagation_status: &'static str,
    replicas: Vec<Replica>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Replica {
    instance: String,
    version_id: PolicySetVersionId,
    epoch: Epoch,
    loaded_at: Timestamp,
}

impl Api {
    /// Makes a version of a set the zone's active one.
    pub(super) async fn activate(
        &self,
        by: &By,
        zone: ZoneId,
        set: PolicySetId,
        body: ActivateBody,
    ) -> Result<Activated, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let done = self
            .activate_in(&mut tx, by, zone, set, body.version_id, body.shadow_version_id)
            .await?;
        tx.commit().await?;
        Ok(done)
    }

    /// The same within a transaction of the caller's.
    pub(crate) async fn activate_in(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        set: PolicySetId,
        version_id: PolicySetVersionId,
        shadow_version_id: Option<PolicySetVersionId>,
    ) -> Result<Activated, Failure> {
        // The zone first: every activation in it touches the rows of two sets.
        zones::find_for_update(tx, zone)
            .await?
            .ok_or(Refusal::ZoneNotFound)?;
        policy_sets::find_for_update(tx, zone, set)
            .await?
            .ok_or(Refusal::PolicySetNotFound)?;
        let version = policy_sets::find_version(tx, zone, version_id).await?;
        if version.is_none_or(|version| version.policy_set_id != set) {
            return Err(Refusal::VersionNotFound.into());
        }
        check_complete(tx, zone, version_id).await?;
        if let Some(shadow) = shadow_version_id {
            let observed = policy_sets::find_version(tx, zone, shadow)
                .await?
                .ok_or(Refusal::ShadowVersionNotFound)?;
            policy_sets::find(tx, zone, observed.policy_set_id)
                .await?
                .ok_or(Refusal::ShadowVersionNotFound)?;
            check_complete(tx, zone, shadow).await?;
        }
        let before = policy_sets::activation(tx, zone).await?;
        let active = |version: Option<PolicySetVersionId>, shadow: Option<PolicySetVersionId>| json!({"active_version_id": version, "shadow_version_id": shadow});
        let deed = Deed::new(zone, "policy_set.activate", set)
            .from(&active(
                before.as_ref().map(|b| b.active_version_id),
                before.and_then(|b| b.shadow_version_id),
            ))
            .to(&active(Some(version_id), shadow_version_id));
        let change = Change::draw(tx, &*self.clock, zone, by).await?;
        let (outbox_id, epoch) = (change.outbox_id, change.epoch);
        let done = Activated {
            version_id,
            shadow_version_id,
            outbox_id,
            epoch,
        };
        let deed = deed.answered(StatusCode::ACCEPTED, &ActivatedView::from(&done));
        self.record(tx, by, deed, Some(epoch)).await?;
        let activated_by = by.name();
        let row = Activation {
            zone_id: zone,
            policy_set_id: set,
            version_id,
            shadow_version_id,
            outbox_id,
            epoch,
            activated_by,
        };
        policy_sets::activate(tx, &row).await?;
        change
            .announce(
                tx,
                FeedBody::PolicyActivated {
                    policy_set_version_id: Some(version_id),
                },
            )
            .await?;
        Ok(done)
    }

    /// What each replica of the STS says of the zone's active version, if it is this set's.
    pub(super) async fn activation_status(
        &self,
        zone: ZoneId,
        set: PolicySetId,
    ) -> Result<ActivationStatus, Failure> {
        let mut conn = self.database.acquire(zone).await?;
        policy_sets::find(&mut conn, zone, set)
            .await?
            .ok_or(Refusal::PolicySetNotFound)?;
        let active = policy_sets::activation(&mut conn, zone)
            .await?
            .filter(|active| active.policy_set_id == set);
        let alive = replicas::alive(&mut conn).await?;
        let mut loads = activation_loads::list(&mut conn, zone).await?;
        loads.retain(|load| alive.iter().any(|(instance, _)| *instance == load.instance));
        let propagation_status = active.as_ref().map_or("pending", |active| {
            propagation(active, &loads, &alive, self.clock.now())
        });
        let versions = policy_sets::versions(&mut conn, zone, set).await?;
        let of_this_set = |load: &&LoadRow| versions.iter().any(|version| version.id == load.version_id);
        let replica = |load: &LoadRow| Replica {
            instance: load.instance.clone(),
            version_id: load.version_id,
            epoch: load.epoch,
            loaded_at: load.loaded_at,
        };
        Ok(ActivationStatus {
            version_id: active.as_ref().map(|active| active.active_version_id),
            outbox_id: active.as_ref().map(|active| active.outbox_id),
            epoch: active.as_ref().map(|active| active.epoch),
            propagation_status,
            replicas: loads.iter().filter(of_this_set).map(replica).collect(),
        })
    }
}

/// How far an activation has come among the replicas that are alive. One that does not have the zone reads it when it is
/// first asked, so it lacks nothing; it counts only for the moment in which it may just be loading it.
fn propagation(
    active: &ActivationRow,
    loads: &[LoadRow],
    alive: &[(String, Timestamp)],
    now: Timestamp,
) -> &'static str {
    let current = |load: &&LoadRow| load.version_id == active.active_version_id && load.epoch >= active.epoch;
    let has_a_row = |instance: &str| loads.iter().any(|load| load.instance == instance);
    let moment = now - active.activated_at < LOADING;
    let expected = alive
        .iter()
        .filter(|(instance, started)| moment && *started <= active.activated_at && !has_a_row(instance));
    let arrived = loads.iter().filter(current).count();
    let nobody = alive.is_empty();
    if loads.iter().filter(current).any(|load| load.detail.is_some()) {
        "failed"
    } else if nobody || arrived < loads.len() || expected.count() > 0 {
        "pending"
    } else {
        "loaded"
    }
}

/// A version whose policies are all still there.
async fn check_complete(tx: &mut Conn, zone: ZoneId, version: PolicySetVersionId) -> Result<(), Failure> {
    let lines = policy_sets::manifest(tx, zone, version).await?;
    if lines.iter().any(|line| line.policy_archived) {
        return Err(Refusal::ReferencedPolicyVersionMissing.into());
    }
    check_modules(tx, &lines).await
}
