use crate::bench::{Bench, Wall, change, connect};
use caracal_domain::Clock as _;
use caracal_storage::{database_time, outbox};
use caracal_wire::{HEARTBEAT_SUBJECT, decode_heartbeat};
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test]
async fn no_heartbeat_passes_over_a_row_another_relay_holds() {
    let bench = Bench::new().await;
    let (relay, other) = (bench.relay().await, bench.bus().await);
    let id = bench.change().await;
    let mut conn = bench.writer_of_relay().await;
    let row = outbox::claim(&mut conn, "other", 10, Duration::from_secs(30))
        .await
        .unwrap()
        .remove(0);

    let beating = relay.clone();
    let beat = tokio::spawn(async move { beating.beat().await.map(drop).map_err(|error| error.to_string()) });
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(
        bench.feed().await.is_empty(),
        "the row is not published, so nothing is promised"
    );

    other
        .publish(&row.subject, &id.to_string(), row.payload, None)
        .await
        .unwrap();
    outbox::mark_published(&mut conn, &[id]).await.unwrap();
    beat.await.unwrap().unwrap();
    let subjects: Vec<String> = bench
        .feed()
        .await
        .into_iter()
        .map(|(subject, ..)| subject)
        .collect();
    assert_eq!(subjects, ["caracal.zones.invalidate", HEARTBEAT_SUBJECT]);
}

#[tokio::test]
async fn a_row_that_stays_unpublished_costs_the_heartbeat() {
    let bench = Bench::new().await;
    let relay = bench.relay().await;
    bench.change().await;
    assert_eq!(
        relay.beat().await.unwrap_err().to_string(),
        "a committed row is still not published"
    );
    assert!(bench.feed().await.is_empty());
}

#[tokio::test]
async fn a_change_that_is_not_committed_yet_holds_up_no_heartbeat() {
    let bench = Bench::new().await;
    let relay = bench.relay().await;
    let (event, open) = (change(), bench.writer.begin().await.unwrap());
    outbox::append(&open, &event, &caracal_wire::encode_feed(&event), None)
        .await
        .unwrap();
    let promised = tokio::time::timeout(Duration::from_secs(2), relay.beat())
        .await
        .unwrap()
        .unwrap();
    open.commit().await.unwrap();
    assert!(promised <= Wall.now());
}

/// Two relays drain and beat while four writers commit: no heartbeat may promise a time by which a change had
/// committed that stands later in the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_committed_by_a_heartbeats_time_stands_before_it() {
    let bench = Bench::new().await;
    for relay in [bench.running_relay().await, bench.running_relay().await] {
        tokio::spawn(async move {
            loop {
                let _ = relay.beat().await;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        });
    }
    let writers = (0..4).map(|_| {
        let database = connect(&bench.database.url_for("api", None));
        async move {
            let mut committed = Vec::new();
            for _ in 0..60 {
                let event = change();
                let transaction = database.begin().await.unwrap();
                outbox::append(&transaction, &event, &caracal_wire::encode_feed(&event), None)
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
                transaction.commit().await.unwrap();
                let by = database_time(&mut database.acquire().await.unwrap())
                    .await
                    .unwrap();
                committed.push((event.id.to_string(), by));
            }
            committed
        }
    });
    let committed = futures::future::join_all(writers).await.into_iter().flatten();
    let committed: BTreeMap<_, _> = committed.collect();
    bench.all_published().await;
    tokio::time::sleep(Duration::from_millis(100)).await;

    let (mut seen, mut beats) = (BTreeMap::new(), Vec::new());
    for (place, (subject, id, payload)) in bench.feed().await.into_iter().enumerate() {
        if subject == HEARTBEAT_SUBJECT {
            beats.push((place, decode_heartbeat(&payload).unwrap().database_time));
        } else {
            seen.entry(id).or_insert(place);
        }
    }
    assert_eq!((seen.len(), committed.len()), (240, 240));
    assert!(beats.len() > 20, "{} heartbeats prove little", beats.len());
    for (beat, promised) in &beats {
        for (id, by) in committed.iter().filter(|(_, by)| *by <= promised) {
            assert!(
                seen[id] < *beat,
                "{id} was committed by {by}, but stands after the heartbeat of {promised}"
            );
        }
    }
}
