//! From a session to the ledger, with one of everything.

use caracal_testkit::upstream::API_KEY;
use caracal_testkit::world::claims;
use caracal_testkit::{Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn an_agent_gets_authority_uses_it_once_and_the_ledger_knows() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0).with("X-Request-Id", "story-1");
    let session = world.session(&sts).await;
    assert_eq!(claims(&session)["use"], "session");

    let minted = world.mandate(&sts, &session, "orders:read").await;
    let mandate = minted.member("access_token").to_owned();
    assert_eq!(
        (minted.status, minted.header("Cache-Control")),
        (200, "no-store"),
        "{}",
        minted.text
    );
    assert_eq!(claims(&mandate)["target"], json!([world.resource]));

    let agent = world
        .through(stack.gateway(0), &mandate)
        .with("X-Request-Id", "story-1")
        .with("Cookie", "a=b");
    let answer = agent.get("/orders?page=2").await;
    assert_eq!(
        (answer.status, answer.header("X-Request-Id")),
        (200, "story-1"),
        "{}",
        answer.text
    );
    let seen = world
        .upstream
        .seen()
        .pop()
        .expect("the call reached the upstream");
    assert_eq!(
        (seen.line.as_str(), seen.request_id.as_str()),
        ("GET /orders?page=2", "story-1")
    );
    assert_eq!(seen.headers.get("x-api-key").map(String::as_str), Some(API_KEY));
    assert!(
        !seen.headers.contains_key("authorization") && !seen.headers.contains_key("cookie"),
        "{seen:?}"
    );

    let again = world.through(stack.gateway(0), &mandate).get("/orders").await;
    assert_eq!(
        (again.status, again.member("error")),
        (401, "invalid_token"),
        "{}",
        again.text
    );
    assert!(again.header("WWW-Authenticate").starts_with("Bearer"), "RFC 6750");
    assert_eq!(
        world.upstream.seen().len(),
        1,
        "a replay never reaches the upstream"
    );

    let events = eventually("three events of one request", Duration::from_secs(10), || async {
        let events = world.events("story-1").await;
        let types: Vec<_> = events
            .iter()
            .filter_map(|event| event["event_type"].as_str())
            .collect();
        ["token_exchange", "gateway_request", "gateway_response"]
            .iter()
            .all(|t| types.contains(t))
            .then_some(events)
    })
    .await;
    let of = |kind: &str| {
        events
            .iter()
            .find(|event| event["event_type"] == kind)
            .expect("it is there")
    };
    assert_eq!(of("token_exchange")["decision"], "allow");
    assert_eq!(
        of("token_exchange")["determining_policies_json"],
        json!(["orders"])
    );
    assert_eq!(of("gateway_request")["decision"], "allow");
    assert!(of("token_exchange")["policy_set_version_id"].is_string());
    assert!(
        !Value::from(events.clone()).to_string().contains(API_KEY),
        "the ledger holds no secret"
    );
}

#[tokio::test]
async fn a_scope_that_policy_does_not_give_is_denied_and_recorded() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0).with("X-Request-Id", "story-2");
    let session = world.session(&sts).await;

    let denied = world.mandate(&sts, &session, "orders:delete").await;
    assert_eq!(
        (denied.status, denied.member("error")),
        (403, "access_denied"),
        "{}",
        denied.text
    );
    assert!(!denied.member("reason").is_empty());
    let unknown = world.mandate(&sts, &session, "orders:fly").await;
    assert_eq!(
        (unknown.status, unknown.member("error")),
        (400, "invalid_scope"),
        "{}",
        unknown.text
    );

    let event = eventually("the refusal in the ledger", Duration::from_secs(10), || async {
        world
            .events("story-2")
            .await
            .into_iter()
            .find(|event| event["decision"] == "deny")
    })
    .await;
    assert_eq!(event["event_type"], "token_exchange");
}

#[tokio::test]
async fn a_session_token_is_exchanged_for_each_call() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    for _ in 0..3 {
        let answer = agent.get("/orders").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(world.upstream.seen().len(), 3);
    let refused = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:delete")
        .get("/orders")
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "access_denied"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn bootstrap_gives_a_working_zone_once() {
    let stack = Stack::start().await;
    let first = stack.admin().post("/v1/local/bootstrap", &json!({})).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert!(!first.member("app_client_secret").is_empty());
    let second = stack.admin().post("/v1/local/bootstrap", &json!({})).await;
    assert_eq!(
        (second.status, second.member("app_client_secret")),
        (200, ""),
        "{}",
        second.text
    );
    assert_eq!(second.member("zone_id"), first.member("zone_id"));

    let form = [
        ("zone_id", first.member("zone_id")),
        ("application_id", first.member("application_id")),
        ("client_secret", first.member("app_client_secret")),
        ("resource", first.member("resource")),
        ("scope", first.member("scope")),
    ];
    let session = stack
        .sts(0)
        .form("/oauth/2/token", form.get(..3).expect("three fields"))
        .await;
    assert_eq!(session.status, 200, "{}", session.text);
    let token = session.member("access_token").to_owned();
    let mut exchange = form.to_vec();
    exchange.push(("subject_token", &token));
    exchange.push((
        "subject_token_type",
        "urn:ietf:params:oauth:token-type:access_token",
    ));
    let mandate = stack.sts(0).form("/oauth/2/token", &exchange).await;
    assert_eq!(mandate.status, 200, "{}", mandate.text);
}
