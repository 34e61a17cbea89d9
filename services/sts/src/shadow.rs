//! Shadow evaluation: what the zone's shadow set would have said, asked after the answer, by one task at the back of the
//! queue. Under load it is dropped first, and counted; nobody ever waits for it.

use crate::decide::Asked;
use crate::evaluate::Evaluated;
use crate::metrics::Metrics;
use crate::record::{about, verdict};
use crate::zones::Zones;
use caracal_bus::Recorder;
use caracal_domain::decision::{ChallengeType, PolicyFault, Ruling};
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::zone::Manifest;
use caracal_domain::{
    AuditDecision, AuditEvent, Clock, Decision, EventType, RequestId, ResourceIdentifier, Timestamp, combine,
};
use caracal_policy::{Allowance, Engine};
use queue::Queue;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

mod queue;

/// One question that was decided, to be asked of the shadow set too.
pub struct Shadowed {
    zone: ZoneId,
    request_id: RequestId,
    at: Timestamp,
    /// Who asked for what, as the record of the decision itself names it.
    about: Value,
    manifest: Arc<Manifest>,
    input: Arc<RawValue>,
    /// What the active set said.
    said: Said,
}

/// What counts when two sets are compared: the decision, and which proof a deny asks for. `None` is a failure, which
/// refuses too, but is nobody's decision.
type Said = Option<(Decision, Option<ChallengeType>)>;

fn said(ruling: Option<&Ruling>) -> Said {
    ruling.map(|ruling| (ruling.decision, ruling.step_up))
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
            about: about(asked, resource),
            manifest: Arc::clone(manifest),
            input: Arc::clone(&said.input),
            said: self::said(said.ruling.as_ref().ok()),
        }
    }
}

/// Where questions for shadow sets are left.
#[derive(Clone)]
pub struct Shadow {
    queue: Arc<Queue<Shadowed>>,
    metrics: Metrics,
}

/// Who answers them: asks the engine, loads what was evicted, and notes the outcome.
pub struct Watcher {
    shadow: Shadow,
    engine: Arc<Engine>,
    zones: Arc<Zones>,
    recorder: Recorder,
    clock: Arc<dyn Clock>,
}

impl Shadow {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self {
            queue: Arc::default(),
            metrics,
        }
    }

    /// Leaves questions there; what finds no place is dropped.
    pub fn observe(&self, questions: Vec<Shadowed>) {
        for question in questions {
            if !self.queue.push(question.zone, question) {
                self.metrics.shadow_dropped();
            }
        }
    }
}

impl Watcher {
    /// With the parts of the service it shares.
    #[must_use]
    pub fn new(
        shadow: &Shadow,
        engine: &Arc<Engine>,
        zones: &Arc<Zones>,
        recorder: &Recorder,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            shadow: shadow.clone(),
            engine: Arc::clone(engine),
            zones: Arc::clone(zones),
            recorder: recorder.clone(),
            clock: Arc::clone(clock),
        }
    }

    /// Answers one question after the other for as long as the service lives.
    pub async fn watch(self) {
        loop {
            let question = self.shadow.queue.pop().await;
            // Whoever else wants this thread goes first.
            tokio::task::yield_now().await;
            match self.answer(&question).await {
                Some(event) => self.recorder.note(event),
                None => self.shadow.metrics.shadow_dropped(),
            }
        }
    }

    /// `None` when the set cannot be asked now: its policies cannot be had, or the zone's share is needed for decisions.
    async fn answer(&self, question: &Shadowed) -> Option<AuditEvent> {
        self.zones.load_modules(&question.manifest).await.ok()?;
        let allowance = Allowance {
            zone: question.zone,
            spent: Duration::ZERO,
        };
        let input = Arc::clone(&question.input);
        let evaluation = self.engine.decide(&question.manifest, input, allowance).await;
        let ruling = combine(&evaluation.verdicts);
        if ruling == Err(PolicyFault::Busy) {
            return None;
        }
        let policies: Vec<Value> = evaluation.verdicts.iter().map(verdict).collect();
        Some(self.outcome(question, ruling.ok(), &policies))
    }

    fn outcome(&self, question: &Shadowed, ruling: Option<Ruling>, policies: &[Value]) -> AuditEvent {
        let would = said(ruling.as_ref());
        let (decision, step_up) = would.unwrap_or((Decision::Deny, None));
        let mut metadata = json!({
            "version_id": question.manifest.version_id, "decision": decision, "differs": would != question.said,
            "step_up": step_up, "policies": policies,
        });
        if let (Some(metadata), Some(about)) = (metadata.as_object_mut(), question.about.as_object()) {
            metadata.extend(about.clone());
        }
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
