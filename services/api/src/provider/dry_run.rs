//! What the active policy set would say if an application asked for a resource now.

use super::check::asked_for;
use crate::app::Api;
use crate::error::Failure;
use caracal_domain::id::{SessionId, ZoneId};
use caracal_domain::policy_input::{
    ActionInput, ContextInput, PolicyInput, PrincipalInput, ResourceInput, SCHEMA_VERSION, SessionInput,
};
use caracal_domain::zone::{Application, Resource};
use caracal_domain::{Decision, ScopeSet, SubjectType, combine};
use caracal_storage::{Conn, policy_sets};

/// Who would ask for what.
pub(super) struct DryRun {
    application: Application,
    resource: Resource,
    user_id: Option<String>,
    scopes: Option<ScopeSet>,
    subject_id: String,
}

impl DryRun {
    /// A user's session when there is one, else the application's own.
    pub(super) fn new(
        application: Application,
        resource: Resource,
        user_id: Option<String>,
        scopes: Option<ScopeSet>,
    ) -> Self {
        let subject_id = user_id.clone().unwrap_or_else(|| application.id.to_string());
        Self {
            application,
            resource,
            user_id,
            scopes,
            subject_id,
        }
    }
}

impl Api {
    /// Asks the zone's active set; `Ok` when it would allow, `Err` with why not.
    pub(super) async fn dry_run(
        &self,
        conn: &mut Conn,
        zone: ZoneId,
        asked: DryRun,
    ) -> Result<Result<String, String>, Failure> {
        let Some(active) = policy_sets::activation(conn, zone).await? else {
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
            grant: None,
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
