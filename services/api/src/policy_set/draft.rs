//! A version of a set with its compiled modules at hand, to be asked without deciding anything.

use crate::app::Api;
use crate::error::{Failure, Refusal};
use caracal_domain::decision::PolicyFault;
use caracal_domain::id::{PolicyId, PolicySetId, PolicySetVersionId, PolicyVersionId, ZoneId};
use caracal_domain::zone::{Manifest, ManifestEntry};
use caracal_policy::Held;
use caracal_storage::policy_sets::{self, ManifestLine, PolicySetVersionRow};
use caracal_storage::{Conn, modules};
use caracal_web::Issue;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long a draft may wait until others have let go of enough modules.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What to ask.
    pub(crate) manifest: Manifest,
    /// The input schema it was written for.
    pub(super) schema_version: String,
    /// Whose versions they are.
    pub(super) policies: HashMap<PolicyVersionId, PolicyId>,
    /// Its modules: the largest set there may be does not fit the engine's budget beside others, and must be whole.
    _modules: Modules,
}

/// Modules that stay loaded, as their part of all that may.
#[derive(Debug)]
struct Modules {
    _held: Vec<Held>,
    _part: OwnedSemaphorePermit,
}

impl Api {
    /// The version of a live set: the one named, else the active one, else the newest; its modules are loaded.
    pub(crate) async fn draft(
        &self,
        zone: ZoneId,
        set: PolicySetId,
        wish: Option<PolicySetVersionId>,
    ) -> Result<Draft, Failure> {
        let mut conn = self.database.acquire(zone).await?;
        policy_sets::find(&mut conn, zone, set)
            .await?
            .ok_or(Refusal::PolicySetNotFound)?;
        let version = choose(&mut conn, zone, set, wish).await?;
        let version = version.ok_or(Refusal::VersionNotFound)?;
        let lines = policy_sets::manifest(&mut conn, zone, version.id).await?;
        drop(conn);
        let wanted = lines.iter().map(|line| line.module.as_str()).collect();
        let modules = self.hold_modules(zone, wanted).await?;
        let policies = lines.iter().map(|line| (line.policy_version_id, line.policy_id));
        Ok(Draft {
            _modules: modules,
            policies: policies.collect(),
            schema_version: version.schema_version.clone(),
            manifest: manifest(&version, &lines),
        })
    }

    /// Loads the modules that are not loaded yet, and keeps them all so. One that cannot be loaded is left out: asking it
    /// answers `policy_error`, as it would at the STS.
    async fn hold_modules(&self, zone: ZoneId, names: BTreeSet<&str>) -> Result<Modules, Failure> {
        let busy = || Failure::Busy("Other policy sets are being asked; try again in a moment.");
        let part =
            Arc::clone(&self.held_modules).acquire_many_owned(u32::try_from(names.len()).unwrap_or(u32::MAX));
        let part = tokio::time::timeout(PATIENCE, part).await.map_err(|_| busy())?;
        let part = part.map_err(|_| busy())?;
        let mut held = Vec::with_capacity(names.len());
        for name in names {
            match self.load_module(zone, name).await? {
                Ok(module) => held.push(module),
                Err(fault) => tracing::warn!(module = name, %fault, "a policy module cannot be asked"),
            }
        }
        Ok(Modules {
            _held: held,
            _part: part,
        })
    }

    /// The module, loaded, if it is stored and may serve. Compiling it takes a while, in which no connection waits.
    async fn load_module(&self, zone: ZoneId, name: &str) -> Result<Result<Held, PolicyFault>, Failure> {
        if let Some(held) = self.engine.hold(name) {
            return Ok(Ok(held));
        }
        let stored = self
            .read(zone, async |conn| modules::get(conn, name).await)
            .await?;
        let Some(stored) = stored else {
            return Ok(Err(PolicyFault::Error));
        };
        Ok(self.engine.load(name, stored.wasm, &stored.wasm_sha256).await)
    }

    /// Refuses a manifest with a policy that could not serve: one whose module is not there, or that aborts on a plain
    /// input or answers it with what is no decision (seed `004`, `invalid_policy_contract`).
    pub(super) async fn check_contract(
        &self,
        zone: ZoneId,
        modules: &[(PolicyVersionId, String)],
    ) -> Result<(), Failure> {
        let mut issues = Vec::new();
        for (place, (id, module)) in modules.iter().enumerate() {
            let why = match self.load_module(zone, module).await? {
                Err(_) => format!("the policy version {id} aborts, or its module is missing"),
                Ok(held) if self.engine.answers_nonsense(&held).await => format!(
                    "the policy version {id} has a `result` that is no decision: an object whose `decision` is \
                     \"allow\" or \"deny\""
                ),
                Ok(_) => continue,
            };
            issues.push(Issue::at(&format!("manifest.{place}.policy_version_id"), why));
        }
        refuse(issues)
    }
}

/// The same at activation, which compiles nothing: the modules must be there.
pub(super) async fn check_modules(conn: &mut Conn, lines: &[ManifestLine]) -> Result<(), Failure> {
    let names: BTreeSet<String> = lines.iter().map(|line| line.module.clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let known = modules::known(conn, &names).await?;
    let missing = lines.iter().filter(|line| !known.contains(&line.module));
    refuse(
        missing
            .map(|line| {
                let why = format!(
                    "the module of policy version {} is missing",
                    line.policy_version_id
                );
                Issue::at("version_id", why)
            })
            .collect(),
    )
}

fn refuse(issues: Vec<Issue>) -> Result<(), Failure> {
    if issues.is_empty() {
        Ok(())
    } else {
        Err(Failure::InvalidPolicyContract(issues))
    }
}

async fn choose(
    conn: &mut Conn,
    zone: ZoneId,
    set: PolicySetId,
    wish: Option<PolicySetVersionId>,
) -> Result<Option<PolicySetVersionRow>, Failure> {
    let active = policy_sets::activation(conn, zone)
        .await?
        .filter(|active| active.policy_set_id == set)
        .map(|active| active.active_version_id);
    let found = match wish.or(active) {
        Some(id) => policy_sets::find_version(conn, zone, id).await?,
        None => policy_sets::versions(conn, zone, set).await?.pop(),
    };
    Ok(found.filter(|version| version.policy_set_id == set))
}

fn manifest(version: &PolicySetVersionRow, lines: &[ManifestLine]) -> Manifest {
    Manifest {
        policy_set_id: version.policy_set_id,
        version_id: version.id,
        sha256: version.manifest_sha256.clone(),
        policies: lines
            .iter()
            .map(|line| ManifestEntry {
                policy_version_id: line.policy_version_id,
                module: line.module.clone(),
            })
            .collect(),
    }
}
