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

/// Notes a refusal, in its zone's ledger if we know whose call it was.
pub(super) fn refuse(gateway: &Gateway, passage: &Passage, refused: &Refused) {
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
}

/// What the caller of a refused or failed call is told.
pub(super) fn answer(gateway: &Gateway, passage: &Passage, refused: &Refused) -> HttpResponse {
    refused.answer(
        &passage.call.request_id,
        &gateway.metadata_url(passage.target.as_ref()),
    )
}

/// Notes the end of an admitted call when it is dropped, however that comes about: an answer sent in full, a caller that
/// went away, a cut, an upstream that failed.
pub(crate) struct Ending {
    gateway: Data<Gateway>,
    event: AuditEvent,
    upload: Option<Arc<Upload>>,
    started: Instant,
    span: Span,
    status: Option<u16>,
    bytes_out: u64,
    outcome: Outcome,
}

/// How a call ended.
#[derive(Debug, Clone)]
enum Outcome {
    /// The answer was handed on in full.
    Complete,
    /// It was broken off: by us, or by a caller that went away.
    Cut(&'static str),
    /// It came to nothing, and was told why.
    Failed(String),
}

impl Outcome {
    fn as_str(&self) -> &str {
        match self {
            Self::Complete => "complete",
            Self::Cut(why) => why,
            Self::Failed(reason) => reason,
        }
    }
}

impl Ending {
    /// Of a call that was just admitted.
    pub(super) fn of(gateway: &Data<Gateway>, passage: &Passage, token: &Verified) -> Self {
        gateway.metrics.count("admitted");
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
            upload: None,
            started: passage.started,
            span: Span::current(),
            status: None,
            bytes_out: 0,
            outcome: Outcome::Cut("caller_gone"),
        }
    }

    /// Whose bytes it counts.
    pub(super) fn counts(&mut self, upload: &Arc<Upload>) {
        self.upload = Some(Arc::clone(upload));
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
        self.outcome = Outcome::Complete;
    }

    /// We ended it.
    pub(crate) fn cut(&mut self, why: Option<Cut>) {
        self.outcome = Outcome::Cut(why.map_or("cut", Cut::as_str));
    }

    /// It came to nothing.
    pub(crate) fn failed(&mut self, reason: &str) {
        self.outcome = Outcome::Failed(reason.to_owned());
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let outcome = self.outcome.as_str();
        self.gateway.metrics.count_ending(outcome);
        let mut event = self.event.clone();
        event.occurred_at = self.gateway.clock.now();
        if let Some(metadata) = event.metadata_json.as_object_mut() {
            let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            metadata.insert("status".to_owned(), json!(self.status));
            let bytes_in = self.upload.as_ref().map_or(0, |upload| upload.bytes());
            metadata.insert("bytes_in".to_owned(), json!(bytes_in));
            metadata.insert("bytes_out".to_owned(), json!(self.bytes_out));
            metadata.insert("duration_ms".to_owned(), json!(duration_ms));
            let cut = matches!(self.outcome, Outcome::Cut(_));
            metadata.insert("cut".to_owned(), json!(cut));
            metadata.insert("outcome".to_owned(), json!(outcome));
        }
        self.span.in_scope(|| self.gateway.recorder.note(event));
    }
}
