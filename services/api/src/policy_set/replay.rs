//! `POST …/policy-sets/{id}/replay`: what would have become of recorded decisions under a draft. The ledger holds what
//! each decision saw; the draft sees it again.

use super::draft::Draft;
use crate::actor::{InZone, Read};
use crate::app::Api;
use crate::error::Failure;
use crate::text::Moment;
use actix_web::HttpResponse;
use actix_web::web::Data;
use caracal_domain::decision::{PolicyAnswer, PolicyFault, PolicyVerdict};
use caracal_domain::event::REDACTED;
use caracal_domain::id::{EventId, PolicySetId, PolicySetVersionId, ZoneId};
use caracal_domain::{Decision, Ruling, Timestamp, combine};
use caracal_storage::Page;
use caracal_storage::audit::{self, AuditFilter, AuditRow};
use caracal_web::{ApiError, JsonBody, PathId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

/// The most decisions one request replays, the newest first.
const MOST: i64 = 20_000;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many events are read at once.
const CHUNK: i64 = 500;
/// How many changed decisions are named.
const EXAMPLES: usize = 20;
const DECISION: &str = "token_exchange";

/// The body of `POST …/policy-sets/{id}/replay`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// The version to ask.
    version_id: PolicySetVersionId,
    /// From when on.
    #[schema(value_type = String, format = DateTime)]
    since: Moment,
}

/// What would have changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replay {
    /// From when on.
    since: Timestamp,
    /// The decisions recorded since; each is replayed or counted as unreplayable.
    total: i64,
    /// Those the draft was asked about.
    replayed: i64,
    /// The others, by reason.
    unreplayable: BTreeMap<&'static str, i64>,
    /// Those that would have ended otherwise.
    changes: Changes,
    /// Some of them.
    examples: Vec<Example>,
}

/// How many decisions would have ended otherwise.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Changes {
    /// Were allowed and would be denied.
    allow_to_deny: i64,
    /// Were denied and would be allowed.
    deny_to_allow: i64,
    /// Would ask for a further proof, or no longer would.
    step_up: i64,
}

/// A decision that would have ended otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Example {
    /// Its event.
    event_id: EventId,
    /// What was decided.
    before: Outcome,
    /// What the draft says.
    after: Outcome,
}

/// How a decision ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
    /// Denied until a proof is given.
    StepUp,
}

impl Outcome {
    /// The same where the root issuer of a delegation must be allowed too; a proof it would have to give is not given
    /// here.
    const fn with_delegator(self, delegator: Self) -> Self {
        match (self, delegator) {
            (Self::Allow, Self::Deny | Self::StepUp) => Self::Deny,
            (alone, _) => alone,
        }
    }
}

/// Replays recorded decisions.
///
/// Asks a version of a set again what was once decided, and compares. Read-only tokens may.
#[utoipa::path(
    post,
    path = "/v1/zones/{zone_id}/policy-sets/{id}/replay",
    request_body = ReplayBody,
    responses(
        (status = 200, description = "What would have changed.", body = Replay),
        (status = 400, description = "`invalid_body`"),
        (status = 404, description = "`policy_set_not_found`, `version_not_found`"),
        (status = 503, description = "`temporarily_unavailable`: too many at once"),
    )
)]
pub(crate) async fn replay(
    api: Data<Api>,
    request: InZone<Read, (PathId<PolicySetId>, JsonBody<ReplayBody>)>,
) -> Result<HttpResponse, ApiError> {
    let (PathId(id), JsonBody(body)) = request.rest;
    let zone = request.zone.id;
    let draft = api.draft(zone, id, Some(body.version_id)).await?;
    let replay = Api::replay(Arc::clone(&api), zone, draft, body.since.0).await?;
    Ok(HttpResponse::Ok().json(replay))
}

impl Api {
    /// Runs beside the threads that answer, a few at once; one whose caller has gone stops at its next chunk.
    async fn replay(
        api: Arc<Self>,
        zone: ZoneId,
        draft: Draft,
        since: Timestamp,
    ) -> Result<Replay, ApiError> {
        let (answer, answered) = oneshot::channel();
        let tasks = api.tasks.clone();
        tasks.spawn("replay", async move {
            let mut answer = answer;
            let run = async {
                let _turn = api.replays.try_acquire().map_err(|_| busy())?;
                Ok::<_, ApiError>(api.run_replay(zone, &draft, since).await?)
            };
            let outcome = tokio::select! {
                outcome = run => outcome,
                () = answer.closed() => return,
            };
            // Nobody is left to hear it.
            let _ = answer.send(outcome);
        });
        answered.await.map_err(|_| busy())?
    }

    async fn run_replay(&self, zone: ZoneId, draft: &Draft, since: Timestamp) -> Result<Replay, Failure> {
        let started = Instant::now();
        let mut replay = Replay {
            since,
            total: 0,
            replayed: 0,
            unreplayable: BTreeMap::new(),
            changes: Changes::default(),
            examples: Vec::new(),
        };
        let filter = AuditFilter {
            since: Some(since),
            event_type: Some(DECISION.to_owned()),
            ..AuditFilter::default()
        };
        let mut page = Page::first(CHUNK);
        while replay.total < MOST && started.elapsed() < PATIENCE {
            let mut conn = self.database.acquire(zone).await?;
            let rows = audit::list(&mut conn, zone, &filter, &page).await?;
            drop(conn);
            let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= page.limit;
            page.after = rows.last().map(|row| (row.occurred_at, Uuid::from(row.id)));
            for row in &rows {
                self.replay_one(draft, row, &mut replay).await;
            }
            if !full {
                return Ok(replay);
            }
        }
        let mut conn = self.database.acquire(zone).await?;
        let all = audit::count(&mut conn, zone, DECISION, since).await?;
        let rest = all - replay.total;
        if rest > 0 {
            replay.total = all;
            replay.unreplayable.insert("beyond_limit", rest);
        }
        Ok(replay)
    }

    async fn replay_one(&self, draft: &Draft, row: &AuditRow, replay: &mut Replay) {
        replay.total += 1;
        match self.both(draft, row).await {
            Ok((before, after)) => replay.count(row.id, before, after),
            Err(reason) => *replay.unreplayable.entry(reason).or_default() += 1,
        }
    }

    /// What the policies came to then, and what the draft comes to; or why that cannot be said.
    async fn both(&self, draft: &Draft, row: &AuditRow) -> Result<(Outcome, Outcome), &'static str> {
        let caller = replayable(draft, &row.metadata_json)?;
        let delegator = match row.metadata_json.get("delegator") {
            Some(delegator) => Some(replayable(draft, delegator)?),
            None => None,
        };
        let before = match &delegator {
            Some(delegator) => caller.before.with_delegator(delegator.before),
            None => caller.before,
        };
        let after = self.ask_again(draft, caller.input).await?;
        if after != Outcome::Allow {
            return Ok((before, after));
        }
        let after = match &delegator {
            Some(delegator) => after.with_delegator(self.ask_again(draft, delegator.input).await?),
            // What the root issuer would have been asked is not on record where the caller was refused already.
            None if row.metadata_json.get("delegation_edge_id").is_some() => {
                return Err("delegator_not_asked");
            }
            None => after,
        };
        Ok((before, after))
    }

    async fn ask_again(&self, draft: &Draft, input: &Value) -> Result<Outcome, &'static str> {
        let verdicts = self.engine.evaluate(&draft.manifest, input).await.verdicts;
        match combine(&verdicts) {
            Ok(ruling) => Ok(outcome(&ruling)),
            // Those who simulate the same set at this moment: nothing the draft says.
            Err(PolicyFault::Busy) => Err("replay_busy"),
            Err(_) => Err("policy_failed"),
        }
    }
}

impl Replay {
    fn count(&mut self, event_id: EventId, before: Outcome, after: Outcome) {
        self.replayed += 1;
        match (before, after) {
            (before, after) if before == after => return,
            (Outcome::Allow, Outcome::Deny) => self.changes.allow_to_deny += 1,
            (Outcome::Deny, Outcome::Allow) => self.changes.deny_to_allow += 1,
            (_, _) => self.changes.step_up += 1,
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push(Example {
                event_id,
                before,
                after,
            });
        }
    }
}

/// One question as it was put, and what the policies of then came to. Not what came of the request: another resource that
/// is held holds this one too, and what is refused after policy is none of its doing.
struct Recorded<'a> {
    input: &'a Value,
    before: Outcome,
}

/// What the policies saw and said, if that is all on record.
fn replayable<'a>(draft: &Draft, record: &'a Value) -> Result<Recorded<'a>, &'static str> {
    let input = record.get("input").filter(|input| input.is_object());
    // Refused before policy was asked: an unknown resource, a scope it lacks, a rate exceeded.
    let input = input.ok_or("policy_not_asked")?;
    if input.get("schema_version").and_then(Value::as_str) != Some(draft.schema_version.as_str()) {
        return Err("other_schema");
    }
    if holds_redacted(input) {
        return Err("input_redacted");
    }
    let said = record.get("policies").and_then(Value::as_array);
    let verdicts: Option<Vec<PolicyVerdict>> =
        said.map_or(Some(Vec::new()), |all| all.iter().map(verdict).collect());
    // A policy that failed then said nothing that a change could be told from.
    let ruling = combine(&verdicts.ok_or("record_unreadable")?).map_err(|_| "policy_failed_then")?;
    Ok(Recorded {
        input,
        before: outcome(&ruling),
    })
}

/// What one policy said then (`record.rs` at the STS writes it).
fn verdict(recorded: &Value) -> Option<PolicyVerdict> {
    let policy_version_id = recorded.get("policy_version_id")?.as_str()?.parse().ok()?;
    let answer = match recorded.get("decision") {
        _ if recorded.get("error").is_some() => Err(PolicyFault::Error),
        None | Some(Value::Null) => Ok(None),
        Some(_) => Ok(Some(PolicyAnswer::deserialize(recorded).ok()?)),
    };
    Some(PolicyVerdict {
        policy_version_id,
        answer,
    })
}

fn holds_redacted(value: &Value) -> bool {
    match value {
        Value::String(text) => text == REDACTED,
        Value::Array(items) => items.iter().any(holds_redacted),
        Value::Object(members) => members.values().any(holds_redacted),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn outcome(ruling: &Ruling) -> Outcome {
    match (ruling.decision, ruling.step_up) {
        (Decision::Allow, _) => Outcome::Allow,
        (Decision::Deny, Some(_)) => Outcome::StepUp,
        (Decision::Deny, None) => Outcome::Deny,
    }
}

fn busy() -> ApiError {
    ApiError::unavailable("Other replays are running; try again in a moment.")
}
