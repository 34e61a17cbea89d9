//! What the STS writes to the ledger (contract §6): for each decision enough to understand it, and to make it again.

use crate::app::Sts;
use crate::decide::{Asked, Finding};
use crate::error::Failure;
use crate::evaluate::Evaluated;
use crate::exchange::Exchange;
use crate::view::ZoneView;
use caracal_domain::decision::PolicyVerdict;
use caracal_domain::event::redact;
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::zone::Application;
use caracal_domain::{AuditDecision, AuditEvent, Claims, EventType, Refusal, RequestId, ResourceIdentifier};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

impl Sts {
    /// The record that a session began; `partial` when some of the resources it named were refused.
    #[must_use]
    pub fn session_event(
        &self,
        view: &ZoneView,
        application: &Application,
        claims: &Claims,
        exchange: &Exchange,
        is_partial: bool,
    ) -> AuditEvent {
        let decision = if is_partial {
            AuditDecision::Partial
        } else {
            AuditDecision::Allow
        };
        AuditEvent::new(
            EventId::mint(&*self.clock),
            view.zone.config.id,
            EventType::Session("created".to_owned()),
            exchange.request_id.clone(),
            decision,
            json!({
                "application_id": application.id, "session_id": claims.sid, "subject_id": claims.sub,
                "session_type": claims.sub_type, "act": claims.act,
                "agent_session_id": claims.agent_session_id,
                "expires_at": exchange.now + chrono::Duration::seconds(claims.exp - claims.iat),
                "scopes": claims.scope, "epoch": view.epoch,
            }),
            exchange.now,
        )
    }

    /// Notes an exchange that grants nothing; refusals never make anybody wait.
    pub fn note_denied(&self, asked: &Asked<'_>, findings: &[Finding]) {
        for finding in findings {
            self.recorder.note(decision_event(asked, finding, None));
        }
    }

    /// Notes a refusal in the ledger of the zone whose client proved itself.
    pub fn note_refused(&self, zone: ZoneId, request_id: &RequestId, reason: &str, metadata: Value) {
        self.recorder
            .note(self.refusal_event(zone, request_id, reason, metadata));
    }

    /// Notes an exchange that was refused before any resource was decided: one record for each resource that it names, and
    /// one if it names none, with whatever had been established of it by then.
    pub fn note_refused_exchange(&self, view: &ZoneView, exchange: &Exchange, reason: &str, who: &Value) {
        let request = &exchange.request;
        let mut metadata = who.clone();
        if let Some(map) = metadata.as_object_mut() {
            let told = exchange.told();
            let known = [
                ("session_id", json!(told.and_then(|told| told.session_id))),
                ("subject_id", json!(told.map(|told| &told.subject_id))),
                (
                    "agent_session_id",
                    json!(
                        request
                            .agent_session_id
                            .or(told.and_then(|told| told.agent_session_id))
                    ),
                ),
                ("delegation_edge_id", json!(request.delegation_edge_id)),
                (
                    "challenge_id",
                    json!(request.challenge.as_ref().map(|(id, _)| id)),
                ),
                ("requested_scopes", json!(request.scope_names())),
            ];
            let known = known.into_iter().filter(|(_, value)| !value.is_null());
            map.extend(known.map(|(name, value)| (name.to_owned(), value)));
        }
        let zone = view.zone.config.id;
        let named = self.named(view, &request.resources);
        if named.is_empty() {
            return self.note_refused(zone, &exchange.request_id, reason, metadata);
        }
        for named in named {
            let mut of_resource = metadata.clone();
            if let Some(map) = of_resource.as_object_mut() {
                map.insert("resource".to_owned(), json!(named.name));
            }
            self.note_refused(zone, &exchange.request_id, reason, of_resource);
        }
    }

    /// Notes a refusal before authentication: in the system zone's ledger, and only so many of them.
    pub fn note_stranger(&self, source: IpAddr, request_id: &RequestId, reason: &str, metadata: Value) {
        self.strangers.note(source, request_id, reason, metadata);
    }

    /// Whether the zone's key signed the token that a gateway shows. The gateway's own key is no zone's, so it is the token
    /// that says whose ledger a refusal belongs to.
    pub async fn is_of_zone(&self, view: Arc<ZoneView>, token: Option<&SecretString>) -> bool {
        let Some(token) = token else { return false };
        let (_, verified) = self.verify_current(view, token.expose_secret()).await;
        matches!(verified, Ok(_) | Err(Refusal::SubjectTokenExpired))
    }

    fn refusal_event(
        &self,
        zone: ZoneId,
        request_id: &RequestId,
        reason: &str,
        metadata: Value,
    ) -> AuditEvent {
        AuditEvent::new(
            EventId::mint(&*self.clock),
            zone,
            EventType::TokenExchange,
            request_id.clone(),
            AuditDecision::Deny,
            metadata,
            self.clock.now(),
        )
        .because(reason)
    }

    /// Records a grant.
    ///
    /// # Errors
    /// [`Refusal::NoRecord`] when neither store takes it.
    pub async fn keep(&self, event: &AuditEvent) -> Result<(), Failure> {
        // On the heap: this future is large, and every caller would carry it.
        Box::pin(self.recorder.record(event))
            .await
            .map(|_| ())
            .map_err(|_| Refusal::NoRecord.into())
    }
}

/// The record that one resource was allowed and its token could not be issued all the same.
#[must_use]
pub fn withheld_event(asked: &Asked<'_>, finding: &Finding, refusal: Refusal) -> AuditEvent {
    let mut event = decision_event(asked, finding, None);
    if finding.refusal.is_none() {
        event.decision = AuditDecision::Deny;
        event = event.because(refusal.reason());
    }
    event
}

/// The record of how one resource was decided; with `token` when it was granted.
#[must_use]
pub fn decision_event(asked: &Asked<'_>, finding: &Finding, token: Option<&Claims>) -> AuditEvent {
    let (decision, token) = match finding.refusal {
        None => (AuditDecision::Allow, token),
        Some(_) => (AuditDecision::Deny, None),
    };
    let mut metadata = about(asked, &finding.name);
    if let Some(map) = metadata.as_object_mut() {
        if let (None, Some(claims)) = (asked.session, token) {
            map.insert("session_id".to_owned(), json!(claims.sid));
        }
        map.insert("actor_id".to_owned(), json!(asked.actor.map(|actor| &actor.sub)));
        map.insert("requested_scopes".to_owned(), json!(asked.requested_scopes()));
        map.insert("class".to_owned(), json!(class(asked)));
        map.insert("epoch".to_owned(), json!(asked.view.epoch));
    }
    if let (Some(delegation), Some(map)) = (&asked.acting.delegation, metadata.as_object_mut()) {
        map.insert("delegation_edge_id".to_owned(), json!(delegation.leaf.id));
        map.insert("delegation_path".to_owned(), json!(delegation.leaf.path));
    }
    if let (Some(met), Some(map)) = (&asked.met, metadata.as_object_mut()) {
        map.insert("challenge_id".to_owned(), json!(met.id));
    }
    if let (Some(claims), Some(map)) = (token, metadata.as_object_mut()) {
        map.insert("jti".to_owned(), json!(claims.jti));
        map.insert("exp".to_owned(), json!(claims.exp));
    }
    let mut event = AuditEvent::new(
        finding.event_id,
        asked.view.zone.config.id,
        EventType::TokenExchange,
        asked.exchange.request_id.clone(),
        decision,
        metadata,
        asked.exchange.now,
    );
    if let Some(refusal) = finding.refusal {
        event = event.because(refusal.reason());
    }
    if let Some(evaluated) = &finding.evaluated {
        explain(&mut event, evaluated);
    }
    event
}

/// Whose question it is and what it is about, by which the ledger's filters find it.
#[must_use]
pub fn about(asked: &Asked<'_>, resource: &ResourceIdentifier) -> Value {
    let mut about = json!({
        "application_id": asked.application.id,
        "session_id": asked.session.map(|session| session.sid),
        "resource": resource,
        "subject_id": asked.session.map(|session| &session.sub).or(asked.signing_in.map(|user| &user.subject)),
    });
    if let (Some(agent), Some(about)) = (&asked.acting.agent, about.as_object_mut()) {
        about.insert("agent_session_id".to_owned(), json!(agent.id));
        about.insert("labels".to_owned(), json!(agent.labels));
    }
    about
}

fn class(asked: &Asked<'_>) -> &'static str {
    match (asked.session, asked.signing_in, asked.for_gateway) {
        (None, Some(_), _) => "user_session",
        (None, None, _) => "session",
        (Some(_), _, true) => "gateway",
        (Some(_), _, false) if asked.acting.delegation.is_some() => "delegated_mandate",
        (Some(_), _, false) => "mandate",
    }
}

/// Enough to understand the decision, and to make it again: the input, each policy's own answer, the composition.
fn explain(event: &mut AuditEvent, evaluated: &Evaluated) {
    event.policy_set_id = Some(evaluated.manifest.policy_set_id);
    event.policy_set_version_id = Some(evaluated.manifest.version_id);
    event.manifest_sha = Some(evaluated.manifest.sha256.clone());
    match &evaluated.ruling {
        Ok(ruling) => event.rule(ruling),
        Err(_) => "error".clone_into(&mut event.evaluation_status),
    }
    if let Some(metadata) = event.metadata_json.as_object_mut() {
        metadata.insert(
            "policies".to_owned(),
            evaluated.verdicts.iter().map(verdict).collect(),
        );
        metadata.insert("input".to_owned(), seen(evaluated));
        if let Some(delegator) = &evaluated.delegator {
            let policies: Vec<Value> = delegator.verdicts.iter().map(verdict).collect();
            let asked = json!({
                "policies": policies, "input": seen(delegator), "evaluation_us": micros(delegator.elapsed),
            });
            metadata.insert("delegator".to_owned(), asked);
        }
        metadata.insert("evaluation_us".to_owned(), json!(micros(evaluated.elapsed)));
    }
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// The very text the policies saw, without secrets.
fn seen(evaluated: &Evaluated) -> Value {
    redact(serde_json::from_str(evaluated.input.get()).unwrap_or_default())
}

/// What one policy said by itself.
#[must_use]
pub fn verdict(verdict: &PolicyVerdict) -> Value {
    match &verdict.answer {
        Ok(Some(answer)) => redact(json!({
            "policy_version_id": verdict.policy_version_id, "decision": answer.decision,
            "evaluation_status": answer.evaluation_status, "determining_policies": answer.determining_policies,
            "diagnostics": answer.diagnostics,
        })),
        Ok(None) => json!({"policy_version_id": verdict.policy_version_id, "decision": null}),
        Err(fault) => json!({"policy_version_id": verdict.policy_version_id, "error": fault.to_string()}),
    }
}
