//! What the active policy set would say if an application asked for a resource now.

use crate::app::Api;
use crate::error::Failure;
use caracal_domain::id::{GrantId, SessionId, ZoneId};
use caracal_domain::policy_input::{
    ActionInput, ContextInput, GrantInput, PolicyInput, PrincipalInput, ResourceInput, SCHEMA_VERSION,
    SessionInput,
};
use caracal_domain::zone::{Application, Resource};
use caracal_domain::{Decision, Scope, ScopeSet, SubjectType, combine};
use caracal_storage::grants::GrantRow;
use caracal_storage::policy_sets;

/// Who would ask for what.
pub(super) struct DryRun {
    application: Application,
    resource: Resource,
    user_id: Option<String>,
    scopes: Option<ScopeSet>,
    /// What the user lets the application do there; `None` for an application acting for itself.
    grant: Option<Granted>,
    subject_id: String,
}

/// An active grant.
struct Granted {
    id: GrantId,
    scopes: ScopeSet,
}

impl TryFrom<GrantRow> for Granted {
    type Error = Failure;

    fn try_from(row: GrantRow) -> Result<Self, Failure> {
        let scopes = row
            .scopes
            .iter()
            .map(|scope| scope.parse())
            .collect::<Result<_, _>>();
        Ok(Self {
            id: row.id,
            scopes: scopes.map_err(|_| Failure::Fault("reading a grant's scopes"))?,
        })
    }
}

impl DryRun {
    /// A user's session when there is one, else the application's own.
    pub(super) fn new(
        application: Application,
        resource: Resource,
        user_id: Option<String>,
        scopes: Option<ScopeSet>,
        grant: Option<GrantRow>,
    ) -> Result<Self, Failure> {
        let subject_id = user_id.clone().unwrap_or_else(|| application.id.to_string());
        Ok(Self {
            application,
            resource,
            user_id,
            scopes,
            grant: grant.map(TryInto::try_into).transpose()?,
            subject_id,
        })
    }
}

impl Api {
    /// Asks the zone's active set; `Ok` when it would allow, `Err` with why not.
    pub(super) async fn dry_run(
        &self,
        zone: ZoneId,
        asked: DryRun,
    ) -> Result<Result<String, String>, Failure> {
        let active = self
            .read(zone, async |conn| policy_sets::activation(conn, zone).await)
            .await?;
        let Some(active) = active else {
            return Ok(Err("no_active_policy_set".to_owned()));
        };
        let scopes = match asked_for(asked.scopes.clone(), &asked.resource.scopes) {
            Ok(scopes) => scopes,
            Err(why) => return Ok(Err(why)),
        };
        let draft = self
            .draft(zone, active.policy_set_id, Some(active.active_version_id))
            .await?;
        let input = self.input(zone, &asked, &scopes);
        let verdicts = self.engine.evaluate(&draft.manifest, &input).await.verdicts;
        Ok(match combine(&verdicts) {
            Ok(ruling) if ruling.decision == Decision::Allow => Ok(format!("allows {scopes}")),
            Ok(ruling) => {
                let explained: Vec<String> = ruling.diagnostics.iter().map(ToString::to_string).collect();
                let reason = if ruling.step_up.is_some() {
                    "step_up_required"
                } else {
                    "policy_deny"
                };
                Err(format!("{reason}: {}", explained.join("; ")))
            }
            Err(fault) => Err(fault.to_string()),
        })
    }

    fn input<'a>(&self, zone: ZoneId, asked: &'a DryRun, scopes: &'a ScopeSet) -> PolicyInput<'a> {
        let now = self.clock.now();
        let session = SessionId::mint(&*self.clock);
        let session_type = match asked.user_id {
            Some(_) => SubjectType::User,
            None => SubjectType::Application,
        };
        PolicyInput {
            schema_version: SCHEMA_VERSION,
            principal: PrincipalInput::of(&asked.application, zone),
            resource: ResourceInput {
                resource_type: "resource",
                id: asked.resource.id,
                identifier: &asked.resource.identifier,
                scopes: &asked.resource.scopes,
            },
            action: ActionInput {
                id: "TokenExchange",
                method: None,
                path: None,
            },
            session: Some(SessionInput {
                id: session,
                session_type,
                subject_id: &asked.subject_id,
                authenticated_at: now,
            }),
            delegation_edge: None,
            grant: asked
                .grant
                .as_ref()
                .zip(asked.user_id.as_deref())
                .map(|(grant, user_id)| GrantInput {
                    id: grant.id,
                    user_id,
                    scopes: &grant.scopes,
                }),
            context: ContextInput {
                actor_claims: None,
                subject_claims: None,
                trace_id: "provider-check",
                session_id: Some(session),
                agent_session_id: None,
                delegation_edge_id: None,
                challenge_resolved: false,
                challenge: None,
                requested_scopes: scopes,
                time: now.into(),
            },
        }
    }
}

/// All that the resource offers, when nothing is named.
fn asked_for(scopes: Option<ScopeSet>, offered: &ScopeSet) -> Result<ScopeSet, String> {
    let scopes = scopes.unwrap_or_else(|| offered.clone());
    let beyond: Vec<String> = scopes
        .iter()
        .filter(|scope| !offered.contains(scope))
        .map(Scope::to_string)
        .collect();
    if beyond.is_empty() {
        Ok(scopes)
    } else {
        Err(format!("scope_exceeds_resource: {}", beyond.join(" ")))
    }
}
