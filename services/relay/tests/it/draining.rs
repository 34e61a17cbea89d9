use crate::bench::{Bench, PATIENCE, Wall, change};
use caracal_bus::{AUDIT_STREAM, AUDIT_SUBJECT};
use caracal_domain::Clock as _;
use caracal_domain::id::EventId;
use caracal_relay::Moved;
use caracal_storage::{outbox, spool};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
async fn two_relays_publish_each_event_once() {
    let bench = Bench::new().await;
    let _relays = (bench.running_relay().await, bench.running_relay().await);
    let mut ids = BTreeSet::new();
    for _ in 0..300 {
        ids.insert(bench.change().await.to_string());
    }
    bench.all_published().await;
    let feed = bench.feed().await;
    assert_eq!(feed.len(), 300);
    assert_eq!(
        feed.into_iter().map(|(_, id, _)| id).collect::<BTreeSet<_>>(),
        ids
    );
}

#[tokio::test]
async fn a_restart_between_publish_and_mark_is_harmless() {
    let bench = Bench::new().await;
    let id = bench.change().await;
    let relay = bench.relay().await;
    // A relay that published and died before it could mark.
    let mut conn = bench.writer_of_relay().await;
    let lease = Duration::from_millis(200);
    let row = outbox::claim(&mut conn, "dead", 10, lease)
        .await
        .unwrap()
        .remove(0);
    let first = bench
        .bus()
        .await
        .publish(&row.subject, &id.to_string(), row.payload, None)
        .await
        .unwrap();
    assert!(!first.duplicate);

    assert_eq!(
        relay.drain_outbox().await.unwrap(),
        Moved::default(),
        "still leased to the dead"
    );
    tokio::time::sleep(lease).await;
    assert_eq!(
        relay.drain_outbox().await.unwrap(),
        Moved {
            claimed: 1,
            published: 1
        }
    );
    assert_eq!((bench.unpublished().await, bench.feed().await.len()), (0, 1));
}

#[tokio::test]
async fn while_nats_is_away_rows_wait_and_then_go() {
    let mut bench = Bench::new().await;
    let relay = bench.running_relay().await;
    bench.nats.kill9();
    for _ in 0..10 {
        bench.change().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.unpublished().await, 10);
    bench.nats.restart().await;
    bench.all_published().await;
    assert_eq!(bench.feed().await.len(), 10);
    drop(relay);
}

#[tokio::test]
async fn a_spooled_event_is_moved_to_its_stream_and_leaves_the_spool() {
    let bench = Bench::new().await;
    let relay = bench.relay().await;
    let (id, zone) = (EventId::mint(&Wall), change().zone_id);
    let conn = bench.writer.acquire().await.unwrap();
    for _ in 0..2 {
        spool::append(&conn, zone, id, AUDIT_SUBJECT, b"event", None)
            .await
            .unwrap();
    }
    assert_eq!(
        relay.drain_spool().await.unwrap(),
        Moved {
            claimed: 1,
            published: 1
        }
    );
    assert_eq!(bench.database.count("SELECT count(*) FROM event_spool").await, 0);
    let stored = bench.bus().await.raw_message(AUDIT_STREAM, 1).await.unwrap();
    assert_eq!(
        (stored.id, stored.payload.unwrap()),
        (id.to_string(), b"event".to_vec())
    );
}

#[tokio::test]
async fn a_commit_wakes_the_relay_at_once() {
    let bench = Bench::new().await;
    let relay = bench.relay().await;
    let wakes = outbox::listen(&bench.database.url_for("relay", None));
    let running = relay.clone();
    tokio::spawn(async move { running.run(wakes).await });
    bench.change().await;
    bench.all_published().await;
    let mut took = Vec::new();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let committed = Wall.now();
        bench.change().await;
        bench.all_published().await;
        took.push((Wall.now() - committed).to_std().unwrap());
    }
    took.sort();
    assert!(
        took[10] < Duration::from_millis(250),
        "the slow poll takes half a second on average: {took:?}"
    );
    assert!(took[19] < PATIENCE);
}
