//! A PostgreSQL that is still there and says nothing more: its connections stay open, so nothing tells that it is gone
//! but the time that passes. Nobody waits for it longer than its patience, and what needs none of it goes on for the
//! bound.

use caracal_testkit::stack::Service;
use caracal_testkit::{Answer, Cluster, Database, Stack, World, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(2);
/// What a query may take at the STS, with what a busy machine takes on top.
const PATIENCE: Duration = Duration::from_millis(3_500);

#[track_caller]
fn is_refused_in_time(answer: &Answer, what: &str) {
    let got = (answer.status, answer.member("error"));
    assert_eq!(got, (503, "temporarily_unavailable"), "{what}: {}", answer.text);
    assert!(answer.took < PATIENCE, "{what} took {:?}", answer.took);
}

#[tokio::test]
async fn a_postgresql_that_says_nothing_keeps_nobody_waiting() {
    let cluster = Cluster::start().await;
    let database = Database::on(cluster.superuser_url()).await;
    let stack = Stack::builder().on(database).start().await;
    let (world, cold) = (World::new(&stack).await, World::new(&stack).await);
    let session = world.session(&stack.sts(0)).await;
    let call = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    let warm = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!((warm.status, call.get("/orders").await.status), (200, 200));

    let frozen = cluster.freeze();
    let since = Instant::now();
    let minting = async {
        let (mut honoured, mut count) = (Duration::ZERO, 0);
        loop {
            let asked = world.mandate(&stack.sts(0), &session, "orders:read").await;
            if asked.status != 200 {
                is_refused_in_time(&asked, "a warm mint past the bound");
                return (honoured, count);
            }
            (honoured, count) = (since.elapsed(), count + 1);
            assert!(honoured < BOUND * 3, "it still mints after {honoured:?}");
            // Far from the thousand a minute that one application may mint.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let sts = stack.sts(0);
    let others = async { tokio::join!(world.token(&sts, &[]), cold.token(&sts, &[])) };
    let ((honoured, count), (signed_in, unknown)) = tokio::join!(minting, others);
    assert!(count > 10, "a warm mint asks no database: {count}");
    assert!(honoured < BOUND + Duration::from_secs(2), "{honoured:?}");
    is_refused_in_time(&signed_in, "a new session");
    is_refused_in_time(&unknown, "a cold zone");

    // What is under way at that moment waits; whoever comes a second later finds out before it asks.
    let written = stack.admin().post("/v1/zones", &json!({"name": "late"})).await;
    assert_eq!(written.status, 503, "{}", written.text);
    assert!(written.took < PATIENCE, "a write took {:?}", written.took);

    // As long as it lasts, and however many ask at once.
    let crowd = (0..40).map(|_| async {
        tokio::join!(
            world.mandate(&sts, &session, "orders:read"),
            world.token(&sts, &[]),
            cold.token(&sts, &[])
        )
    });
    for (minted, signed_in, unknown) in futures::future::join_all(crowd).await {
        is_refused_in_time(&minted, "a mint of many");
        is_refused_in_time(&signed_in, "a session of many");
        is_refused_in_time(&unknown, "a cold zone of many");
    }
    let called = call.get("/orders").await;
    is_refused_in_time(&called, "a call");

    drop(frozen);
    let back = Instant::now();
    eventually("an STS that mints again", Duration::from_secs(20), || async {
        (world.mandate(&sts, &session, "orders:read").await.status == 200).then_some(())
    })
    .await;
    eventually(
        "new sessions, in the cold zone too",
        Duration::from_secs(20),
        || async {
            let both = (
                world.token(&sts, &[]).await.status,
                cold.token(&sts, &[]).await.status,
            );
            (both == (200, 200)).then_some(())
        },
    )
    .await;
    println!(
        "{count} mints in {honoured:?} after PostgreSQL froze; all is back {:?} after it went on",
        back.elapsed()
    );
    stack.ready(Service::Api, 0).await;
    drop(stack);
}
