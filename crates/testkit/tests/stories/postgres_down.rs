//! A PostgreSQL that is stopped, or dies, under load: nothing is admitted without a record, nothing is lost that was on
//! record, and all of it comes back without a hand. Without PostgreSQL warm zones keep minting for the bound, then nothing is honoured that cannot be confirmed.

use crate::load::{Load, reconcile};
use caracal_testkit::stack::Service;
use caracal_testkit::{Cluster, Database, Stack, World, eventually};
use std::time::{Duration, Instant};

#[tokio::test]
async fn warm_mints_go_on_for_the_bound_and_recovery_needs_no_hand() {
    let bound = Duration::from_secs(2);
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    assert_eq!(
        world.mandate(&stack.sts(0), &session, "orders:read").await.status,
        200
    );

    stack.postgres().cut();
    let cut = Instant::now();
    let warm = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(warm.status, 200, "a warm mint asks no database: {}", warm.text);
    let signed_in = world.token(&stack.sts(0), &[]).await;
    assert_eq!(
        (signed_in.status, signed_in.member("error")),
        (503, "temporarily_unavailable"),
        "{}",
        signed_in.text
    );
    let write = stack
        .admin()
        .post("/v1/zones", &serde_json::json!({"name": "late"}))
        .await;
    assert_eq!(write.status, 503, "{}", write.text);

    let mut last_honoured = Duration::ZERO;
    eventually("an STS that stops minting", bound * 3, || async {
        let asked = world.mandate(&stack.sts(0), &session, "orders:read").await;
        assert!(matches!(asked.status, 200 | 503), "{}", asked.text);
        (asked.status == 503).then_some(())
    })
    .await;
    last_honoured = last_honoured.max(cut.elapsed());
    assert!(
        last_honoured < bound + Duration::from_secs(2),
        "honoured for {last_honoured:?}"
    );
    let call = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read")
        .get("/orders")
        .await;
    assert_eq!(call.status, 503, "{}", call.text);

    stack.postgres().restore();
    let restored = Instant::now();
    eventually("an STS that mints again", Duration::from_secs(20), || async {
        (world.mandate(&stack.sts(0), &session, "orders:read").await.status == 200).then_some(())
    })
    .await;
    eventually(
        "a gateway that forwards again",
        Duration::from_secs(20),
        || async {
            let agent = world
                .through(stack.gateway(0), &session)
                .with("X-Caracal-Scope", "orders:read");
            (agent.get("/orders").await.status == 200).then_some(())
        },
    )
    .await;
    println!(
        "minting ended {last_honoured:?} after PostgreSQL went, and was back {:?} after it returned",
        restored.elapsed()
    );
    stack.ready(Service::Api, 0).await;
}

#[tokio::test]
async fn with_neither_store_nothing_is_minted() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    assert_eq!(
        world.mandate(&stack.sts(0), &session, "orders:read").await.status,
        200
    );
    stack.postgres().cut();
    stack.nats().kill9();
    let asked = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(
        (asked.status, asked.member("error")),
        (503, "temporarily_unavailable"),
        "no record, no mandate: {}",
        asked.text
    );
    stack.nats().restart().await;
    stack.postgres().restore();
    eventually("an STS that mints again", Duration::from_secs(20), || async {
        (world.mandate(&stack.sts(0), &session, "orders:read").await.status == 200).then_some(())
    })
    .await;
}

/// The server itself goes, by `go`, while calls flow, and comes back.
async fn survives(go: fn(&Cluster)) {
    let cluster = Cluster::start().await;
    let database = Database::on(cluster.superuser_url()).await;
    let stack = Stack::builder().on(database).start().await;
    let world = World::new(&stack).await;
    let load = Load::start(&stack, &world, 1).await;
    load.flow(Duration::from_millis(700)).await;
    go(&cluster);
    load.flow(Duration::from_millis(3500)).await;
    cluster.restart().await;
    eventually("calls that pass again", Duration::from_secs(30), || async {
        let session = world.token(&stack.sts(0), &[]).await;
        let agent = world
            .through(stack.gateway(0), session.member("access_token"))
            .with("X-Caracal-Scope", "orders:read");
        (agent.get("/orders").await.status == 200).then_some(())
    })
    .await;
    load.flow(Duration::from_millis(700)).await;
    let calls = load.stop().await;
    assert!(calls.iter().any(|call| call.status == 200) && calls.iter().any(|call| call.status == 503));
    reconcile(&stack, &world, &calls).await;
    stack.all_ready().await;
    drop(stack);
}

#[tokio::test]
async fn a_postgresql_that_is_stopped_under_load_costs_no_record() {
    survives(Cluster::stop).await;
}

#[tokio::test]
async fn a_postgresql_that_dies_under_load_costs_no_record() {
    survives(Cluster::kill9).await;
}

#[tokio::test]
async fn a_bound_of_a_minute_rides_out_a_failover() {
    let minute = ("FEED_MAX_LAG_MS", "60000");
    let stack = Stack::builder()
        .env(Service::Sts, minute.0, minute.1)
        .env(Service::Gateway, minute.0, minute.1)
        .start()
        .await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    assert_eq!(agent.get("/orders").await.status, 200);
    stack.postgres().cut();
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_secs(6) {
        let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
        assert_eq!(minted.status, 200, "{:?}: {}", cut.elapsed(), minted.text);
        assert_eq!(agent.get("/orders").await.status, 200, "{:?}", cut.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stack.postgres().restore();
    eventually("new sessions", Duration::from_secs(10), || async {
        (world.token(&stack.sts(0), &[]).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_postgresql_a_cold_zone_is_refused_at_once() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    stack.restart(Service::Sts, 0).await;
    stack.postgres().cut();
    for _ in 0..3 {
        let cold = world.mandate(&stack.sts(0), &session, "orders:read").await;
        assert_eq!(
            (cold.status, cold.member("error")),
            (503, "temporarily_unavailable"),
            "{}",
            cold.text
        );
        assert!(cold.took < Duration::from_millis(2_500), "{:?}", cold.took);
    }
    stack.postgres().restore();
    eventually("a mint", Duration::from_secs(20), || async {
        (world.mandate(&stack.sts(0), &session, "orders:read").await.status == 200).then_some(())
    })
    .await;
}
