//! What has been taken away says what it was, in the answer and on record (contract §2, "Errors"; §4).

use crate::hands::{Hands, second};
use caracal_domain::Claims;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Stack, World, eventually};
use serde_json::json;
use std::time::Duration;

fn got(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.member("error"), answer.member("reason"))
}

/// The one refusal of this request in the zone's ledger says why.
async fn is_recorded(world: &World, request_id: &str, reason: &str) {
    let events = eventually("the recorded refusal", Duration::from_secs(10), || async {
        let events = world.events(request_id).await;
        (!events.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(events.len(), 1, "{events:?}");
    let event = events.first().expect("one");
    assert_eq!(
        (&event["decision"], &event["reason"]),
        (&json!("deny"), &json!(reason)),
        "{event}"
    );
}

#[tokio::test]
async fn a_session_ends_with_the_application_that_acts_in_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let helper = second(&stack, &world, "helper").await;
    let acting = claims(helper.token(&sts, &[]).await.member("access_token"));
    let mut said = claims(&world.session(&sts).await);
    said["act"] = json!({
        "sub": helper.id, "sub_type": "application", "client_id": helper.id,
        "sid": acting["sid"], "root_sid": acting["root_sid"],
    });
    let said: Claims = serde_json::from_value(said).expect("claims");
    let session = &Hands::of(&stack, &world).sign(&said).await;
    assert_eq!(world.mandate(&sts, session, "orders:read").await.status, 200);
    let path = world.path(&format!("applications/{}", helper.id));
    let archived = stack.admin().delete(&path).await;
    assert_eq!(archived.status, 204, "{}", archived.text);
    let later = stack
        .sts(0)
        .with("Caracal-Min-Epoch", &archived.epoch())
        .with("X-Request-Id", "cut-off");
    let refused = world.mandate(&later, session, "orders:read").await;
    assert_eq!(
        got(&refused),
        (400, "invalid_grant", "application_revoked"),
        "{}",
        refused.text
    );
    is_recorded(&world, "cut-off", "application_revoked").await;
}

#[tokio::test]
async fn a_token_that_was_revoked_alone_says_so_at_the_sts_and_at_the_gateway() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let (hands, sts) = (Hands::of(&stack, &world), stack.sts(0));
    let session = world.session(&sts).await;
    let minted = world.mandate(&sts, &session, "orders:read").await;
    let mandate = minted.member("access_token");
    let form = [
        ("client_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", mandate),
    ];
    let given_back = sts.form("/oauth/2/revoke", &form).await;
    assert_eq!(given_back.status, 200, "{}", given_back.text);
    let gateway = stack
        .gateway(0)
        .with("Caracal-Min-Epoch", &given_back.epoch())
        .with("X-Request-Id", "mandate");
    let refused = world.through(gateway, mandate).get("/orders").await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (401, "invalid_token"),
        "{}",
        refused.text
    );
    is_recorded(&world, "mandate", "token_revoked").await;

    // A session given back ends as a session; of a token alone only an anchor tells.
    let epoch = hands.revoke_token(&claims(&session)["jti"]).await;
    let later = stack
        .sts(0)
        .with("Caracal-Min-Epoch", &epoch)
        .with("X-Request-Id", "token");
    let refused = world.mandate(&later, &session, "orders:read").await;
    assert_eq!(
        got(&refused),
        (400, "invalid_grant", "token_revoked"),
        "{}",
        refused.text
    );
    is_recorded(&world, "token", "token_revoked").await;
}
