//! Refusals before authentication belong to no tenant: they go to the system zone's ledger, only so many of them, the
//! rest as a count (architecture, "No record, no mandate"; contract §6).

use crate::Recorder;
use caracal_domain::event::shortened;
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::quota::StrangersQuota;
use caracal_domain::{AuditDecision, AuditEvent, Clock, EventType, RequestId};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What the event is called that counts the others.
const SUMMARY: &str = "strangers_suppressed";

/// How a service speaks of its strangers.
#[derive(Debug, Clone)]
pub struct StrangersConfig {
    /// Who counted, as the summary says it.
    pub service: &'static str,
    /// What strangers ask this service for.
    pub event_type: EventType,
    /// How often the count of what was not written is written.
    pub summary_every: Duration,
}

/// See the module. The lock is held for two hash-map operations, never across an await.
pub struct Strangers {
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    config: StrangersConfig,
    system_zone: OnceLock<ZoneId>,
    quota: Mutex<StrangersQuota>,
    suppressed: AtomicU64,
}

impl Strangers {
    /// Keeps what strangers do with this recorder, once the system zone is known.
    #[must_use]
    pub fn new(recorder: Recorder, clock: Arc<dyn Clock>, config: StrangersConfig) -> Self {
        Self {
            recorder,
            clock,
            config,
            system_zone: OnceLock::new(),
            quota: Mutex::default(),
            suppressed: AtomicU64::new(0),
        }
    }

    /// From now on their events have a ledger.
    pub fn settle(&self, system_zone: ZoneId) {
        // It is found once and never changes.
        let _ = self.system_zone.set(system_zone);
    }

    /// Notes a refused call of a stranger, or counts it.
    pub fn note(&self, source: IpAddr, request_id: &RequestId, reason: &str, metadata: Value) {
        match self.system_zone.get() {
            Some(zone) if self.admits(source) => {
                let metadata = shortened(metadata);
                self.recorder
                    .note(self.event(*zone, request_id.clone(), reason, metadata));
            }
            _ => {
                self.suppressed.fetch_add(1, Ordering::Relaxed);
                self.recorder.stats().strangers_suppressed.increment();
            }
        }
    }

    /// Writes the count of what was not noted, again and again, for as long as the service lives.
    pub async fn summarise_for_ever(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.config.summary_every).await;
            self.summarise();
        }
    }

    /// Writes the count of what was not noted since the last time, if there is any.
    pub fn summarise(&self) {
        let Some(zone) = self.system_zone.get() else {
            return;
        };
        let suppressed = self.suppressed.swap(0, Ordering::Relaxed);
        if suppressed > 0 {
            let request_id = RequestId::accept_or_mint(None, &*self.clock);
            let metadata = json!({"suppressed": suppressed, "service": self.config.service});
            self.recorder
                .note(self.event(*zone, request_id, SUMMARY, metadata));
        }
    }

    fn admits(&self, source: IpAddr) -> bool {
        self.quota.lock().admits(source, self.clock.now())
    }

    fn event(&self, zone: ZoneId, request_id: RequestId, reason: &str, metadata: Value) -> AuditEvent {
        let (id, event_type) = (EventId::mint(&*self.clock), self.config.event_type.clone());
        let (decision, now) = (AuditDecision::Deny, self.clock.now());
        AuditEvent::new(id, zone, event_type, request_id, decision, metadata, now).because(reason)
    }
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strangers")
            .field("config", &self.config)
            .field("suppressed", &self.suppressed)
            .finish_non_exhaustive()
    }
}
