//! What is done with policies. Compiling comes first and outside any transaction: it takes a while and may fail.

use super::{NewPolicyBody, NewPolicyVersionBody, PolicyVersionView, PolicyView, SchemaVersion};
use crate::app::Api;
use crate::change::{By, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::text::{Name, check_namespace};
use caracal_domain::id::{PolicyId, PolicyVersionId, ZoneId};
use caracal_domain::{Epoch, FeedBody};
use caracal_policy::{CompiledModule, content_sha256};
use caracal_storage::policies::{self, NewPolicy, NewPolicyVersion, PolicyRow, PolicyVersionRow};
use caracal_storage::zones::ZoneRow;
use caracal_storage::{Conn, modules};

/// A policy to be.
#[derive(Debug)]
pub(crate) struct NewPolicySpec {
    pub(crate) name: String,
    pub(crate) content: String,
    pub(crate) description: Option<String>,
    pub(crate) owner_type: String,
    pub(crate) schema_version: SchemaVersion,
}

impl From<NewPolicyBody> for NewPolicySpec {
    fn from(body: NewPolicyBody) -> Self {
        Self {
            name: body.name.into_string(),
            content: body.content,
            description: body.description,
            owner_type: body
                .owner_type
                .map_or_else(|| "customer".to_owned(), Name::into_string),
            schema_version: body.schema_version,
        }
    }
}

impl Api {
    /// Makes a policy and its first version.
    pub(super) async fn create_policy(
        &self,
        by: &By,
        zone: &ZoneRow,
        spec: NewPolicySpec,
    ) -> Result<Written<(PolicyRow, PolicyVersionRow)>, Failure> {
        check_namespace(zone, &[&spec.name])?;
        // Asked before the compiler is, so that a name that is taken costs nothing; the insert has the last word.
        let taken = self
            .read(zone, async |conn| {
                policies::is_taken(conn, zone.id, &spec.name).await
            })
            .await?;
        if taken {
            return Err(Refusal::PolicyAlreadyExists.into());
        }
        let module = self.compile(zone.id, &spec.content).await?;
        let mut tx = self.database.begin(zone).await?;
        let (policy, version) = self.insert_policy(&mut tx, by, zone.id, spec, module).await?;
        let mut view = PolicyView::from(&policy);
        view.version = Some(PolicyVersionView::from(&version));
        view.version_id = Some(version.id);
        let deed = Deed::new(zone.id, "policy.create", policy.id)
            .to(&view)
            .version(policy.version);
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Written {
            value: (policy, version),
            epoch,
        })
    }

    /// The same within a transaction of the caller's, who has compiled the source.
    pub(crate) async fn insert_policy(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        spec: NewPolicySpec,
        module: CompiledModule,
    ) -> Result<(PolicyRow, PolicyVersionRow), Failure> {
        let new = NewPolicy {
            zone_id: zone,
            id: PolicyId::mint(&*self.clock),
            name: spec.name,
            description: spec.description,
            owner_type: spec.owner_type,
            created_by: by.name(),
        };
        let policy = policies::insert(tx, &new).await?;
        let version = self
            .insert_version(tx, by, &policy, spec.content, spec.schema_version, module)
            .await?;
        let policy = policies::get(tx, zone, policy.id).await?;
        Ok((policy, version))
    }

    /// Compiles a policy of the zone when it is its turn.
    async fn compile(&self, zone: ZoneId, content: &str) -> Result<CompiledModule, Failure> {
        let _turn = self.turns.take(zone).await?;
        Ok(self.compiler.compile(content).await?)
    }

    /// Adds a version to a policy.
    pub(super) async fn add_policy_version(
        &self,
        by: &By,
        zone: ZoneId,
        id: PolicyId,
        body: NewPolicyVersionBody,
    ) -> Result<Written<PolicyVersionRow>, Failure> {
        self.policy_exists(zone, id).await?;
        let module = self.compile(zone, &body.content).await?;
        let mut tx = self.database.begin(zone).await?;
        let policy = policies::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::PolicyNotFound)?;
        let version = self
            .insert_version(&mut tx, by, &policy, body.content, body.schema_version, module)
            .await?;
        let deed = Deed::new(zone, "policy_version.create", version.id)
            .to(&PolicyVersionView::from(&version))
            .version(version.version.into());
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Written {
            value: version,
            epoch,
        })
    }

    /// Adds a version within a transaction of the caller's, who has compiled the source and holds the policy.
    pub(crate) async fn insert_version(
        &self,
        tx: &mut Conn,
        by: &By,
        policy: &PolicyRow,
        content: String,
        schema_version: SchemaVersion,
        module: CompiledModule,
    ) -> Result<PolicyVersionRow, Failure> {
        let CompiledModule {
            name,
            wasm,
            wasm_sha256,
            opa_version,
            names,
        } = module;
        let stored = modules::NewModule {
            name: name.clone(),
            wasm,
            wasm_sha256,
            opa_version,
        };
        modules::insert_if_absent(tx, &stored).await?;
        let new = NewPolicyVersion {
            zone_id: policy.zone_id,
            id: PolicyVersionId::mint(&*self.clock),
            policy_id: policy.id,
            content_sha256: content_sha256(&content),
            content,
            schema_version: schema_version.text(),
            module: name,
            names,
            created_by: by.name(),
        };
        Ok(policies::insert_version(tx, &new).await?)
    }

    /// Archives a policy.
    pub(super) async fn archive_policy(
        &self,
        by: &By,
        zone: ZoneId,
        id: PolicyId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let before = policies::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::PolicyNotFound)?;
        if_match.check(before.version)?;
        policies::archive(&mut tx, zone, id).await?;
        let deed = Deed::new(zone, "policy.archive", id).from(&PolicyView::from(&before));
        self.conclude(tx, by, deed, FeedBody::ZoneChanged).await
    }

    /// A policy and all its versions.
    pub(super) async fn policy(
        &self,
        zone: ZoneId,
        id: PolicyId,
    ) -> Result<(PolicyRow, Vec<PolicyVersionRow>), Failure> {
        let mut conn = self.database.acquire(zone).await?;
        let policy = policies::find(&mut conn, zone, id)
            .await?
            .ok_or(Refusal::PolicyNotFound)?;
        let versions = policies::versions(&mut conn, zone, id).await?;
        Ok((policy, versions))
    }

    /// Asked before the compiler is, so that a policy that is not there costs nothing.
    async fn policy_exists(&self, zone: ZoneId, id: PolicyId) -> Result<(), Failure> {
        let mut conn = self.database.acquire(zone).await?;
        policies::find(&mut conn, zone, id)
            .await?
            .ok_or(Refusal::PolicyNotFound)?;
        Ok(())
    }
}
