//! Rotation of signing keys: graceful without one failed verification, emergency at once (contract §1, "Zones").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_testkit::{Stack, World};
use serde_json::{Value, json};

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD
        .decode(token.split('.').next().expect("a header"))
        .expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header
        .get("kid")
        .and_then(Value::as_str)
        .expect("a kid")
        .to_owned()
}

async fn published(stack: &Stack, world: &World) -> Vec<String> {
    let set = stack
        .sts(0)
        .get(&format!("/zones/{}/.well-known/jwks.json", world.zone_id))
        .await
        .expect(200);
    let keys = set.get("keys").and_then(Value::as_array).expect("keys").iter();
    keys.map(|key| key["kid"].as_str().expect("a kid").to_owned())
        .collect()
}

/// Rotates by way of the control plane; the kids of the former and the active key, and the epoch that shows it.
async fn rotate(stack: &Stack, world: &World, mode: &str) -> (String, String, String) {
    let before = active(&stack.admin().get(&world.path("signing-keys")).await.expect(200));
    let rotated = stack
        .admin()
        .post(&world.path("signing-keys/rotate"), &json!({"mode": mode}))
        .await;
    let epoch = rotated.epoch();
    (before, active(&rotated.expect(200)), epoch)
}

fn active(keys: &Value) -> String {
    let mut keys = keys.as_array().expect("keys").iter();
    let active = keys.find(|key| key["status"] == "active").expect("an active key");
    active["kid"].as_str().expect("a kid").to_owned()
}

#[tokio::test]
async fn a_graceful_rotation_fails_no_verification() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let old_session = world.session(&sts).await;
    let old_mandate = world
        .mandate(&sts, &old_session, "orders:read")
        .await
        .member("access_token")
        .to_owned();
    let before = published(&stack, &world).await;
    assert_eq!(before.len(), 2, "the active key and the next one");
    // As if the next key were old enough for every verifier to have it.
    let aged =
        "UPDATE signing_keys SET created_at = created_at - interval '10 minutes' WHERE status = 'next'";
    let database = stack.database().connect().await;
    database.batch_execute(aged).await.expect("aged");
    let (former, active, epoch) = rotate(&stack, &world, "graceful").await;
    assert!(before.contains(&active), "it was published before it signs");
    assert_eq!(kid(&old_session), former);

    let at_epoch = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let session = world.session(&at_epoch).await;
    assert_eq!(kid(&session), active);
    let mandate = world.mandate(&at_epoch, &old_session, "orders:read").await;
    assert_eq!(
        mandate.status, 200,
        "the former key still verifies: {}",
        mandate.text
    );
    for token in [
        old_mandate.as_str(),
        mandate.member("access_token"),
        &session,
        &old_session,
    ] {
        let passed = world
            .through(stack.gateway(0).with("X-Caracal-Scope", "orders:read"), token)
            .get("/orders")
            .await;
        assert_eq!(passed.status, 200, "{}", passed.text);
    }
    let after = published(&stack, &world).await;
    assert_eq!(after.len(), 3, "former, active and a new next: {after:?}");
}

#[tokio::test]
async fn an_emergency_refuses_the_old_key_and_serves_the_new_one_at_once() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let old = world.session(&sts).await;
    assert_eq!(
        world
            .through(stack.gateway(0).with("X-Caracal-Scope", "orders:read"), &old)
            .get("/orders")
            .await
            .status,
        200
    );
    for _ in 0..3 {
        let (former, active, epoch) = rotate(&stack, &world, "emergency").await;
        let at_epoch = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
        let refused = world.mandate(&at_epoch, &old, "orders:read").await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_grant"),
            "{}",
            refused.text
        );
        let session = world.session(&at_epoch).await;
        assert_eq!(kid(&session), active);
        let gateway = stack
            .gateway(0)
            .with("X-Caracal-Scope", "orders:read")
            .with("Caracal-Min-Epoch", &epoch);
        let passed = world.through(gateway.clone(), &session).get("/orders").await;
        assert_eq!(
            passed.status, 200,
            "a token of the new key works at once: {}",
            passed.text
        );
        let cut = world.through(gateway, &old).get("/orders").await;
        assert_eq!(cut.status, 401, "{}", cut.text);
        let set = published(&stack, &world).await;
        assert!(!set.contains(&former) && set.contains(&active), "{set:?}");
    }
}
