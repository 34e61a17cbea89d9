use crate::nats::{Nats, OTHER_KEY, Wall, eventually};
use caracal_bus::{BoxError, Bus, DatabaseClock, FEED_STREAM, Feed, FeedConfig, FeedHandle, FeedSink};
use caracal_domain::clock::Clock as _;
use caracal_domain::feed::Heartbeat;
use caracal_domain::id::OutboxId;
use caracal_domain::{FeedBody, FeedEvent, Staleness};
use caracal_wire::{HEARTBEAT_SUBJECT, encode_feed, encode_heartbeat};
use futures::future::BoxFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MAX_LAG: Duration = Duration::from_secs(2);

#[derive(Default)]
struct View {
    applied: Mutex<Vec<OutboxId>>,
    rebuilds: AtomicU64,
}

impl View {
    fn rebuilds(&self) -> u64 {
        self.rebuilds.load(Ordering::SeqCst)
    }

    fn applied(&self) -> Vec<OutboxId> {
        self.applied.lock().unwrap().clone()
    }
}

impl FeedSink for View {
    fn apply(&self, event: FeedEvent) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.applied.lock().unwrap().push(event.id) })
    }

    fn rebuild(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            self.rebuilds.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }
}

async fn follow(bus: &Bus) -> (FeedHandle, Arc<View>) {
    let view = Arc::new(View::default());
    let (handle, task) = Feed::follow(bus.clone(), view.clone(), FeedConfig { max_lag: MAX_LAG });
    tokio::spawn(task);
    handle.set_database_clock(DatabaseClock::measured(Wall.now(), Instant::now()));
    eventually("the first build", || view.rebuilds() == 1).await;
    (handle, view)
}

async fn beat(bus: &Bus) {
    let heartbeat = Heartbeat {
        database_time: Wall.now(),
    };
    let id = OutboxId::mint(&Wall).to_string();
    bus.publish(HEARTBEAT_SUBJECT, &id, encode_heartbeat(&heartbeat), None)
        .await
        .unwrap();
}

async fn change(bus: &Bus) -> OutboxId {
    let id = OutboxId::mint(&Wall);
    let zone_id = uuid::Uuid::from_u128(1).into();
    let event = FeedEvent {
        id,
        zone_id,
        epoch: 2.into(),
        previous_epoch: 1.into(),
        body: FeedBody::ZoneChanged,
    };
    bus.publish(event.body.subject(), &id.to_string(), encode_feed(&event), None)
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn a_heartbeat_makes_fresh_and_its_absence_behind_within_the_bound() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    let (handle, view) = follow(&bus).await;
    assert_eq!(handle.staleness(), Staleness::Behind, "no heartbeat yet");
    let (one, two) = (change(&bus).await, change(&bus).await);
    let beaten = Instant::now();
    beat(&bus).await;
    eventually("fresh", || handle.staleness() == Staleness::Fresh).await;
    assert_eq!(
        view.applied(),
        [one, two],
        "everything before the heartbeat is applied by then"
    );
    eventually("behind", || handle.staleness() == Staleness::Behind).await;
    let held = beaten.elapsed();
    assert!(
        held > Duration::from_millis(1900) && held < Duration::from_millis(2200),
        "{held:?}"
    );
    beat(&bus).await;
    eventually("fresh again", || handle.staleness() == Staleness::Fresh).await;
    assert_eq!(view.rebuilds(), 1);
}

#[tokio::test]
async fn what_was_published_before_the_start_is_left_to_the_first_build() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    change(&bus).await;
    beat(&bus).await;
    let (handle, view) = follow(&bus).await;
    let later = change(&bus).await;
    eventually("the later change", || view.applied() == [later]).await;
    assert_eq!(
        handle.staleness(),
        Staleness::Behind,
        "an old heartbeat does not count"
    );
}

#[tokio::test]
async fn a_message_with_a_bad_signature_costs_freshness_until_a_rebuild() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    let (handle, view) = follow(&bus).await;
    beat(&bus).await;
    eventually("fresh", || handle.staleness() == Staleness::Fresh).await;
    let stranger = nats.bus_with(OTHER_KEY).await;
    change(&stranger).await;
    beat(&stranger).await;
    eventually("behind", || handle.staleness() == Staleness::Behind).await;
    assert!(view.applied().is_empty(), "a stranger's change is not applied");
    beat(&bus).await;
    eventually("fresh after a rebuild", || handle.staleness() == Staleness::Fresh).await;
    assert_eq!(view.rebuilds(), 2);
    assert_eq!(bus.stats().untrusted.get(), 2);
}

#[tokio::test]
async fn a_gap_in_the_sequence_costs_freshness_until_a_rebuild() {
    let mut nats = Nats::start();
    let bus = nats.bus().await;
    let (handle, view) = follow(&bus).await;
    let seen = change(&bus).await;
    eventually("the change", || view.applied() == [seen]).await;
    // While the replica is away a change comes and is gone again, as if it had aged out.
    nats.stop();
    nats.start_elsewhere();
    let elsewhere = nats.bus().await;
    change(&elsewhere).await;
    nats.forget(FEED_STREAM, 2).await;
    let kept = change(&elsewhere).await;
    nats.stop();
    nats.start_again();
    eventually("the change after the gap", || view.applied() == [seen, kept]).await;
    assert_eq!((view.rebuilds(), handle.staleness()), (1, Staleness::Behind));
    beat(&bus).await;
    eventually("fresh", || handle.staleness() == Staleness::Fresh).await;
    assert_eq!((view.rebuilds(), bus.stats().feed_gaps.get()), (2, 1));
}

#[tokio::test]
async fn after_a_restart_of_nats_the_replica_resumes_where_it_was() {
    let mut nats = Nats::start();
    let bus = nats.bus().await;
    let (handle, view) = follow(&bus).await;
    let before = change(&bus).await;
    eventually("the change", || view.applied() == [before]).await;
    nats.stop();
    nats.start_again();
    let other = nats.bus().await;
    let after = change(&other).await;
    beat(&other).await;
    eventually("fresh", || handle.staleness() == Staleness::Fresh).await;
    assert_eq!(view.applied(), [before, after]);
    assert_eq!(view.rebuilds(), 1, "nothing was missed");
}

#[tokio::test]
async fn a_stream_lost_with_the_disk_is_followed_again_after_a_rebuild() {
    let mut nats = Nats::start();
    let bus = nats.bus().await;
    let (handle, view) = follow(&bus).await;
    for _ in 0..5 {
        change(&bus).await;
    }
    eventually("the changes", || view.applied().len() == 5).await;
    nats.stop();
    nats.lose_disk();
    nats.start_again();
    let other = nats.bus().await;
    let start = Instant::now();
    while handle.staleness() == Staleness::Behind {
        assert!(start.elapsed() < Duration::from_secs(20), "never fresh again");
        beat(&other).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(view.rebuilds() >= 2);
}

#[tokio::test]
async fn without_a_measured_clock_nothing_is_fresh() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    let view = Arc::new(View::default());
    let (handle, task) = Feed::follow(bus.clone(), view.clone(), FeedConfig { max_lag: MAX_LAG });
    tokio::spawn(task);
    eventually("the first build", || view.rebuilds() == 1).await;
    let heard = tokio::time::timeout(Duration::from_secs(10), handle.next_beat());
    let (heard, ()) = tokio::join!(heard, beat(&bus));
    heard.unwrap();
    assert_eq!((handle.staleness(), handle.lag()), (Staleness::Behind, None));
    handle.set_database_clock(DatabaseClock::measured(Wall.now(), Instant::now()));
    assert_eq!(handle.staleness(), Staleness::Fresh);
}
