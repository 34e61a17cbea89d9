//! What decides in the bootstrap's zone: a policy from the templates, in a set of its own. Made when the zone is planted,
//! and again when it was archived and nothing decides any more.

use crate::app::Api;
use crate::change::By;
use crate::error::{Failure, Refusal};
use crate::policy::{NewPolicySpec, SchemaVersion};
use crate::text::Name;
use caracal_domain::Epoch;
use caracal_domain::id::{PolicyId, PolicySetId, PolicyVersionId, ZoneId};
use caracal_policy::{CompiledModule, Template, content_sha256, templates};
use caracal_storage::{Conn, policies, policy_sets, zones};

const TEMPLATE: &str = "role-based";
const SET: &str = "Local";

/// What decides now.
pub(super) struct Rule {
    pub(super) policy: PolicyId,
    pub(super) set: PolicySetId,
    pub(super) epoch: Epoch,
}

/// Whether something decides in the zone. What somebody else activated does, whatever it says; a set of ours does while a
/// policy in it is there.
pub(super) async fn is_ruled(conn: &mut Conn, zone: ZoneId) -> caracal_storage::Result<bool> {
    let Some(active) = policy_sets::activation(conn, zone).await? else {
        return Ok(false);
    };
    let set = policy_sets::find(conn, zone, active.policy_set_id).await?;
    if set.is_some_and(|set| set.name != SET) {
        return Ok(true);
    }
    let lines = policy_sets::manifest(conn, zone, active.active_version_id).await?;
    Ok(lines.iter().any(|line| !line.policy_archived))
}

impl Api {
    /// The policy's module, which takes a while: outside of any transaction.
    pub(super) async fn compile_rule(&self) -> Result<CompiledModule, Failure> {
        Ok(self.compiler.compile(template()?.content).await?)
    }

    /// Puts the policy in force; what of it and its set is there already is used again. `None` when somebody did so a
    /// moment ago.
    pub(super) async fn rule(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        module: CompiledModule,
    ) -> Result<Option<Rule>, Failure> {
        let (policy, version) = self.rule_policy(tx, by, zone, module).await?;
        // One at a time, as every activation.
        zones::find_for_update(tx, zone)
            .await?
            .ok_or(Refusal::ZoneNotFound)?;
        if is_ruled(tx, zone).await? {
            return Ok(None);
        }
        let set = if let Some(set) = policy_sets::find_named(tx, zone, SET).await? {
            set
        } else {
            let name = Name::try_from(SET.to_owned()).map_err(Failure::Fault)?;
            self.insert_policy_set(tx, by, zone, name, None).await?
        };
        let schema = SchemaVersion::default();
        let set_version = self
            .insert_policy_set_version(tx, by, zone, set.id, vec![version], schema)
            .await?;
        let active = self
            .activate_in(tx, &by.within_another(), zone, set.id, set_version.id, None)
            .await?;
        Ok(Some(Rule {
            policy,
            set: set.id,
            epoch: active.epoch,
        }))
    }

    /// The policy and the version of it that says what the template does.
    async fn rule_policy(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        module: CompiledModule,
    ) -> Result<(PolicyId, PolicyVersionId), Failure> {
        let template = template()?;
        let schema_version = SchemaVersion::default();
        let Some(policy) = policies::find_named_for_update(tx, zone, template.name).await? else {
            let spec = NewPolicySpec {
                name: template.name.to_owned(),
                content: template.content.to_owned(),
                description: Some(template.description.to_owned()),
                owner_type: "customer".to_owned(),
                schema_version,
            };
            let (policy, version) = self.insert_policy(tx, by, zone, spec, module).await?;
            return Ok((policy.id, version.id));
        };
        let hash = content_sha256(template.content);
        let versions = policies::versions(tx, zone, policy.id).await?;
        let same = versions
            .into_iter()
            .rfind(|version| version.content_sha256 == hash);
        let version = if let Some(version) = same {
            version
        } else {
            let content = template.content.to_owned();
            self.insert_version(tx, by, &policy, content, schema_version, module)
                .await?
        };
        Ok((policy.id, version.id))
    }
}

fn template() -> Result<&'static Template, Failure> {
    let found = templates().iter().find(|template| template.id == TEMPLATE);
    found.ok_or(Failure::Fault("finding the role-based template"))
}
