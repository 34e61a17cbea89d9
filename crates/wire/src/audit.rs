//! Events of the ledger on the wire.

use crate::convert::{WireError, json, micros, parse, parse_optional, timestamp};
use crate::v1;
use caracal_domain::{AuditDecision, AuditEvent, EventType, RequestId};
use prost::Message as _;

/// The subject of decision events, on the bus and in the spool.
pub const AUDIT_SUBJECT: &str = "caracal.audit.events";
/// The subject of admitted mandates.
pub const USES_SUBJECT: &str = "caracal.audit.uses";

/// The bytes of a ledger event (`audit.proto`).
#[must_use]
pub fn encode_audit(event: &AuditEvent) -> Vec<u8> {
    v1::AuditEvent {
        id: event.id.to_string(),
        zone_id: event.zone_id.to_string(),
        event_type: event.event_type.clone().into(),
        request_id: event.request_id.to_string(),
        decision: event.decision.as_str().to_owned(),
        evaluation_status: event.evaluation_status.clone(),
        reason: event.reason.clone(),
        policy_set_id: event.policy_set_id.map(|id| id.to_string()),
        policy_set_version_id: event.policy_set_version_id.map(|id| id.to_string()),
        manifest_sha: event.manifest_sha.clone(),
        determining_policies_json: event.determining_policies_json.to_string(),
        diagnostics_json: event.diagnostics_json.to_string(),
        metadata_json: event.metadata_json.to_string(),
        occurred_at_micros: micros(event.occurred_at),
    }
    .encode_to_vec()
}

/// The ledger event in these bytes.
///
/// # Errors
/// When the bytes are not one.
pub fn decode_audit(bytes: &[u8]) -> Result<AuditEvent, WireError> {
    let message = v1::AuditEvent::decode(bytes)?;
    Ok(AuditEvent {
        id: parse(&message.id, "id")?,
        zone_id: parse(&message.zone_id, "zone_id")?,
        event_type: EventType::try_from(message.event_type).map_err(|_| WireError::Field("event_type"))?,
        request_id: RequestId::accept(&message.request_id).ok_or(WireError::Field("request_id"))?,
        decision: AuditDecision::parse(&message.decision).ok_or(WireError::Field("decision"))?,
        evaluation_status: message.evaluation_status,
        reason: message.reason,
        policy_set_id: parse_optional(message.policy_set_id.as_deref(), "policy_set_id")?,
        policy_set_version_id: parse_optional(
            message.policy_set_version_id.as_deref(),
            "policy_set_version_id",
        )?,
        manifest_sha: message.manifest_sha,
        determining_policies_json: json(&message.determining_policies_json, "determining_policies_json")?,
        diagnostics_json: json(&message.diagnostics_json, "diagnostics_json")?,
        metadata_json: json(&message.metadata_json, "metadata_json")?,
        occurred_at: timestamp(message.occurred_at_micros, "occurred_at_micros")?,
    })
}
