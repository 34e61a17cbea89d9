//! The rate of mandates: per zone, resource and application, and on record (contract §2, "Rate limit").

use crate::hands::second;
use caracal_testkit::{Answer, Client, Stack, World, eventually};
use serde_json::json;
use std::time::Duration;

/// The zone allows three a minute.
async fn three_a_minute(stack: &Stack, world: &World) -> Client {
    let zone = format!("/v1/zones/{}", world.zone_id);
    let rate = json!({"mint_rate_per_minute": 3});
    let changed = stack.admin().patch(&zone, &rate).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    stack.sts(0).with("Caracal-Min-Epoch", &changed.epoch())
}

fn is_told_to_wait(answer: &Answer) {
    let got = (answer.status, answer.member("error"), answer.member("reason"));
    assert_eq!(got, (429, "slow_down", "rate_limited"), "{}", answer.text);
    let wait = answer.header("Retry-After").parse::<u32>();
    assert!(
        wait.is_ok_and(|seconds| (1..=60).contains(&seconds)),
        "{}",
        answer.header("Retry-After")
    );
}

#[tokio::test]
async fn the_rate_is_of_one_application_at_one_resource_in_one_zone_and_exceeding_it_is_on_record() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let body = json!({"identifier": "resource://second", "scopes": ["orders:read"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let application = second(&stack, &world, "second").await;
    three_a_minute(&stack, &other).await;
    let sts = three_a_minute(&stack, &world).await;
    let session = world.session(&sts).await;
    for _ in 0..3 {
        assert_eq!(world.mandate(&sts, &session, "orders:read").await.status, 200);
    }
    is_told_to_wait(
        &world
            .mandate(
                &sts.clone().with("X-Request-Id", "too-many"),
                &session,
                "orders:read",
            )
            .await,
    );
    let again = world.session(&sts).await;
    is_told_to_wait(&world.mandate(&sts, &again, "orders:write").await);

    let recorded = eventually("the recorded deny", Duration::from_secs(10), || async {
        world.events("too-many").await.into_iter().next()
    })
    .await;
    assert_eq!(
        (
            &recorded["event_type"],
            &recorded["decision"],
            &recorded["reason"]
        ),
        (&json!("token_exchange"), &json!("deny"), &json!("rate_limited")),
        "{recorded}"
    );
    assert_eq!(recorded["metadata_json"]["resource"], json!(world.resource));

    let elsewhere = [
        ("subject_token", session.as_str()),
        ("resource", "resource://second"),
    ];
    assert_eq!(
        world.token(&sts, &elsewhere).await.status,
        200,
        "another resource"
    );
    let theirs = application.token(&sts, &[]).await;
    let fields = [
        ("subject_token", theirs.member("access_token")),
        ("resource", &world.resource),
        ("scope", "orders:read"),
    ];
    assert_eq!(
        application.token(&sts, &fields).await.status,
        200,
        "another application"
    );
    let of_other = other.session(&stack.sts(0)).await;
    assert_eq!(
        other
            .mandate(&stack.sts(0), &of_other, "orders:read")
            .await
            .status,
        200,
        "another zone"
    );
    let both = [
        elsewhere[0],
        elsewhere[1],
        ("resource", &world.resource),
        ("scope", "orders:read"),
    ];
    let partial = world.token(&sts, &both).await.expect(200);
    assert_eq!(
        partial["target_resources"],
        json!(["resource://second"]),
        "the rest of the request goes on"
    );
}
