//! How a call ended, for the ledger: refused, or forwarded and answered, or cut.

use crate::app::Gateway;
use crate::error::Refused;
use crate::passage::Passage;
use crate::passage::record::event;
use crate::running::Cut;
use crate::upload::Upload;
use actix_web::HttpResponse;
use actix_web::web::Data;
use caracal_domain::id::EventId;
use caracal_domain::{AuditDecision, AuditEvent, EventType};
use caracal_jose::Verified;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tracing::Span;

/// Notes a refusal, in its zone's ledger if we know whose call it was, and answers it.
pub(super) fn refuse(gateway: &Gateway, passage: &Passage, refused: &Refused) -> HttpResponse {
    let reason = refused.reason();
    gateway.metrics.count(reason);
    tracing::info!(reason, "refused");
    if let Some(zone) = passage.token.as_ref().map(|token| token.claims().zone_id) {
        let id = EventId::mint(&*gateway.clock);
        let refusal = event(
            gateway,
            passage,
            zone,
            id,
            EventType::GatewayRequest,
            AuditDecision::Deny,
        );
        gateway.recorder.note(refusal.because(reason));
    } else {
        gateway.strangers.note(
            passage.call.source,
            &passage.call.request_id,
            reason,
            passage.metadata(),
        );
    }
    refused.answer(
        &passage.call.request_id,
        &gateway.metadata_url(passage.target.as_ref()),
    )
}

/// Notes the end of a forwarded call when it is dropped, however that comes about: an answer sent in full, a caller
/// that went away, a cut.
pub(crate) struct Ending {
    gateway: Data<Gateway>,
    event: AuditEvent,
    upload: Arc<Upload>,
    started: Instant,
    span: Span,
    status: Option<u16>,
    bytes_out: u64,
    outcome: &'static str,
}

impl Ending {
    /// Of a call that is about to be forwarded.
    pub(super) fn of(
        gateway: &Data<Gateway>,
        passage: &Passage,
        token: &Verified,
        upload: Arc<Upload>,
    ) -> Self {
        let id = EventId::mint(&*gateway.clock);
        let zone = token.claims().zone_id;
        Self {
            gateway: gateway.clone(),
            event: event(
                gateway,
                passage,
                zone,
                id,
                EventType::GatewayResponse,
                AuditDecision::Allow,
            ),
            upload,
            started: passage.started,
            span: Span::current(),
            status: None,
            bytes_out: 0,
            outcome: "caller_gone",
        }
    }

    /// The head of the answer is on its way.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// So many bytes of the answer were handed on.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes_out = self
            .bytes_out
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// The answer was handed on in full.
    pub(crate) fn complete(&mut self) {
        self.outcome = "complete";
    }

    /// We ended it.
    pub(crate) fn cut(&mut self, why: Option<Cut>) {
        self.outcome = why.map_or("cut", Cut::as_str);
    }

    /// The upstream failed.
    pub(crate) fn failed(&mut self, reason: &'static str) {
        self.outcome = reason;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut event = self.event.clone();
        event.occurred_at = self.gateway.clock.now();
        if let Some(metadata) = event.metadata_json.as_object_mut() {
            let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            metadata.insert("status".to_owned(), json!(self.status));
            metadata.insert("bytes_in".to_owned(), json!(self.upload.bytes()));
            metadata.insert("bytes_out".to_owned(), json!(self.bytes_out));
            metadata.insert("duration_ms".to_owned(), json!(duration_ms));
            metadata.insert("cut".to_owned(), json!(self.outcome != "complete"));
            metadata.insert("outcome".to_owned(), json!(self.outcome));
        }
        self.span.in_scope(|| self.gateway.recorder.note(event));
    }
}
