//! Taking authority back: everywhere, at once, and without waiting for an expiry.

use caracal_testkit::stack::Service;
use caracal_testkit::world::claims;
use caracal_testkit::{Stack, World, eventually};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_revoked_session_is_refused_by_every_sts_and_every_gateway() {
    let two = [Service::Relay, Service::Sts, Service::Gateway];
    let stack = two
        .into_iter()
        .fold(Stack::builder(), |builder, service| builder.replicas(service, 2))
        .start()
        .await;
    let world = World::new(&stack).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let session = world.session(&stack.sts(0)).await;
        let id = claims(&session)["sid"].as_str().expect("a session id").to_owned();
        let unused = world
            .mandate(&stack.sts(1), &session, "orders:read")
            .await
            .member("access_token")
            .to_owned();
        for index in 0..2 {
            let agent = world
                .through(stack.gateway(index), &session)
                .with("X-Caracal-Scope", "orders:read");
            assert_eq!(agent.get("/orders").await.status, 200);
        }
        let revoked = world.revoke_session(&id).await;
        let answered = Instant::now();
        assert!((200..300).contains(&revoked.status), "{}", revoked.text);
        for index in 0..2 {
            let agent = world
                .through(stack.gateway(index), &session)
                .with("X-Caracal-Scope", "orders:read");
            eventually("a gateway that refuses", BOUND, || async {
                (agent.get("/orders").await.status == 401).then_some(())
            })
            .await;
            let sts = stack.sts(index);
            eventually("an STS that refuses", BOUND, || async {
                let asked = world.mandate(&sts, &session, "orders:read").await;
                (asked.status == 400 && asked.member("error") == "invalid_grant").then_some(())
            })
            .await;
        }
        slowest = slowest.max(answered.elapsed());
        let late = world.through(stack.gateway(0), &unused).get("/orders").await;
        assert_eq!(
            (late.status, late.member("error")),
            (401, "invalid_token"),
            "a mandate of that session: {}",
            late.text
        );
    }
    println!(
        "two STS and two gateways refuse a revoked session {slowest:?} after the answer, at the slowest of five"
    );
    assert!(slowest < BOUND);
}

#[tokio::test]
async fn a_replica_that_starts_later_knows_what_was_revoked_before() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let unused = world
        .mandate(&stack.sts(0), &session, "orders:read")
        .await
        .member("access_token")
        .to_owned();
    let id = claims(&session)["sid"].as_str().expect("a session id").to_owned();
    assert!((200..300).contains(&world.revoke_session(&id).await.status));
    for service in [Service::Gateway, Service::Sts] {
        stack.kill9(service, 0);
        stack.restart(service, 0).await;
    }
    let asked = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(
        (asked.status, asked.member("error")),
        (400, "invalid_grant"),
        "{}",
        asked.text
    );
    let call = world.through(stack.gateway(0), &unused).get("/orders").await;
    assert_eq!(
        (call.status, call.member("error")),
        (401, "invalid_token"),
        "{}",
        call.text
    );
}
