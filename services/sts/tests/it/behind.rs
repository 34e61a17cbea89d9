//! A replica that no longer hears what changes decides nothing from memory: it asks, and refuses when nobody answers
//! (architecture, "Freshness"). Nothing that is kept outlives that: no secret, no key, no policy.

use crate::signing::{ASSERTION_TYPE, KeyPair, application, assertion_claims, issuer, set};
use caracal_testkit::stack::Service;
use caracal_testkit::world::allowing;
use caracal_testkit::{Answer, Stack, World, eventually};
use serde_json::json;
use std::time::Duration;

/// Stops the heartbeat and waits until no STS can be fresh any more.
async fn silence(stack: &mut Stack) {
    stack.freeze(Service::Relay, 0);
    let metrics = stack.sts(0);
    eventually("an STS that is behind", Duration::from_secs(10), || async {
        let text = metrics.get("/metrics").await.text;
        let lag = text
            .lines()
            .find_map(|line| line.strip_prefix("caracal_feed_lag_seconds "))?;
        (lag.parse::<f64>().ok()? > 2.0).then_some(())
    })
    .await;
}

fn unconfirmed(answer: &Answer) -> bool {
    let got = (answer.status, answer.member("error"), answer.member("reason"));
    got == (503, "temporarily_unavailable", "stale_state")
        || got == (503, "temporarily_unavailable", "store_unavailable")
}

async fn about(world: &World, stack: &Stack, endpoint: &str, token: &str) -> Answer {
    let form = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", token),
    ];
    stack.sts(0).form(endpoint, &form).await
}

#[tokio::test]
async fn behind_what_is_kept_is_confirmed_and_without_a_database_nothing_is_decided() {
    let mut stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let key = KeyPair::new("ES256", "own");
    let credential = json!({"credential_type": "public-key", "jwks": set(&[&key])});
    let signing = application(&stack, &world, &credential).await;
    let audience = issuer(&stack, &world).await;
    let prove = || async {
        let assertion = key.sign(&assertion_claims(&signing, &audience));
        let form = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
        ];
        stack_sts(&audience).form("/token", &form).await
    };
    let session = world.session(&stack.sts(0)).await;
    assert_eq!(
        world.mandate(&stack.sts(0), &session, "orders:read").await.status,
        200
    );
    assert_eq!(prove().await.status, 200);
    silence(&mut stack).await;

    // No waiting for any of these: each is confirmed before it decides.
    let tightened = world.adopt(&allowing(&["orders:write"])).await;
    assert!(!tightened.is_empty());
    let denied = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(denied.member("reason"), "policy_deny", "{}", denied.text);
    let path = world.path(&format!("applications/{}", world.application_id));
    let rotated = stack
        .admin()
        .post(&format!("{path}/rotate-secret"), &json!({}))
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let old = world.token(&stack.sts(0), &[]).await;
    assert_eq!(
        (old.status, old.member("error")),
        (401, "invalid_client"),
        "{}",
        old.text
    );
    world.client_secret = rotated.member("client_secret").to_owned();
    assert_eq!(world.token(&stack.sts(0), &[]).await.status, 200);
    let archived = stack
        .admin()
        .delete(&world.path(&format!("applications/{signing}")))
        .await;
    assert_eq!(archived.status, 204);
    assert_eq!(prove().await.member("error"), "invalid_client");

    let kept = world.mandate(&stack.sts(0), &session, "orders:write").await;
    let kept = kept.expect(200)["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    stack.postgres().cut();
    let answers = [
        world.token(&stack.sts(0), &[]).await,
        world.mandate(&stack.sts(0), &session, "orders:write").await,
        about(&world, &stack, "/oauth/2/introspect", &kept).await,
        about(&world, &stack, "/oauth/2/revoke", &kept).await,
        prove().await,
    ];
    for answer in answers {
        assert!(unconfirmed(&answer), "{} {}", answer.status, answer.text);
    }
    stack.postgres().restore();
    stack.thaw(Service::Relay, 0);
    eventually("it decides again", Duration::from_secs(10), || async {
        let answer = world.mandate(&stack.sts(0), &session, "orders:write").await;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// A caller of the zone's own endpoints.
fn stack_sts(issuer: &str) -> caracal_testkit::Client {
    caracal_testkit::Client::new(reqwest::Client::new(), format!("{issuer}/oauth/2"))
}
