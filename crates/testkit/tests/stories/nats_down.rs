//! Without NATS there is no replay table: mandate calls are refused, session-token calls go on and are spooled.

use crate::load::{Load, reconcile, tally};
use caracal_testkit::{Stack, World, eventually};
use std::time::{Duration, Instant};

#[tokio::test]
async fn mandate_calls_stop_session_calls_go_on_and_nothing_is_lost() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let warm = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    assert_eq!(warm.get("/orders").await.status, 200);
    let unused = world
        .mandate(&stack.sts(0), &session, "orders:read")
        .await
        .member("access_token")
        .to_owned();
    let load = Load::start(&stack, &world, 1).await;
    load.flow(Duration::from_millis(500)).await;

    stack.nats().kill9();
    let stopped = Instant::now();
    load.flow(Duration::from_secs(4)).await;
    let refused = world.through(stack.gateway(0), &unused).get("/orders").await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (503, "temporarily_unavailable"),
        "{}",
        refused.text
    );
    let passed = warm.get("/orders").await;
    assert_eq!(
        passed.status, 200,
        "a session-token call goes on: {}",
        passed.text
    );
    let spooled = stack.database().count("SELECT count(*) FROM event_spool").await;
    assert!(spooled > 0, "decisions wait in PostgreSQL");

    let resumed = Instant::now();
    stack.nats().restart().await;
    eventually("a spool that is drained", Duration::from_secs(30), || async {
        (stack.database().count("SELECT count(*) FROM event_spool").await == 0).then_some(())
    })
    .await;
    stack.all_ready().await;
    eventually(
        "mandate calls that pass again",
        Duration::from_secs(10),
        || async {
            let mandate = world.mandate(&stack.sts(0), &session, "orders:read").await;
            let call = world
                .through(stack.gateway(0), mandate.member("access_token"))
                .get("/orders")
                .await;
            (call.status == 200).then_some(())
        },
    )
    .await;
    println!(
        "NATS was away {:?}; {spooled} events were spooled; all was well {:?} after it came back",
        resumed - stopped,
        resumed.elapsed()
    );
    let calls = load.stop().await;
    let during = |by_mandate| {
        let from = stopped + Duration::from_millis(2500);
        calls
            .iter()
            .filter(move |call| call.by_mandate == by_mandate && call.ended > from && call.ended < resumed)
    };
    assert!(
        during(true).all(|call| call.status != 200),
        "no mandate passes without its record: {:?}",
        tally(&calls)
    );
    assert!(
        during(false).filter(|call| call.status == 200).count() > 3,
        "{:?}",
        tally(&calls)
    );
    reconcile(&stack, &world, &calls).await;
}

#[tokio::test]
async fn a_frozen_nats_costs_a_moment_and_not_the_call() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    assert_eq!(agent.get("/orders").await.status, 200);
    stack.nats().freeze();
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let answer = agent.get("/orders").await;
        assert_eq!(answer.status, 200, "call {number}: {}", answer.text);
        slowest = slowest.max(answer.took);
    }
    stack.nats().thaw();
    println!("with NATS frozen the slowest of twenty calls took {slowest:?}");
    assert!(slowest < Duration::from_secs(3));
    eventually("a spool that is drained", Duration::from_secs(30), || async {
        (stack.database().count("SELECT count(*) FROM event_spool").await == 0).then_some(())
    })
    .await;
}
