//! `POST …/policy-sets/{id}/simulate`: what a version of a set would say to an input. Stores nothing, decides nothing.

use super::draft::Draft;
use crate::actor::{InZone, Read};
use crate::app::Api;
use crate::openapi::words::DecisionWord;
use actix_web::HttpResponse;
use actix_web::web::Data;
use caracal_domain::decision::{PolicyFault, PolicyVerdict};
use caracal_domain::id::{PolicySetId, PolicySetVersionId};
use caracal_domain::{Decision, combine};
use caracal_web::{ApiError, JsonBody, PathId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use validator::Validate;

/// The body of `POST …/policy-sets/{id}/simulate`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulateBody {
    /// The version to ask: the set's active one when absent, else its newest.
    version_id: Option<PolicySetVersionId>,
    /// What the policies see as `input` (contract §2, "Policy input").
    #[schema(value_type = Object)]
    input: Map<String, Value>,
}

/// What the version said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Simulation {
    /// Allow or deny; a policy that fails denies.
    #[schema(value_type = DecisionWord, example = "deny")]
    decision: Decision,
    /// `complete`, or how a policy failed: `policy_error`, `policy_deadline`, `policy_memory`,
    /// `policy_builtin_input`, `policy_result`.
    evaluation_status: String,
    /// Everything the deciding policies named.
    determining_policies: Vec<Value>,
    /// Everything the deciding policies explained.
    diagnostics: Vec<Value>,
    /// Each policy by itself, up to and including one that failed.
    policies: Vec<SimulatedPolicy>,
}

/// What one policy said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SimulatedPolicy {
    /// The policy.
    policy_id: Option<caracal_domain::id::PolicyId>,
    /// Its version.
    policy_version_id: caracal_domain::id::PolicyVersionId,
    /// Allow or deny; null when `result` is undefined or the policy failed.
    #[schema(value_type = Option<DecisionWord>)]
    decision: Option<Decision>,
    /// `complete`, or how it failed.
    evaluation_status: String,
    /// What decided, as it names it.
    determining_policies: Vec<Value>,
    /// What it explained.
    diagnostics: Vec<Value>,
}

/// Simulates a decision.
///
/// Asks a version of a set what it would say, and decides nothing. Read-only tokens may.
#[utoipa::path(
    post,
    path = "/v1/zones/{zone_id}/policy-sets/{id}/simulate",
    request_body = SimulateBody,
    responses(
        (status = 200, description = "What the version would say.", body = Simulation),
        (status = 400, description = "`invalid_body`"),
        (status = 404, description = "`policy_set_not_found`, `version_not_found`"),
        (status = 503, description = "`temporarily_unavailable`: too many at once"),
    )
)]
pub(crate) async fn simulate(
    api: Data<Api>,
    request: InZone<Read, (PathId<PolicySetId>, JsonBody<SimulateBody>)>,
) -> Result<HttpResponse, ApiError> {
    let (PathId(id), JsonBody(body)) = request.rest;
    let draft = api.draft(request.zone.id, id, body.version_id).await?;
    let simulation = api.ask(&draft, &body.input).await?;
    Ok(HttpResponse::Ok().json(simulation))
}

impl Api {
    async fn ask(&self, draft: &Draft, input: &Map<String, Value>) -> Result<Simulation, ApiError> {
        let verdicts = self.engine.evaluate(&draft.manifest, input).await.verdicts;
        let ruling = combine(&verdicts);
        if ruling == Err(PolicyFault::Busy) {
            return Err(ApiError::unavailable("Too many simulations of this set at once."));
        }
        let policies = verdicts
            .into_iter()
            .map(|verdict| policy(draft, verdict))
            .collect();
        Ok(match ruling {
            Ok(ruling) => Simulation {
                decision: ruling.decision,
                evaluation_status: "complete".to_owned(),
                determining_policies: ruling.determining_policies,
                diagnostics: ruling.diagnostics,
                policies,
            },
            Err(fault) => Simulation {
                decision: Decision::Deny,
                evaluation_status: fault.to_string(),
                determining_policies: Vec::new(),
                diagnostics: Vec::new(),
                policies,
            },
        })
    }
}

fn policy(draft: &Draft, verdict: PolicyVerdict) -> SimulatedPolicy {
    let PolicyVerdict {
        policy_version_id,
        answer,
    } = verdict;
    let policy_id = draft.policies.get(&policy_version_id).copied();
    let (decision, evaluation_status, determining_policies, diagnostics) = match answer {
        Ok(Some(answer)) => (
            Some(answer.decision),
            answer.evaluation_status,
            answer.determining_policies,
            answer.diagnostics,
        ),
        Ok(None) => (None, "complete".to_owned(), Vec::new(), Vec::new()),
        Err(fault) => (None, fault.to_string(), Vec::new(), Vec::new()),
    };
    SimulatedPolicy {
        policy_id,
        policy_version_id,
        decision,
        evaluation_status,
        determining_policies,
        diagnostics,
    }
}
