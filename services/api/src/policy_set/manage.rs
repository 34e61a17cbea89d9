//! What is done with policy sets, but for activating them.

use super::{NewPolicySetBody, NewPolicySetVersionBody, PolicySetVersionView, PolicySetView};
use crate::app::Api;
use crate::change::{By, Deed, Written, announce_compiled};
use crate::error::{Failure, Refusal};
use crate::policy::SchemaVersion;
use crate::reply::IfMatch;
use crate::text::{Name, check_namespace};
use actix_web::http::StatusCode;
use caracal_domain::id::{PolicySetId, PolicySetVersionId, PolicyVersionId, ZoneId};
use caracal_domain::{Epoch, FeedBody};
use caracal_storage::policies::{self, PolicyVersionRow};
use caracal_storage::policy_sets::{
    self, ActivationRow, ManifestLine, NewPolicySet, NewPolicySetVersion, PolicySetRow, PolicySetVersionRow,
};
use caracal_storage::zones::ZoneRow;
use caracal_storage::{Conn, zones};
use serde_json::json;
use std::collections::{HashMap, HashSet};

impl Api {
    /// Makes an empty set.
    pub(super) async fn create_policy_set(
        &self,
        by: &By,
        zone: &ZoneRow,
        body: NewPolicySetBody,
    ) -> Result<Written<PolicySetRow>, Failure> {
        check_namespace(zone, &[body.name.as_str()])?;
        let mut tx = self.database.begin(zone).await?;
        let set = self
            .insert_policy_set(&mut tx, by, zone.id, body.name, body.description)
            .await?;
        let deed = Deed::new(zone.id, "policy_set.create", set.id)
            .to(&PolicySetView::of(&set, None))
            .version(set.version);
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Written { value: set, epoch })
    }

    /// The same within a transaction of the caller's.
    pub(crate) async fn insert_policy_set(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        name: Name,
        description: Option<String>,
    ) -> Result<PolicySetRow, Failure> {
        let new = NewPolicySet {
            zone_id: zone,
            id: PolicySetId::mint(&*self.clock),
            name: name.into_string(),
            description,
            created_by: by.name(),
        };
        Ok(policy_sets::insert(tx, &new).await?)
    }

    /// Adds a manifest to a set. It changes nothing yet, so it takes no epoch; replicas only warm its modules.
    pub(super) async fn add_policy_set_version(
        &self,
        by: &By,
        zone: ZoneId,
        set: PolicySetId,
        body: NewPolicySetVersionBody,
    ) -> Result<Written<PolicySetVersionRow>, Failure> {
        let manifest: Vec<PolicyVersionId> = body
            .manifest
            .iter()
            .map(|entry| entry.policy_version_id)
            .collect();
        let mut seen = HashSet::new();
        if let Some(again) = manifest.iter().position(|id| !seen.insert(*id)) {
            return Err(Failure::field(
                &format!("manifest.{again}"),
                "names a policy version for the second time",
            ));
        }
        self.check_serviceable(zone, set, &manifest).await?;
        let mut tx = self.database.begin(zone).await?;
        policy_sets::find_for_update(&mut tx, zone, set)
            .await?
            .ok_or(Refusal::PolicySetNotFound)?;
        let version = self
            .insert_policy_set_version(&mut tx, by, zone, set, manifest, body.schema_version)
            .await?;
        let mut shown = json!(PolicySetVersionView::from(&version));
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("manifest".to_owned(), json!(body.manifest));
        }
        let deed = Deed::new(zone, "policy_set_version.create", version.id)
            .to(&shown)
            .answered(StatusCode::CREATED, &PolicySetVersionView::from(&version))
            .version(version.version.into());
        let epoch = self.epoch_of(&mut tx, by, zone).await?;
        self.record(&mut tx, by, deed, Some(epoch)).await?;
        tx.commit().await?;
        Ok(Written {
            value: version,
            epoch,
        })
    }

    /// Whether each policy could serve. Trying one may compile it, so this is done before any transaction.
    async fn check_serviceable(
        &self,
        zone: ZoneId,
        set: PolicySetId,
        manifest: &[PolicyVersionId],
    ) -> Result<(), Failure> {
        let mut conn = self.database.acquire(zone).await?;
        policy_sets::find(&mut conn, zone, set)
            .await?
            .ok_or(Refusal::PolicySetNotFound)?;
        let rows = policies::find_versions(&mut conn, zone, manifest).await?;
        let module = |id: &PolicyVersionId| {
            let row = rows.iter().find(|row| row.id == *id)?;
            Some((*id, row.module.clone()))
        };
        let modules: Option<Vec<_>> = manifest.iter().map(module).collect();
        let modules = modules.ok_or(Refusal::PolicyVersionNotFound)?;
        drop(conn);
        self.check_contract(zone, &modules).await
    }

    /// The same within a transaction of the caller's.
    pub(crate) async fn insert_policy_set_version(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        set: PolicySetId,
        manifest: Vec<PolicyVersionId>,
        schema_version: SchemaVersion,
    ) -> Result<PolicySetVersionRow, Failure> {
        let rows = policies::find_versions(tx, zone, &manifest).await?;
        let by_id: HashMap<PolicyVersionId, &PolicyVersionRow> =
            rows.iter().map(|row| (row.id, row)).collect();
        let lines: Option<Vec<&PolicyVersionRow>> =
            manifest.iter().map(|id| by_id.get(id).copied()).collect();
        let lines = lines.ok_or(Refusal::PolicyVersionNotFound)?;
        let new = NewPolicySetVersion {
            zone_id: zone,
            id: PolicySetVersionId::mint(&*self.clock),
            policy_set_id: set,
            manifest_sha256: manifest_sha256(&lines),
            schema_version: schema_version.text(),
            created_by: by.name(),
            manifest,
        };
        let version = policy_sets::insert_version(tx, &new).await?;
        let modules: HashSet<String> = lines.iter().map(|line| line.module.clone()).collect();
        announce_compiled(tx, &*self.clock, zone, modules.into_iter().collect()).await?;
        Ok(version)
    }

    /// A set, what is active in its zone, and all its versions.
    pub(super) async fn policy_set(
        &self,
        zone: ZoneId,
        id: PolicySetId,
    ) -> Result<(PolicySetRow, Option<ActivationRow>, Vec<PolicySetVersionRow>), Failure> {
        let mut conn = self.database.acquire(zone).await?;
        let set = policy_sets::find(&mut conn, zone, id)
            .await?
            .ok_or(Refusal::PolicySetNotFound)?;
        let activation = policy_sets::activation(&mut conn, zone).await?;
        let versions = policy_sets::versions(&mut conn, zone, id).await?;
        Ok((set, activation, versions))
    }

    /// A version of a set and its manifest.
    pub(super) async fn policy_set_version(
        &self,
        zone: ZoneId,
        set: PolicySetId,
        id: PolicySetVersionId,
    ) -> Result<(PolicySetVersionRow, Vec<ManifestLine>), Failure> {
        let mut conn = self.database.acquire(zone).await?;
        policy_sets::find(&mut conn, zone, set)
            .await?
            .ok_or(Refusal::PolicySetNotFound)?;
        let version = policy_sets::find_version(&mut conn, zone, id).await?;
        let version = version
            .filter(|v| v.policy_set_id == set)
            .ok_or(Refusal::VersionNotFound)?;
        let lines = policy_sets::manifest(&mut conn, zone, id).await?;
        Ok((version, lines))
    }

    /// Archives a set; if it is the active one, the zone is left without, and if a version of it is only observed, that ends.
    pub(super) async fn archive_policy_set(
        &self,
        by: &By,
        zone: ZoneId,
        id: PolicySetId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(zone).await?;
        // The zone first, as activating does: both touch the rows of two sets.
        zones::find_for_update(&mut tx, zone)
            .await?
            .ok_or(Refusal::ZoneNotFound)?;
        let before = policy_sets::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::PolicySetNotFound)?;
        if_match.check(before.version)?;
        let activation = policy_sets::activation(&mut tx, zone).await?;
        let was_active = policy_sets::deactivate(&mut tx, zone, id).await?;
        let shadowed = policy_sets::end_shadow(&mut tx, zone, id).await?;
        policy_sets::archive(&mut tx, zone, id).await?;
        let mut view = PolicySetView::of(&before, activation.as_ref());
        // Also where it was another set's shadow.
        view.shadow_version_id = view.shadow_version_id.or(shadowed);
        let deed = Deed::new(zone, "policy_set.archive", id).from(&view);
        let body = if was_active {
            FeedBody::PolicyActivated {
                policy_set_version_id: None,
            }
        } else {
            FeedBody::ZoneChanged
        };
        self.conclude(tx, by, deed, body).await
    }
}

/// Names what the manifest does, not what it is called: ids and sources, in order.
fn manifest_sha256(lines: &[&PolicyVersionRow]) -> String {
    let entries = lines.iter().map(|line| json!([line.id, line.content_sha256]));
    caracal_jose::sha256_hex(json!(entries.collect::<Vec<_>>()).to_string().as_bytes())
}
