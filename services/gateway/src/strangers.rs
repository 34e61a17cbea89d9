//! Refusals before authentication belong to no tenant: they go to the system zone's ledger, only so many of them, the
//! rest as a count once a minute (architecture, "No record, no mandate").

use caracal_bus::Recorder;
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::quota::Quota;
use caracal_domain::{AuditDecision, AuditEvent, Clock, EventType, RequestId};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const A_SECOND_EACH: u32 = 10;
const A_SECOND_IN_ALL: u32 = 100;
const SUMMARY_EVERY: Duration = Duration::from_mins(1);

/// See the module.
pub struct Strangers {
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    system_zone: OnceLock<ZoneId>,
    each: Mutex<Quota<IpAddr>>,
    all: Mutex<Quota<()>>,
    suppressed: AtomicU64,
    suppressed_in_all: AtomicU64,
}

impl Strangers {
    /// Keeps what strangers do with this recorder, once the system zone is known.
    #[must_use]
    pub fn new(recorder: Recorder, clock: Arc<dyn Clock>) -> Self {
        Self {
            recorder,
            clock,
            system_zone: OnceLock::new(),
            each: Mutex::default(),
            all: Mutex::default(),
            suppressed: AtomicU64::new(0),
            suppressed_in_all: AtomicU64::new(0),
        }
    }

    /// From now on their events have a ledger.
    pub fn settle(&self, system_zone: ZoneId) {
        // It is found once and never changes.
        let _ = self.system_zone.set(system_zone);
    }

    /// Whether their events have a ledger.
    #[must_use]
    pub fn are_settled(&self) -> bool {
        self.system_zone.get().is_some()
    }

    /// How many events were only counted.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed_in_all.load(Ordering::Relaxed)
    }

    /// Notes a refused call of a stranger, or counts it.
    pub fn note(&self, source: IpAddr, request_id: &RequestId, reason: &str, metadata: Value) {
        let now = self.clock.now();
        let admitted = self.each.lock().admit(source, A_SECOND_EACH, 1, now).is_ok()
            && self.all.lock().admit((), A_SECOND_IN_ALL, 1, now).is_ok();
        match self.system_zone.get() {
            Some(zone) if admitted => {
                self.recorder
                    .note(self.event(*zone, request_id.clone(), reason, metadata));
            }
            _ => {
                self.suppressed.fetch_add(1, Ordering::Relaxed);
                self.suppressed_in_all.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes the count of what was not noted, once a minute, for as long as the service lives.
    pub async fn summarise(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SUMMARY_EVERY).await;
            let Some(zone) = self.system_zone.get() else {
                continue;
            };
            let suppressed = self.suppressed.swap(0, Ordering::Relaxed);
            if suppressed > 0 {
                let request_id = RequestId::accept_or_mint(None, &*self.clock);
                let metadata = json!({"suppressed": suppressed, "service": "gateway"});
                self.recorder
                    .note(self.event(*zone, request_id, "strangers_suppressed", metadata));
            }
        }
    }

    fn event(&self, zone: ZoneId, request_id: RequestId, reason: &str, metadata: Value) -> AuditEvent {
        let (id, now) = (EventId::mint(&*self.clock), self.clock.now());
        AuditEvent::new(
            id,
            zone,
            EventType::GatewayRequest,
            request_id,
            AuditDecision::Deny,
            metadata,
            now,
        )
        .because(reason)
    }
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strangers")
            .field("suppressed", &self.suppressed())
            .finish_non_exhaustive()
    }
}
