//! What strangers do is kept, but they cannot flood the ledger.

use crate::nats::{Nats, eventually};
use caracal_bus::{BoxError, Bus, Recorder, Spool, Strangers, StrangersConfig};
use caracal_domain::clock::{Clock, Timestamp};
use caracal_domain::id::ZoneId;
use caracal_domain::{AuditEvent, EventType, RequestId};
use caracal_wire::{AUDIT_SUBJECT, decode_audit};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// A clock that stands until it is told to go on.
#[derive(Debug)]
struct Stopped(Mutex<Timestamp>);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

struct Nowhere;

impl Spool for Nowhere {
    fn append<'a>(
        &'a self,
        _: &'a AuditEvent,
        _: Vec<u8>,
        _: Option<String>,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async { Err("there is no spool here".into()) })
    }
}

struct Place {
    strangers: Arc<Strangers>,
    clock: Arc<Stopped>,
    zone: ZoneId,
    bus: Bus,
    // Dropped last.
    _nats: Nats,
}

impl Place {
    async fn new() -> Self {
        let nats = Nats::start();
        let bus = nats.bus().await;
        let (recorder, notes) = Recorder::new(bus.clone(), Arc::new(Nowhere));
        tokio::spawn(notes);
        let start = chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let clock = Arc::new(Stopped(Mutex::new(start)));
        let config = StrangersConfig {
            service: "test",
            event_type: EventType::TokenExchange,
            summary_every: Duration::from_millis(50),
        };
        let zone = ZoneId::mint(&*clock);
        let strangers = Strangers::new(recorder, Arc::<Stopped>::clone(&clock), config);
        Self {
            strangers: Arc::new(strangers),
            clock,
            zone,
            bus,
            _nats: nats,
        }
    }

    fn come(&self, source: [u8; 4], times: usize) {
        for _ in 0..times {
            let id = RequestId::accept_or_mint(None, &*self.clock);
            let source = IpAddr::V4(Ipv4Addr::from(source));
            self.strangers
                .note(source, &id, "invalid_client", json!({"source": source}));
        }
    }

    fn suppressed(&self) -> u64 {
        self.bus.stats().strangers_suppressed.get()
    }

    async fn written(&self, count: u64) -> Vec<AuditEvent> {
        eventually("the events", || self.bus.stats().published.get() >= count).await;
        let mut events = Vec::new();
        for sequence in 1..=count {
            let stored = self
                .bus
                .raw_message(caracal_bus::AUDIT_STREAM, sequence)
                .await
                .unwrap();
            assert_eq!(stored.subject, AUDIT_SUBJECT);
            events.push(decode_audit(&stored.payload.unwrap()).unwrap());
        }
        events
    }
}

#[tokio::test]
async fn one_source_is_written_ten_times_a_second_and_all_together_a_hundred_times() {
    let place = Place::new().await;
    place.strangers.settle(place.zone);
    place.come([10, 0, 0, 1], 15);
    assert_eq!(place.suppressed(), 5);
    for last in 2..=12 {
        place.come([10, 0, 0, last], 9);
    }
    // 10 and then 90 of 99.
    assert_eq!(place.suppressed(), 5 + 9);
    *place.clock.0.lock() += chrono::TimeDelta::seconds(1);
    place.come([10, 0, 0, 1], 10);
    assert_eq!(place.suppressed(), 14, "a second later they may come again");
    let events = place.written(110).await;
    assert!(events.iter().all(|event| event.zone_id == place.zone
        && event.event_type == EventType::TokenExchange
        && event.reason.as_deref() == Some("invalid_client")));
}

#[tokio::test]
async fn what_was_not_written_is_counted_in_one_event() {
    let place = Place::new().await;
    place.come([10, 0, 0, 1], 3);
    place.strangers.summarise();
    place.strangers.settle(place.zone);
    let summing = tokio::spawn(Arc::clone(&place.strangers).summarise_for_ever());
    let events = place.written(1).await;
    let summary = events.first().unwrap();
    assert_eq!(
        (summary.zone_id, summary.reason.as_deref()),
        (place.zone, Some("strangers_suppressed")),
        "what came before the zone was known is counted too"
    );
    assert_eq!(summary.metadata_json, json!({"suppressed": 3, "service": "test"}));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(place.bus.stats().published.get(), 1, "nothing more to count");
    place.come([10, 0, 0, 1], 12);
    let events = place.written(12).await;
    assert_eq!(events.last().unwrap().metadata_json["suppressed"], 2);
    summing.abort();
}
