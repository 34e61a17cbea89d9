//! Every outcome is an event, and no token leaves without one.

use caracal_testkit::world::claims;
use caracal_testkit::{Stack, World, eventually};
use serde_json::Value;
use std::time::Duration;

async fn events(world: &World, request_id: &str, count: usize) -> Vec<Value> {
    eventually("the request's events", Duration::from_secs(5), || async {
        let events = world.events(request_id).await;
        (events.len() >= count).then_some(events)
    })
    .await
}

#[tokio::test]
async fn an_allow_is_on_record_with_what_decided_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let minted = world
        .mandate(
            &stack.sts(0).with("X-Request-Id", "mint-1"),
            &session,
            "orders:read",
        )
        .await;
    let mandate = claims(minted.member("access_token"));
    let recorded = events(&world, "mint-1", 1).await;
    assert_eq!(recorded.len(), 1);
    let event = recorded.first().expect("one event");
    assert_eq!(
        (&event["id"], &event["event_type"]),
        (&mandate["event_id"], &"token_exchange".into())
    );
    assert_eq!(
        (&event["decision"], &event["evaluation_status"]),
        (&"allow".into(), &"complete".into())
    );
    assert!(event["policy_set_version_id"].is_string() && event["manifest_sha"].is_string());
    let metadata = &event["metadata_json"];
    assert_eq!(
        (&metadata["resource"], &metadata["jti"]),
        (&world.resource.as_str().into(), &mandate["jti"])
    );
    assert_eq!(metadata["input"]["context"]["trace_id"], "mint-1");
    assert!(!event.to_string().contains(&world.client_secret));
}

#[tokio::test]
async fn refusals_are_on_record_once_each_with_their_reason() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let sts = |id: &str| stack.sts(0).with("X-Request-Id", id);
    world
        .mandate(&sts("deny-policy"), &session, "orders:delete")
        .await;
    world.mandate(&sts("deny-token"), "x", "orders:read").await;
    for (id, reason) in [
        ("deny-policy", "policy_deny"),
        ("deny-token", "subject_token_invalid"),
    ] {
        let recorded = events(&world, id, 1).await;
        assert_eq!(recorded.len(), 1, "{id}: {recorded:?}");
        let event = recorded.first().expect("one event");
        assert_eq!(
            (&event["decision"], &event["reason"]),
            (&"deny".into(), &reason.into()),
            "{event}"
        );
    }
    let stranger = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", "guess"),
    ];
    sts("deny-client").form("/oauth/2/token", &stranger).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        world.events("deny-client").await.is_empty(),
        "strangers cannot write into a tenant's ledger"
    );
}
