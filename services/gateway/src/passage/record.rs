//! The admission, on record before anything is forwarded. For a mandate the same publish is the replay check.

use crate::app::Gateway;
use crate::error::Refused;
use crate::passage::Passage;
use crate::passage::decide::Decided;
use crate::passage::finish::Ending;
use actix_web::web::Data;
use caracal_bus::Use;
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::{AuditDecision, AuditEvent, EventType, Refusal};

/// Answers what will note how the call ends: from here on it does, whatever becomes of it.
///
/// # Errors
/// [`Refusal::NoRecord`] when no store took it, [`Refusal::MandateReplayed`] when the mandate was admitted before.
pub(super) async fn record(
    gateway: &Data<Gateway>,
    passage: &Passage,
    decided: &Decided,
) -> Result<Ending, Refused> {
    let claims = decided.token.claims();
    let admission = event(
        gateway,
        passage,
        claims.zone_id,
        passage.id,
        EventType::GatewayRequest,
        AuditDecision::Allow,
    );
    if decided.mandate.is_some() {
        gateway
            .recorder
            .record(&admission)
            .await
            .map_err(|_| Refusal::NoRecord)?;
        return Ok(Ending::of(gateway, passage, &decided.token));
    }
    match gateway.recorder.record_use(&admission, claims.jti).await {
        Ok(Use::First) => Ok(Ending::of(gateway, passage, &decided.token)),
        Ok(Use::Replay) => {
            let id = EventId::mint(&*gateway.clock);
            let replay = event(
                gateway,
                passage,
                claims.zone_id,
                id,
                EventType::ReplayDetected,
                AuditDecision::Deny,
            );
            gateway
                .recorder
                .note(replay.because(Refusal::MandateReplayed.reason()));
            Err(Refusal::MandateReplayed.into())
        }
        Err(_) => Err(Refusal::NoRecord.into()),
    }
}

/// An event about this call.
pub(super) fn event(
    gateway: &Gateway,
    passage: &Passage,
    zone: ZoneId,
    id: EventId,
    event_type: EventType,
    decision: AuditDecision,
) -> AuditEvent {
    let request_id = passage.call.request_id.clone();
    AuditEvent::new(
        id,
        zone,
        event_type,
        request_id,
        decision,
        passage.metadata(),
        gateway.clock.now(),
    )
}
