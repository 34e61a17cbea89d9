//! Shadow evaluation: what the zone's shadow set would have said, asked after the answer, by one task at the back of the
//! queue. Under load it is dropped first, and counted; nobody ever waits for it.

use crate::decide::Asked;
use crate::evaluate::Evaluated;
use crate::metrics::Metrics;
use crate::record::verdict;
use crate::zones::Zones;
use caracal_bus::Recorder;
use caracal_domain::decision::Ruling;
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::zone::Manifest;
use caracal_domain::{
    AuditDecision, AuditEvent, Clock, Decision, EventType, RequestId, ResourceIdentifier, Timestamp, combine,
};
use caracal_policy::Engine;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many questions may wait.
const WAITING: usize = 512;

/// One question that was decided, to be asked of the shadow set too.
pub struct Shadowed {
    zone: ZoneId,
    request_id: RequestId,
    at: Timestamp,
    resource: ResourceIdentifier,
    manifest: Arc<Manifest>,
    input: Arc<RawValue>,
    /// What the active set said; `None` when it failed.
    said: Option<Decision>,
}

impl Shadowed {
    /// The question that `said` was the answer to.
    #[must_use]
    pub fn of(
        asked: &Asked<'_>,
        resource: &ResourceIdentifier,
        said: &Evaluated,
        manifest: &Arc<Manifest>,
    ) -> Self {
        Self {
            zone: asked.view.zone.config.id,
            request_id: asked.exchange.request_id.clone(),
            at: asked.exchange.now,
            resource: resource.clone(),
            manifest: Arc::clone(manifest),
            input: Arc::clone(&said.input),
            said: said.ruling.as_ref().ok().map(|ruling| ruling.decision),
        }
    }
}

/// Where questions for shadow sets are left.
#[derive(Debug, Clone)]
pub struct Shadow {
    queue: mpsc::Sender<Shadowed>,
    metrics: Metrics,
}

/// Who answers them: asks the engine, loads what was evicted, and notes the outcome.
pub struct Watcher {
    engine: Arc<Engine>,
    zones: Arc<Zones>,
    recorder: Recorder,
    clock: Arc<dyn Clock>,
}

impl Shadow {
    /// A queue, and its other end for [`Watcher::watch`].
    #[must_use]
    pub fn new(metrics: Metrics) -> (Self, mpsc::Receiver<Shadowed>) {
        let (queue, receiver) = mpsc::channel(WAITING);
        (Self { queue, metrics }, receiver)
    }

    /// Leaves questions there; what finds no place is dropped.
    pub fn observe(&self, questions: Vec<Shadowed>) {
        for question in questions {
            if self.queue.try_send(question).is_err() {
                self.metrics.shadow_dropped();
            }
        }
    }
}

impl Watcher {
    /// With the parts of the service it shares.
    #[must_use]
    pub fn new(
        engine: &Arc<Engine>,
        zones: &Arc<Zones>,
        recorder: &Recorder,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            zones: Arc::clone(zones),
            recorder: recorder.clone(),
            clock: Arc::clone(clock),
        }
    }

    /// Answers one question after the other for as long as the service lives.
    pub async fn watch(self, mut questions: mpsc::Receiver<Shadowed>) {
        while let Some(question) = questions.recv().await {
            // Whoever else wants this thread goes first.
            tokio::task::yield_now().await;
            if self.zones.load_modules(&question.manifest).await.is_ok() {
                let event = self.answer(&question).await;
                self.recorder.note(event);
            }
        }
    }

    async fn answer(&self, question: &Shadowed) -> AuditEvent {
        let evaluation = self.engine.evaluate(&question.manifest, &*question.input).await;
        let ruling = combine(&evaluation.verdicts).ok();
        let would = ruling.as_ref().map(|ruling: &Ruling| ruling.decision);
        // What fails refuses, so for the comparison a failure is a deny.
        let decision = would.unwrap_or(Decision::Deny);
        let differs = decision != question.said.unwrap_or(Decision::Deny);
        let policies: Vec<Value> = evaluation.verdicts.iter().map(verdict).collect();
        let metadata = json!({
            "version_id": question.manifest.version_id, "decision": decision, "differs": differs,
            "resource": question.resource, "policies": policies,
        });
        let mut event = AuditEvent::new(
            EventId::mint(&*self.clock),
            question.zone,
            EventType::PolicyShadow,
            question.request_id.clone(),
            match decision {
                Decision::Allow => AuditDecision::Allow,
                Decision::Deny => AuditDecision::Deny,
            },
            metadata,
            question.at,
        );
        event.policy_set_id = Some(question.manifest.policy_set_id);
        event.policy_set_version_id = Some(question.manifest.version_id);
        event.manifest_sha = Some(question.manifest.sha256.clone());
        match ruling {
            Some(ruling) => event.rule(&ruling),
            None => "error".clone_into(&mut event.evaluation_status),
        }
        event
    }
}
