//! No record, no mandate: what the STS writes to the ledger, and that it waits for it (architecture).

use crate::app::Sts;
use crate::decide::{Asked, Decided, Evaluated, Finding};
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::view::ZoneView;
use caracal_domain::decision::PolicyVerdict;
use caracal_domain::event::redact;
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::zone::Application;
use caracal_domain::{AuditDecision, AuditEvent, Claims, EventType, Refusal, RequestId};
use serde_json::{Value, json};
use std::net::IpAddr;

impl Sts {
    /// Records every finding of an exchange that grants something. Returns only when each grant is on record.
    ///
    /// # Errors
    /// [`Refusal::NoRecord`] when neither store takes it.
    pub async fn record(&self, asked: &Asked<'_>, decided: &Decided, claims: &Claims) -> Result<(), Failure> {
        for finding in &decided.findings {
            let event = decision_event(asked, finding, Some(claims));
            if finding.refusal.is_some() {
                self.recorder.note(event);
            } else {
                self.keep(&event).await?;
            }
        }
        Ok(())
    }

    /// Records that a session began.
    ///
    /// # Errors
    /// [`Refusal::NoRecord`] when neither store takes it.
    pub async fn record_session(
        &self,
        view: &ZoneView,
        application: &Application,
        claims: &Claims,
        exchange: &Exchange,
    ) -> Result<(), Failure> {
        let event = AuditEvent::new(
            EventId::mint(&*self.clock),
            view.zone.config.id,
            EventType::Session("created".to_owned()),
            exchange.request_id.clone(),
            AuditDecision::Allow,
            json!({
                "application_id": application.id, "session_id": claims.sid, "subject_id": claims.sub,
                "session_type": claims.sub_type, "act": claims.act,
                "expires_at": exchange.now + chrono::Duration::seconds(claims.exp - claims.iat),
                "scopes": claims.scope, "epoch": view.epoch,
            }),
            exchange.now,
        );
        self.keep(&event).await
    }

    /// Notes an exchange that grants nothing; refusals never make anybody wait.
    pub fn note_denied(&self, asked: &Asked<'_>, decided: &Decided) {
        for finding in &decided.findings {
            self.recorder.note(decision_event(asked, finding, None));
        }
    }

    /// Notes a refusal before any resource was decided, in the ledger of the zone whose client proved itself.
    pub fn note_refused(&self, zone: ZoneId, request_id: &RequestId, reason: &str, metadata: Value) {
        self.recorder
            .note(self.refusal_event(zone, request_id, reason, metadata));
    }

    /// Notes a refusal before authentication: in the system zone's ledger, and only so many of them.
    pub fn note_stranger(&self, source: IpAddr, request_id: &RequestId, reason: &str, metadata: Value) {
        self.strangers.note(source, request_id, reason, metadata);
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

    async fn keep(&self, event: &AuditEvent) -> Result<(), Failure> {
        // On the heap: this future is large, and every caller would carry it.
        Box::pin(self.recorder.record(event))
            .await
            .map(|_| ())
            .map_err(|_| Refusal::NoRecord.into())
    }
}

fn decision_event(asked: &Asked<'_>, finding: &Finding, token: Option<&Claims>) -> AuditEvent {
    let (decision, token) = match finding.refusal {
        None => (AuditDecision::Allow, token),
        Some(_) => (AuditDecision::Deny, None),
    };
    let mut metadata = json!({
        "application_id": asked.application.id,
        "session_id": asked.session.map(|session| session.sid).or(token.map(|claims| claims.sid)),
        "resource": finding.identifier,
        "subject_id": asked.session.map(|session| &session.sub).or(asked.user.map(|user| &user.subject)),
        "actor_id": asked.actor.map(|actor| &actor.sub),
        "requested_scopes": asked.scopes,
        "class": class(asked),
        "epoch": asked.view.epoch,
    });
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

fn class(asked: &Asked<'_>) -> &'static str {
    match (asked.session, asked.user, asked.for_gateway) {
        (None, Some(_), _) => "user_session",
        (None, None, _) => "session",
        (Some(_), _, true) => "gateway",
        (Some(_), _, false) => "mandate",
    }
}

/// Enough to understand the decision, and to make it again: the input, each policy's own answer, the composition.
fn explain(event: &mut AuditEvent, evaluated: &Evaluated) {
    event.policy_set_id = Some(evaluated.manifest.policy_set_id);
    event.policy_set_version_id = Some(evaluated.manifest.version_id);
    event.manifest_sha = Some(evaluated.manifest.sha256.clone());
    match &evaluated.ruling {
        Some(ruling) => {
            event.determining_policies_json = Value::Array(ruling.determining_policies.clone());
            event.diagnostics_json = redact(Value::Array(ruling.diagnostics.clone()));
        }
        None => "error".clone_into(&mut event.evaluation_status),
    }
    if let Some(metadata) = event.metadata_json.as_object_mut() {
        metadata.insert(
            "policies".to_owned(),
            evaluated.verdicts.iter().map(verdict).collect(),
        );
        metadata.insert("input".to_owned(), redact(evaluated.input.clone()));
        metadata.insert(
            "evaluation_us".to_owned(),
            json!(u64::try_from(evaluated.elapsed.as_micros()).unwrap_or(0)),
        );
    }
}

fn verdict(verdict: &PolicyVerdict) -> Value {
    match &verdict.answer {
        Ok(Some(answer)) => json!({
            "policy_version_id": verdict.policy_version_id, "decision": answer.decision,
            "determining_policies": answer.determining_policies, "diagnostics": answer.diagnostics,
        }),
        Ok(None) => json!({"policy_version_id": verdict.policy_version_id, "decision": null}),
        Err(fault) => json!({"policy_version_id": verdict.policy_version_id, "error": fault.to_string()}),
    }
}
