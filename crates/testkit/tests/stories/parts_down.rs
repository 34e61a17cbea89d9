//! What goes on, and what does not, while a part of Caracal itself is away.

use caracal_testkit::stack::Service;
use caracal_testkit::world::{allowing, claims};
use caracal_testkit::{Stack, World};
use std::time::Duration;

/// Longer than the bound, so that every replica knows that it is behind.
const PAST_THE_BOUND: Duration = Duration::from_millis(2600);

#[tokio::test]
async fn without_a_relay_replicas_read_through_and_miss_nothing() {
    let mut stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:write");
    assert_eq!(agent.get("/orders").await.status, 200);
    let unused = world
        .mandate(&stack.sts(0), &session, "orders:write")
        .await
        .member("access_token")
        .to_owned();
    stack.kill9(Service::Relay, 0);
    tokio::time::sleep(PAST_THE_BOUND).await;

    let behind = agent.get("/orders").await;
    assert_eq!(behind.status, 200, "behind is not down: {}", behind.text);
    world.adopt(&allowing(&["orders:read"])).await;
    let denied = world.mandate(&stack.sts(0), &session, "orders:write").await;
    assert_eq!(
        (denied.status, denied.member("error")),
        (403, "access_denied"),
        "{}",
        denied.text
    );

    let id = claims(&session)["sid"].as_str().expect("a session id").to_owned();
    assert!((200..300).contains(&world.revoke_session(&id).await.status));
    let refused = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "invalid_grant"),
        "{}",
        refused.text
    );
    let late = world.through(stack.gateway(0), &unused).get("/orders").await;
    assert_eq!(
        (late.status, late.member("error")),
        (401, "invalid_token"),
        "{}",
        late.text
    );
}

#[tokio::test]
async fn without_the_sts_mandates_with_a_held_directive_pass_and_session_calls_wait() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let mut mandates = Vec::new();
    for _ in 0..3 {
        let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
        mandates.push(minted.member("access_token").to_owned());
    }
    let warm = world
        .through(stack.gateway(0), &mandates.pop().expect("three"))
        .get("/orders")
        .await;
    assert_eq!(warm.status, 200, "{}", warm.text);
    stack.kill9(Service::Sts, 0);
    let held = world
        .through(stack.gateway(0), &mandates.pop().expect("two"))
        .get("/orders")
        .await;
    assert_eq!(held.status, 200, "{}", held.text);
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    let waiting = agent.get("/orders").await;
    assert_eq!(
        (waiting.status, waiting.member("error")),
        (503, "temporarily_unavailable"),
        "{}",
        waiting.text
    );
    stack.restart(Service::Sts, 0).await;
    assert_eq!(agent.get("/orders").await.status, 200);
}

#[tokio::test]
async fn without_the_ledger_the_edge_notices_nothing_and_the_events_wait() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    stack.kill9(Service::Audit, 0);
    let sts = stack.sts(0).with("X-Request-Id", "unwatched");
    let session = world.session(&sts).await;
    let minted = world.mandate(&sts, &session, "orders:read").await;
    let agent = world
        .through(stack.gateway(0), minted.member("access_token"))
        .with("X-Request-Id", "unwatched");
    assert_eq!(agent.get("/orders").await.status, 200);
    assert!(world.events("unwatched").await.is_empty());
    stack.restart(Service::Audit, 0).await;
    caracal_testkit::eventually("the events that waited", Duration::from_secs(10), || async {
        (world.events("unwatched").await.len() >= 3).then_some(())
    })
    .await;
}
