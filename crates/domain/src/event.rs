//! The ledger's event (contract §6): what was decided, for whom, and why.

mod redaction;

pub use redaction::{REDACTED, conceal, redact, shortened};

use crate::clock::Timestamp;
use crate::decision::Ruling;
use crate::id::{EventId, PolicySetId, PolicySetVersionId, ZoneId};
use crate::request_id::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EventType {
    /// A decision of the STS, one per resource.
    TokenExchange,
    /// A call admitted or refused by the gateway, before it is forwarded.
    GatewayRequest,
    /// The end of a forwarded call.
    GatewayResponse,
    /// A mandate presented a second time.
    ReplayDetected,
    /// What a shadow policy set would have said.
    PolicyShadow,
    /// A session's life: `session.<what>`.
    Session(String),
    /// An agent's life: `agent.<what>`.
    Agent(String),
    /// A delegation's life: `delegation.<what>`.
    Delegation(String),
    /// A step-up challenge's life: `step_up.<what>`.
    StepUp(String),
    /// A change, or refused change, of configuration: `admin.<what>`.
    Admin(String),
}

impl From<EventType> for String {
    fn from(event_type: EventType) -> Self {
        match event_type {
            EventType::TokenExchange => "token_exchange".into(),
            EventType::GatewayRequest => "gateway_request".into(),
            EventType::GatewayResponse => "gateway_response".into(),
            EventType::ReplayDetected => "replay_detected".into(),
            EventType::PolicyShadow => "policy_shadow".into(),
            EventType::Session(what) => format!("session.{what}"),
            EventType::Agent(what) => format!("agent.{what}"),
            EventType::Delegation(what) => format!("delegation.{what}"),
            EventType::StepUp(what) => format!("step_up.{what}"),
            EventType::Admin(what) => format!("admin.{what}"),
        }
    }
}

/// The text names no event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event type")]
pub struct InvalidEventType;

impl TryFrom<String> for EventType {
    type Error = InvalidEventType;

    fn try_from(text: String) -> Result<Self, InvalidEventType> {
        let (family, what) = text.split_once('.').unwrap_or((text.as_str(), ""));
        let what = what.to_owned();
        match (family, what.is_empty()) {
            ("token_exchange", true) => Ok(Self::TokenExchange),
            ("gateway_request", true) => Ok(Self::GatewayRequest),
            ("gateway_response", true) => Ok(Self::GatewayResponse),
            ("replay_detected", true) => Ok(Self::ReplayDetected),
            ("policy_shadow", true) => Ok(Self::PolicyShadow),
            ("session", false) => Ok(Self::Session(what)),
            ("agent", false) => Ok(Self::Agent(what)),
            ("delegation", false) => Ok(Self::Delegation(what)),
            ("step_up", false) => Ok(Self::StepUp(what)),
            ("admin", false) => Ok(Self::Admin(what)),
            _ => Err(InvalidEventType),
        }
    }
}

/// How it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditDecision {
    /// Authority was given.
    Allow,
    /// It was refused.
    Deny,
    /// Some of what was asked for was given.
    Partial,
}

impl AuditDecision {
    /// The name stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Partial => "partial",
        }
    }

    /// The decision with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Allow, Self::Deny, Self::Partial]
            .into_iter()
            .find(|d| d.as_str() == name)
    }
}

/// One event of the ledger. Its JSON, keys sorted, is what the chain hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// The event's own id; the ledger keeps each once.
    pub id: EventId,
    /// Whose ledger it belongs to.
    pub zone_id: ZoneId,
    /// What it is about.
    pub event_type: EventType,
    /// The request it happened in.
    pub request_id: RequestId,
    /// How it was decided.
    pub decision: AuditDecision,
    /// `complete`, or why the evaluation was not.
    pub evaluation_status: String,
    /// The precise slug of a refusal.
    pub reason: Option<String>,
    /// The policy set that decided.
    pub policy_set_id: Option<PolicySetId>,
    /// Its version.
    pub policy_set_version_id: Option<PolicySetVersionId>,
    /// SHA-256 of its manifest, hex.
    pub manifest_sha: Option<String>,
    /// What decided, as the policies name it.
    pub determining_policies_json: Value,
    /// What the policies explained.
    pub diagnostics_json: Value,
    /// Everything else worth keeping, redacted by [`redact`].
    pub metadata_json: Value,
    /// When it happened.
    pub occurred_at: Timestamp,
}

impl AuditEvent {
    /// An event without policy detail. `metadata` is redacted here, so no event can carry a secret by accident.
    #[must_use]
    pub fn new(
        id: EventId,
        zone_id: ZoneId,
        event_type: EventType,
        request_id: RequestId,
        decision: AuditDecision,
        metadata: Value,
        occurred_at: Timestamp,
    ) -> Self {
        Self {
            id,
            zone_id,
            event_type,
            request_id,
            decision,
            evaluation_status: "complete".to_owned(),
            reason: None,
            policy_set_id: None,
            policy_set_version_id: None,
            manifest_sha: None,
            determining_policies_json: Value::Array(Vec::new()),
            diagnostics_json: Value::Array(Vec::new()),
            metadata_json: redact(metadata),
            occurred_at,
        }
    }

    /// Notes what the policies came to. What they name and explain is theirs, so it is redacted like everything else.
    pub fn rule(&mut self, ruling: &Ruling) {
        self.determining_policies_json = redact(Value::Array(ruling.determining_policies.clone()));
        self.diagnostics_json = redact(Value::Array(ruling.diagnostics.clone()));
    }

    /// The same event with the slug of a refusal.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_survive_a_round_trip_and_strangers_are_refused() {
        for name in [
            "token_exchange",
            "gateway_request",
            "session.revoked",
            "admin.zone.create",
            "step_up.satisfied",
        ] {
            assert_eq!(
                EventType::try_from(name.to_owned()).map(String::from),
                Ok(name.to_owned())
            );
        }
        for name in ["", "session.", "session", "token_exchange.x", "other"] {
            assert_eq!(
                EventType::try_from(name.to_owned()),
                Err(InvalidEventType),
                "{name}"
            );
        }
    }
}
