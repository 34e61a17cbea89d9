use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::Epoch;
use caracal_domain::anchor::{Anchor, AnchorKind};
use caracal_storage::{anchors, outbox, snapshot, zones};
use chrono::Duration;
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use std::collections::HashMap;
use std::time::Instant;

#[derive(QueryableByName)]
struct Committed {
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = BigInt)]
    previous: i64,
}

/// Each writer draws an epoch last and then commits; a sequence drawn while the row lock is still held shows the order
/// of the commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn epoch_order_is_commit_order_under_concurrent_writers() {
    let scratch = Scratch::new().await;
    let owner = &mut scratch.owner().await;
    let zone = fixture::zone(owner, "a").await;
    sql_query("CREATE TABLE log (epoch bigint, previous bigint, place bigserial)")
        .execute(owner)
        .await
        .unwrap();
    let writers: Vec<_> = (0..12)
        .map(|_| {
            let database = scratch.database.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    let mut tx = database.begin().await.unwrap();
                    let bump = zones::bump_epoch(&tx, zone).await.unwrap();
                    sql_query("INSERT INTO log (epoch, previous) VALUES ($1, $2)")
                        .bind::<BigInt, _>(bump.epoch.get())
                        .bind::<BigInt, _>(bump.previous.get())
                        .execute(&mut *tx)
                        .await
                        .unwrap();
                    tx.commit().await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let log: Vec<Committed> = sql_query("SELECT epoch, previous FROM log ORDER BY place")
        .load(owner)
        .await
        .unwrap();
    assert_eq!(log.len(), 120);
    for pair in log.windows(2) {
        let [before, after] = pair else {
            panic!("windows of two")
        };
        assert!(before.epoch < after.epoch);
        assert_eq!(
            after.previous, before.epoch,
            "each stands exactly on the one before"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_poll_misses_no_change_that_commits_late() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let (early, late) = (
        fixture::zone(conn, "early").await,
        fixture::zone(conn, "late").await,
    );
    let all = snapshot::epochs_since(conn, None).await.unwrap();
    assert_eq!(all.zones.len(), 2);

    // The late writer draws its epoch and its transaction id first, and commits after the poll has looked.
    let mut slow = scratch.database.begin().await.unwrap();
    let slow_epoch = zones::bump_epoch(&slow, late).await.unwrap().epoch;
    let anchor = Anchor {
        kind: AnchorKind::Sid,
        value: "s".into(),
        epoch: slow_epoch,
        expires_at: fixture::now() + Duration::hours(1),
    };
    anchors::insert(&mut slow, late, &anchor).await.unwrap();
    let quick_epoch = zones::bump_epoch(conn, early).await.unwrap().epoch;
    assert!(slow_epoch < quick_epoch, "drawn earlier, committed later");

    let first = snapshot::epochs_since(conn, Some(&all.horizon)).await.unwrap();
    let seen: HashMap<_, Epoch> = first
        .zones
        .iter()
        .map(|(zone, epoch, _)| (*zone, *epoch))
        .collect();
    assert_eq!(seen.get(&early), Some(&quick_epoch));
    assert_ne!(seen.get(&late), Some(&slow_epoch));
    let no_anchor = anchors::changed_since(conn, &all.horizon).await.unwrap();
    assert_eq!(no_anchor.anchors, []);

    slow.commit().await.unwrap();
    let second = snapshot::epochs_since(conn, Some(&first.horizon)).await.unwrap();
    assert!(second.zones.contains(&(late, slow_epoch, false)));
    let anchors = anchors::changed_since(conn, &no_anchor.horizon).await.unwrap();
    assert_eq!(anchors.anchors, [(late, anchor)]);

    // What has been seen is not seen for ever; how soon depends on the oldest transaction in the whole cluster.
    let (mut last, deadline) = (second, Instant::now() + std::time::Duration::from_secs(20));
    while !last.zones.is_empty() {
        assert!(Instant::now() < deadline, "{last:?}");
        last = snapshot::epochs_since(conn, Some(&last.horizon)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_zone_has_no_epoch_and_the_poll_says_so() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    assert!(zones::epoch(conn, zone).await.unwrap().is_some());
    assert_eq!(zones::epochs(conn, &[zone]).await.unwrap().len(), 1);
    let horizon = snapshot::horizon(conn).await.unwrap();
    zones::archive(conn, zone).await.unwrap();
    zones::bump_epoch(conn, zone).await.unwrap();
    assert_eq!(zones::epoch(conn, zone).await.unwrap(), None);
    assert!(zones::epochs(conn, &[zone]).await.unwrap().is_empty());
    let changes = snapshot::epochs_since(conn, Some(&horizon)).await.unwrap();
    assert!(
        changes
            .zones
            .iter()
            .any(|(id, _, archived)| *id == zone && *archived)
    );
    assert!(snapshot::load(conn, zone).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_anchors_with_one_name_the_later_bounds_hold() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let (soon, later) = (
        fixture::now() + Duration::minutes(1),
        fixture::now() + Duration::hours(1),
    );
    let anchor = |epoch: i64, expires_at| Anchor {
        kind: AnchorKind::Subject,
        value: "user@example.com".into(),
        epoch: epoch.into(),
        expires_at,
    };
    anchors::insert(conn, zone, &anchor(5, later)).await.unwrap();
    anchors::insert(conn, zone, &anchor(9, soon)).await.unwrap();
    let expired = Anchor {
        value: "gone".into(),
        ..anchor(9, fixture::now() - Duration::seconds(1))
    };
    anchors::insert(conn, zone, &expired).await.unwrap();
    assert_eq!(anchors::live(conn, zone).await.unwrap(), [anchor(9, later)]);
    let epoch = zones::epoch(conn, zone).await.unwrap().unwrap();
    assert_eq!(
        anchors::live_all(conn).await.unwrap(),
        [(zone, epoch, anchor(9, later))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_leaves_no_lock_and_no_change() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let before = zones::epoch(conn, zone).await.unwrap();
    let tx = scratch.database.begin().await.unwrap();
    zones::bump_epoch(&tx, zone).await.unwrap();
    outbox::append(&tx, &fixture::feed_event(zone, 1.into()), b"x", None)
        .await
        .unwrap();
    drop(tx);
    assert_eq!(zones::epoch(conn, zone).await.unwrap(), before);
    tokio::time::timeout(std::time::Duration::from_secs(1), zones::bump_epoch(conn, zone))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(outbox::unpublished(conn).await.unwrap(), 0);
    let tx = scratch.database.begin().await.unwrap();
    zones::bump_epoch(&tx, zone).await.unwrap();
    tx.rollback().await.unwrap();
    zones::bump_epoch(conn, zone).await.unwrap();
}
