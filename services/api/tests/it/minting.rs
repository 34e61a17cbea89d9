//! What the STS makes of what the control plane did.

use super::World;
use caracal_testkit::stack::{Service, Stack};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_zone_mints_nothing_any_more() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    assert_eq!(world.mandate(&sts, &session, "orders:read").await.status, 200);
    let gone = stack
        .admin()
        .delete(&format!("/v1/zones/{}", world.zone_id))
        .await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    let later = stack.sts(0).with("Caracal-Min-Epoch", &gone.epoch());
    let refused = world.mandate(&later, &session, "orders:read").await;
    assert_ne!(refused.status, 200, "{}", refused.text);
    caracal_testkit::eventually(
        "minting stops without being asked",
        std::time::Duration::from_secs(2),
        || async { (world.mandate(&sts, &session, "orders:read").await.status != 200).then_some(()) },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_old_key_is_refused_after_an_emergency_and_one_of_the_new_is_not() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let rotated = stack
        .admin()
        .post(&world.path("signing-keys/rotate"), &json!({"mode": "emergency"}))
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &rotated.epoch());
    let refused = world.mandate(&sts, &session, "orders:read").await;
    assert_ne!(refused.status, 200, "{}", refused.text);
    let fresh = world.session(&sts).await;
    assert_eq!(world.mandate(&sts, &fresh, "orders:read").await.status, 200);
    let jwks = stack
        .anonymous(Service::Sts, 0)
        .get(&format!("/zones/{}/.well-known/jwks.json", world.zone_id))
        .await;
    assert_eq!(
        jwks.body["keys"].as_array().map(Vec::len),
        Some(2),
        "{}",
        jwks.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_rotation_fails_no_token() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let old = world.session(&stack.sts(0)).await;
    let aged =
        "UPDATE signing_keys SET created_at = created_at - interval '10 minutes' WHERE status = 'next'";
    super::given::sql(&stack, aged).await;
    let rotated = stack
        .admin()
        .post(&world.path("signing-keys/rotate"), &json!({"mode": "graceful"}))
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &rotated.epoch());
    assert_eq!(world.mandate(&sts, &old, "orders:read").await.status, 200);
    let fresh = world.session(&sts).await;
    assert_eq!(world.mandate(&sts, &fresh, "orders:read").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_ends_an_applications_own_session_and_a_new_one_works() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let ended = stack
        .admin()
        .post(
            &world.path("subjects/revoke"),
            &json!({"subject_id": world.application_id}),
        )
        .await;
    assert_eq!(ended.body["revoked_sessions"], 1, "{}", ended.text);
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &ended.epoch());
    assert_ne!(world.mandate(&sts, &session, "orders:read").await.status, 200);
    let fresh = world.session(&sts).await;
    assert_eq!(world.mandate(&sts, &fresh, "orders:read").await.status, 200);
    let body = json!({"subject_id": world.application_id, "block_until": "2099-01-01T00:00:00Z"});
    assert_eq!(
        stack
            .admin()
            .post(&world.path("subjects/revoke"), &body)
            .await
            .status,
        200
    );
    let refused = world.token(&sts, &[]).await;
    assert_eq!(
        (refused.status, refused.member("reason")),
        (403, "subject_blocked"),
        "{}",
        refused.text
    );
}
