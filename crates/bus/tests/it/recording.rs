use crate::nats::{Nats, Wall, decision, eventually};
use caracal_bus::{AUDIT_STREAM, BoxError, NoRecord, Recorded, Recorder, Spool, Use};
use caracal_domain::AuditEvent;
use caracal_domain::id::TokenId;
use futures::future::BoxFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Shelf {
    events: Mutex<Vec<AuditEvent>>,
    full: AtomicBool,
}

impl Spool for Shelf {
    fn append<'a>(
        &'a self,
        event: &'a AuditEvent,
        payload: Vec<u8>,
        _: Option<String>,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            if self.full.load(Ordering::SeqCst) {
                return Err("full".into());
            }
            assert_eq!(&caracal_wire::decode_audit(&payload)?, event);
            self.events.lock().unwrap().push(event.clone());
            Ok(())
        })
    }
}

async fn recorder(nats: &Nats) -> (Recorder, Arc<Shelf>, caracal_bus::Bus) {
    let (bus, shelf) = (nats.bus().await, Arc::new(Shelf::default()));
    let (recorder, notes) = Recorder::new(bus.clone(), shelf.clone());
    tokio::spawn(notes);
    (recorder, shelf, bus)
}

#[tokio::test]
async fn a_decision_is_stored_before_record_answers() {
    let nats = Nats::start();
    let (recorder, shelf, bus) = recorder(&nats).await;
    let event = decision();
    assert_eq!(recorder.record(&event).await, Ok(Recorded::Published));
    let stored = bus.raw_message(AUDIT_STREAM, 1).await.unwrap();
    assert_eq!(
        caracal_wire::decode_audit(&stored.payload.unwrap()).unwrap(),
        event
    );
    assert!(shelf.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_own_retry_is_a_first_use_and_any_other_event_a_replay() {
    let nats = Nats::start();
    let (recorder, _, bus) = recorder(&nats).await;
    let (mine, another, jti) = (decision(), decision(), TokenId::mint(&Wall));
    assert_eq!(recorder.record_use(&mine, jti).await, Ok(Use::First));
    assert_eq!(
        recorder.record_use(&mine, jti).await,
        Ok(Use::First),
        "the same event again is an own retry"
    );
    assert_eq!(recorder.record_use(&another, jti).await, Ok(Use::Replay));
    assert_eq!(
        recorder.record_use(&another, TokenId::mint(&Wall)).await,
        Ok(Use::First)
    );
    assert_eq!(bus.stats().replays.get(), 1);
}

#[tokio::test]
async fn of_many_replicas_presenting_one_mandate_exactly_one_is_first() {
    let nats = Nats::start();
    let (one, ..) = recorder(&nats).await;
    let (two, ..) = recorder(&nats).await;
    let jti = TokenId::mint(&Wall);
    let events: Vec<_> = (0..32).map(|_| decision()).collect();
    let calls = events.iter().enumerate().map(|(n, event)| {
        let recorder = if n % 2 == 0 { &one } else { &two };
        recorder.record_use(event, jti)
    });
    let uses = futures::future::join_all(calls).await;
    assert_eq!(
        uses.iter().filter(|outcome| **outcome == Ok(Use::First)).count(),
        1
    );
    assert_eq!(
        uses.iter().filter(|outcome| **outcome == Ok(Use::Replay)).count(),
        31
    );
}

#[tokio::test]
async fn a_server_that_hangs_costs_one_call_its_patience_and_the_others_nothing() {
    let nats = Nats::start();
    let (recorder, shelf, bus) = recorder(&nats).await;
    nats.signal("-STOP");
    let start = Instant::now();
    assert_eq!(recorder.record(&decision()).await, Ok(Recorded::Spooled));
    let first = start.elapsed();
    assert!(
        first >= Duration::from_millis(240) && first < Duration::from_millis(600),
        "{first:?}"
    );
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(recorder.record(&decision()).await, Ok(Recorded::Spooled));
    }
    assert!(
        start.elapsed() < Duration::from_millis(600),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        recorder.record_use(&decision(), TokenId::mint(&Wall)).await,
        Err(NoRecord),
        "a use is never spooled"
    );
    assert_eq!(bus.stats().spooled.get(), 101);
    nats.signal("-CONT");
    let recovered = Instant::now();
    while recorder.record(&decision()).await != Ok(Recorded::Published) {
        assert!(
            recovered.elapsed() < Duration::from_secs(10),
            "the breaker never closed"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(shelf.events.lock().unwrap().len() >= 101);
}

#[tokio::test]
async fn without_any_store_there_is_no_record() {
    let mut nats = Nats::start();
    let (recorder, shelf, bus) = recorder(&nats).await;
    nats.stop();
    shelf.full.store(true, Ordering::SeqCst);
    eventually("disconnection seen", || !bus.is_connected()).await;
    let start = Instant::now();
    assert_eq!(recorder.record(&decision()).await, Err(NoRecord));
    assert_eq!(
        recorder.record_use(&decision(), TokenId::mint(&Wall)).await,
        Err(NoRecord)
    );
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "a dead server is known to be dead"
    );
    assert_eq!(bus.stats().unrecorded.get(), 2);
}

#[tokio::test]
async fn refusals_are_recorded_without_waiting_and_spooled_when_nats_is_gone() {
    let mut nats = Nats::start();
    let (recorder, shelf, bus) = recorder(&nats).await;
    for _ in 0..500 {
        recorder.note(decision());
    }
    recorder.flush(Duration::from_secs(10)).await;
    assert_eq!(bus.stats().published.get(), 500);
    nats.stop();
    eventually("disconnection seen", || !bus.is_connected()).await;
    for _ in 0..50 {
        recorder.note(decision());
    }
    recorder.flush(Duration::from_secs(10)).await;
    assert_eq!(shelf.events.lock().unwrap().len(), 50);
    shelf.full.store(true, Ordering::SeqCst);
    recorder.note(decision());
    recorder.flush(Duration::from_secs(10)).await;
    assert_eq!(bus.stats().notes_dropped.get(), 1);
}

#[tokio::test]
async fn a_service_that_stops_loses_no_refusal() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    let (recorder, notes) = Recorder::new(bus.clone(), Arc::new(Shelf::default()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    for _ in 0..300 {
        recorder.note(decision());
    }
    stop.send(()).unwrap();
    recorder.run_until(notes, async { drop(stopped.await) }).await;
    assert_eq!(bus.stats().published.get(), 300);
}
