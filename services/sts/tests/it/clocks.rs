//! Clocks that are off by a minute (issue 4, "Bad input").

use caracal_testkit::{Service, Stack, World};

#[tokio::test]
async fn an_sts_whose_clock_is_a_minute_off_serves_gateways_whose_clock_is_right() {
    for offset in ["60000", "-60000"] {
        let stack = Stack::builder()
            .env(Service::Sts, "CLOCK_OFFSET_MS", offset)
            .start()
            .await;
        let world = World::new(&stack).await;
        let session = world.session(&stack.sts(0)).await;
        let mandate = world.mandate(&stack.sts(0), &session, "orders:read").await;
        assert_eq!(mandate.status, 200, "{offset}: {}", mandate.text);
        for token in [session.as_str(), mandate.member("access_token")] {
            let passed = world
                .through(stack.gateway(0).with("X-Caracal-Scope", "orders:read"), token)
                .get("/orders")
                .await;
            assert_eq!(passed.status, 200, "{offset}: {}", passed.text);
        }
    }
}

#[tokio::test]
async fn two_replicas_two_minutes_apart_differ_by_more_than_the_leeway_and_refuse() {
    let stack = Stack::builder()
        .env(Service::Gateway, "CLOCK_OFFSET_MS", "-120000")
        .start()
        .await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let early = world
        .through(stack.gateway(0).with("X-Caracal-Scope", "orders:read"), &session)
        .get("/orders")
        .await;
    assert_eq!(
        (early.status, early.member("error")),
        (401, "invalid_token"),
        "{}",
        early.text
    );
}

#[tokio::test]
async fn the_leeway_is_a_minute_and_no_more() {
    // A second more on the far side: tokens are dated in whole seconds.
    for (offset, status) in [("-59000", 200), ("-62000", 401), ("59000", 200)] {
        let stack = Stack::builder()
            .env(Service::Gateway, "CLOCK_OFFSET_MS", offset)
            .start()
            .await;
        let world = World::new(&stack).await;
        let session = world.session(&stack.sts(0)).await;
        let mandate = world.mandate(&stack.sts(0), &session, "orders:read").await;
        let gateway = world.through(stack.gateway(0), mandate.member("access_token"));
        let passed = gateway.get("/orders").await;
        assert_eq!(passed.status, status, "{offset}: {}", passed.text);
    }
}

#[tokio::test]
async fn a_token_of_ours_ends_when_it_says_and_not_a_minute_later() {
    let stack = Stack::builder()
        .env(Service::Gateway, "CLOCK_OFFSET_MS", "30000")
        .start()
        .await;
    let world = World::new(&stack).await;
    let short = world.token(&stack.sts(0), &[("ttl_seconds", "20")]).await;
    let gateway = stack.gateway(0).with("X-Caracal-Scope", "orders:read");
    let late = world
        .through(gateway, short.member("access_token"))
        .get("/orders")
        .await;
    assert_eq!(
        (late.status, late.member("error")),
        (401, "credential_expired"),
        "{}",
        late.text
    );
}
