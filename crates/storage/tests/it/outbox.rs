use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::id::OutboxId;
use caracal_storage::{outbox, spool};
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use futures::StreamExt;
use std::collections::HashSet;
use std::pin::pin;
use std::time::{Duration, Instant};

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_holders_never_hold_the_same_row() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    for _ in 0..200 {
        outbox::append(conn, &fixture::feed_event(zone, 1.into()), b"x", None)
            .await
            .unwrap();
    }
    let holders: Vec<_> = (0..6)
        .map(|holder| {
            let database = scratch.database.clone();
            tokio::spawn(async move {
                let mut conn = database.acquire().await.unwrap();
                let mut held: Vec<OutboxId> = Vec::new();
                loop {
                    let rows = outbox::claim(&mut conn, &format!("relay-{holder}"), 7, LEASE)
                        .await
                        .unwrap();
                    if rows.is_empty() {
                        return held;
                    }
                    held.extend(rows.iter().map(|row| row.id));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for holder in holders {
        all.extend(holder.await.unwrap());
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_or_was_given_up_is_anybodys() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let event = fixture::feed_event(zone, 1.into());
    outbox::append(conn, &event, b"payload", Some("00-trace"))
        .await
        .unwrap();
    let claimed = outbox::claim(conn, "dying", 10, Duration::from_millis(50))
        .await
        .unwrap();
    let [row] = claimed.as_slice() else {
        panic!("one row, not {claimed:?}")
    };
    assert_eq!(
        (row.id, row.payload.as_slice()),
        (event.id, b"payload".as_slice())
    );
    assert_eq!(row.traceparent.as_deref(), Some("00-trace"));
    assert!(outbox::claim(conn, "other", 10, LEASE).await.unwrap().is_empty());
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(outbox::claim(conn, "other", 10, LEASE).await.unwrap().len(), 1);
    outbox::release(conn, "other").await.unwrap();
    assert_eq!(outbox::claim(conn, "third", 10, LEASE).await.unwrap().len(), 1);
    outbox::mark_published(conn, &[event.id]).await.unwrap();
    assert!(outbox::claim(conn, "fourth", 10, LEASE).await.unwrap().is_empty());
    assert_eq!(outbox::unpublished(conn).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_waits_for_what_was_visible_and_for_nothing_later() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let first = fixture::feed_event(zone, 1.into());
    outbox::append(conn, &first, b"x", None).await.unwrap();
    let open = scratch.database.begin().await.unwrap();
    outbox::append(&open, &fixture::feed_event(zone, 2.into()), b"x", None)
        .await
        .unwrap();

    let (time, seen) = outbox::now_and_snapshot(conn).await.unwrap();
    assert!(time <= caracal_storage::database_time(conn).await.unwrap());
    assert!(
        outbox::pending_in(conn, &seen).await.unwrap(),
        "committed before and unpublished"
    );
    outbox::claim(conn, "somebody else", 1, LEASE).await.unwrap();
    assert!(
        outbox::pending_in(conn, &seen).await.unwrap(),
        "held by another, still unpublished"
    );

    open.commit().await.unwrap();
    outbox::append(conn, &fixture::feed_event(zone, 3.into()), b"x", None)
        .await
        .unwrap();
    outbox::mark_published(conn, &[first.id]).await.unwrap();
    assert!(
        !outbox::pending_in(conn, &seen).await.unwrap(),
        "the other two committed after the snapshot"
    );
    let (_, later) = outbox::now_and_snapshot(conn).await.unwrap();
    assert!(outbox::pending_in(conn, &later).await.unwrap());
}

/// The promise itself: a commit that was answered before the relay's `T` is always in the relay's snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_committed_by_the_heartbeats_time_is_in_its_snapshot() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let writing = (0..3).map(|_| {
        let database = scratch.database.clone();
        tokio::spawn(async move {
            let mut conn = database.acquire().await.unwrap();
            let mut answered = Vec::new();
            for _ in 0..150 {
                let event = fixture::feed_event(zone, 1.into());
                outbox::append(&conn, &event, b"x", None).await.unwrap();
                answered.push((event.id, caracal_storage::database_time(&mut conn).await.unwrap()));
            }
            answered
        })
    });
    let writing: Vec<_> = writing.collect();
    let mut looks = Vec::new();
    while !writing.iter().all(tokio::task::JoinHandle::is_finished) {
        looks.push(outbox::now_and_snapshot(conn).await.unwrap());
    }
    let mut answered = Vec::new();
    for writer in writing {
        answered.extend(writer.await.unwrap());
    }
    for (time, snapshot) in looks.iter().step_by(1 + looks.len() / 40) {
        let promised: Vec<OutboxId> = answered
            .iter()
            .filter(|(_, at)| at <= time)
            .map(|(id, _)| *id)
            .collect();
        let others: Vec<OutboxId> = answered
            .iter()
            .filter(|(_, at)| at > time)
            .map(|(id, _)| *id)
            .collect();
        // With everything but the promised rows out of the way, an unpublished promised row must show as pending.
        sql_query("UPDATE outbox SET published_at = now()")
            .execute(conn)
            .await
            .unwrap();
        for id in promised.iter().rev().take(5) {
            sql_query("UPDATE outbox SET published_at = NULL WHERE id = $1")
                .bind::<diesel::sql_types::Uuid, _>(*id.as_uuid())
                .execute(conn)
                .await
                .unwrap();
            assert!(outbox::pending_in(conn, snapshot).await.unwrap());
            outbox::mark_published(conn, &[*id]).await.unwrap();
        }
        assert_eq!(promised.len() + others.len(), answered.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_wakes_on_connection_and_on_every_commit_to_outbox_or_spool() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let mut wakes = pin!(outbox::listen(&scratch.url));
    let soon = Duration::from_secs(5);
    tokio::time::timeout(soon, wakes.next()).await.unwrap().unwrap();
    outbox::append(conn, &fixture::feed_event(zone, 1.into()), b"x", None)
        .await
        .unwrap();
    tokio::time::timeout(soon, wakes.next()).await.unwrap().unwrap();
    spool::append(
        conn,
        zone,
        fixture::event_id(),
        "caracal.audit.events",
        b"x",
        None,
    )
    .await
    .unwrap();
    tokio::time::timeout(soon, wakes.next()).await.unwrap().unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), wakes.next())
            .await
            .is_err(),
        "silence otherwise"
    );
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'caracal-listen' AND datname = current_database()";
    sql_query(kill).execute(conn).await.unwrap();
    tokio::time::timeout(soon, wakes.next()).await.unwrap().unwrap();
    outbox::append(conn, &fixture::feed_event(zone, 1.into()), b"x", None)
        .await
        .unwrap();
    let before = Instant::now();
    tokio::time::timeout(soon, wakes.next()).await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_keeps_an_event_once_until_it_is_deleted() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let id = fixture::event_id();
    for _ in 0..2 {
        spool::append(conn, zone, id, "caracal.audit.events", b"event", None)
            .await
            .unwrap();
    }
    let rows = spool::claim(conn, "relay", 10, LEASE).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
    assert!(spool::claim(conn, "other", 10, LEASE).await.unwrap().is_empty());
    assert_eq!(spool::waiting(conn).await.unwrap(), 1);
    spool::delete(conn, &[id]).await.unwrap();
    assert_eq!(spool::waiting(conn).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_drops_old_published_days_and_keeps_what_is_pending() {
    let scratch = Scratch::new().await;
    let owner = &mut scratch.owner().await;
    let zone = fixture::zone(owner, "a").await;
    let old_day = |days: i32| {
        format!(
            "DO $$ BEGIN PERFORM caracal_add_partition('outbox', to_char(now() - interval '{days} days', 'YYYYMMDD'),
             date_trunc('day', now() - interval '{days} days'), date_trunc('day', now() - interval '{days} days') + interval '1 day'); END $$"
        )
    };
    for (days, published) in [(9, "now()"), (8, "NULL")] {
        sql_query(old_day(days)).execute(owner).await.unwrap();
        let insert = format!(
            "INSERT INTO outbox (zone_id, created_at, id, subject, payload, published_at)
             VALUES ('{zone}', now() - interval '{days} days', gen_random_uuid(), 's', 'x', {published})"
        );
        sql_query(insert).execute(owner).await.unwrap();
    }
    outbox::maintain_partitions(owner).await.unwrap();
    let left: Count = sql_query("SELECT count(*) FROM outbox")
        .get_result(owner)
        .await
        .unwrap();
    assert_eq!(left.count, 1);
    assert_eq!(outbox::unpublished(owner).await.unwrap(), 1);
    assert_eq!(outbox::claim(owner, "relay", 10, LEASE).await.unwrap().len(), 1);
}
