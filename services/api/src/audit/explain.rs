//! `GET …/audit/by-request/{requestId}/explain`: why a request ended as it did, and what would have to change.

use super::story::{self, Names};
use super::{DetailedView, detailed};
use crate::actor::{InZone, Review};
use crate::app::Api;
use crate::error::Failure;
use crate::openapi::words::{AuditDecisionWord, DecisionWord};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::AuditDecision;
use caracal_domain::event::conceal;
use caracal_domain::id::ZoneId;
use caracal_storage::audit::{self, AuditRow, Decided};
use caracal_storage::{applications, policies};
use caracal_web::ApiError;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use utoipa::ToSchema;
use uuid::Uuid;

/// A request, explained.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// The request.
    request_id: String,
    /// Its zone.
    zone_id: Uuid,
    /// How it ended: `partial` when some of what it asked for was given.
    final_decision: AuditDecision,
    /// What happened, a sentence an event, in order.
    story: Vec<String>,
    /// The events.
    events: Vec<DetailedView>,
    /// Each refusal among them.
    denied: Vec<Denial>,
}

/// One refusal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Denial {
    /// The event.
    event_id: Uuid,
    /// Its precise slug.
    reason: String,
    /// What each policy said, as far as policy was asked.
    policies: Vec<Opinion>,
    /// What the policies saw, redacted; null when they were not asked.
    #[schema(value_type = Option<Object>)]
    input: Value,
    /// What was said of the root of the delegation, which must be allowed as well; absent when it was not asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    delegator: Option<Delegator>,
    /// What would have to change.
    needs: Vec<String>,
}

/// What the policies said when the issuer at the root of a delegation was asked about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delegator {
    /// What each policy said.
    policies: Vec<Opinion>,
    /// What the policies saw, redacted.
    #[schema(value_type = Object)]
    input: Value,
}

/// What one policy said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Opinion {
    /// The policy version.
    #[schema(value_type = Option<Uuid>)]
    policy_version_id: Value,
    /// `allow`, `deny`, or null when it has no opinion.
    #[schema(value_type = Option<DecisionWord>)]
    decision: Value,
    /// What decided, as it names it.
    #[schema(value_type = Vec<Value>)]
    determining_policies: Value,
    /// What it explained.
    #[schema(value_type = Vec<Value>)]
    diagnostics: Value,
}

/// Explains what became of a request.
///
/// From its events: who asked for what, what was decided, and which policies said so. Of more than a thousand events, or
/// 8 MiB, the first are told; `final_decision` is that of all.
#[utoipa::path(
    get,
    path = "/v1/zones/{zone_id}/audit/by-request/{request_id}/explain",
    responses(
        (status = 200, description = "The request, explained.", body = Explanation),
        (status = 404, description = "`request_not_found`"),
    )
)]
pub(crate) async fn explain(
    api: Data<Api>,
    request: InZone<Review, HttpRequest>,
) -> Result<HttpResponse, ApiError> {
    let zone = request.zone.id;
    let (request_id, rows) = api.events_of(zone, &request.rest).await?;
    let names = api.names_in(zone, &rows).await?;
    let decided = api
        .read(zone, async |conn| {
            audit::decided_in(conn, zone, &request_id).await
        })
        .await?;
    let mut story: Vec<String> = rows.iter().map(|row| story::sentence(row, &names)).collect();
    story.extend(story::rest(&decided, rows.len()));
    Ok(HttpResponse::Ok().json(Explanation {
        request_id: request_id.to_string(),
        zone_id: zone.into(),
        final_decision: final_decision(&decided),
        story,
        denied: rows.iter().filter(|row| is_refusal(row)).map(denial).collect(),
        events: rows.into_iter().map(detailed).collect(),
    }))
}

impl Api {
    /// What the story calls the applications and policies it is about.
    async fn names_in(&self, zone: ZoneId, rows: &[AuditRow]) -> Result<Names, Failure> {
        let versions: BTreeSet<Uuid> = rows.iter().flat_map(story::policy_versions).collect();
        let mut conn = self.database.acquire(zone).await?;
        let versions: Vec<_> = versions.into_iter().map(Into::into).collect();
        let policies = policies::version_names(&mut conn, zone, &versions).await?;
        let mut names = Names::of_policies(policies);
        let ids: BTreeSet<Uuid> = rows.iter().filter_map(story::application).collect();
        for id in ids {
            if let Some(application) = applications::find(&mut conn, zone, id.into()).await? {
                names.add_application(id, application.name);
            }
        }
        Ok(names)
    }
}

/// The gateway has the last word where it spoke; otherwise all, none or some of what was asked for was given.
fn final_decision(all: &[Decided]) -> AuditDecision {
    let decides = |row: &&Decided| !matches!(row.event_type.as_str(), "policy_shadow" | "gateway_response");
    let by_gateway =
        |row: &&Decided| matches!(row.event_type.as_str(), "gateway_request" | "replay_detected");
    let gateway: Vec<_> = all.iter().filter(by_gateway).collect();
    if !gateway.is_empty() {
        let refused = gateway.iter().any(|row| row.decision == AuditDecision::Deny);
        return if refused {
            AuditDecision::Deny
        } else {
            AuditDecision::Allow
        };
    }
    let decided: Vec<_> = all.iter().filter(decides).map(|row| row.decision).collect();
    if decided.iter().all(|decision| *decision == AuditDecision::Allow) {
        AuditDecision::Allow
    } else if decided.iter().all(|decision| *decision == AuditDecision::Deny) {
        AuditDecision::Deny
    } else {
        AuditDecision::Partial
    }
}

/// A shadow set refuses nothing.
fn is_refusal(row: &AuditRow) -> bool {
    row.decision == AuditDecision::Deny && row.event_type != "policy_shadow"
}

fn denial(row: &AuditRow) -> Denial {
    let known = |name: &str| row.metadata_json.get(name).cloned();
    let reason = row.reason.clone().unwrap_or_else(|| "denied".to_owned());
    Denial {
        event_id: row.id.into(),
        policies: story::policies(&row.metadata_json).iter().map(opinion).collect(),
        delegator: known("delegator").map(|asked| Delegator {
            policies: story::policies(&asked).iter().map(opinion).collect(),
            input: conceal(asked.get("input").cloned().unwrap_or_default()),
        }),
        input: conceal(known("input").unwrap_or_default()),
        needs: story::needs(row, &reason),
        reason,
    }
}

fn opinion(policy: &Value) -> Opinion {
    let said = |name: &str| policy.get(name).cloned();
    let list = |name: &str| said(name).unwrap_or_else(|| Value::Array(Vec::new()));
    let failed = said("error").map(|error| serde_json::json!([{"error": error}]));
    Opinion {
        policy_version_id: said("policy_version_id").unwrap_or_default(),
        decision: said("decision").unwrap_or_default(),
        determining_policies: list("determining_policies"),
        diagnostics: conceal(failed.unwrap_or_else(|| list("diagnostics"))),
    }
}
