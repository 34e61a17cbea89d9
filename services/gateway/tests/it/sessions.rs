//! Calls by session token: which scope is asked for, and what of the STS's answer the caller sees.

use crate::place::{Place, Resource};
use crate::upstreams::{Manner, Plain};
use caracal_testkit::Client;
use caracal_testkit::world::claims;
use serde_json::{Value, json};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn caller(place: &Place, resource: &Resource, session: &str) -> Client {
    place
        .stack
        .gateway(0)
        .bearer(session)
        .with("X-Caracal-Resource", &resource.identifier)
        .with("Caracal-Min-Epoch", &resource.epoch)
}

/// The claims of the mandate that the upstream was shown last.
fn shown(upstream: &Plain) -> Value {
    let head = upstream.heard().pop().expect("it was heard");
    let bearer = head.lines().find_map(|line| {
        line.strip_prefix("authorization: Bearer ")
            .or(line.strip_prefix("Authorization: Bearer "))
    });
    claims(bearer.expect("a mandate"))
}

#[tokio::test]
async fn the_operations_scope_is_asked_for_then_the_headers_then_the_sessions_own() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Says(OK)).await;
    let operations = json!([{"method": "GET", "path": "/orders", "scope": "orders:write"}]);
    let listed = place
        .resource("listed", &upstream.url, &json!({"operations": operations}))
        .await;
    let open = place.resource("open", &upstream.url, &json!({})).await;
    let session = place.session.as_str();

    let called = caller(&place, &listed, session)
        .with("X-Caracal-Scope", "orders:read")
        .get("/orders")
        .await;
    assert_eq!(called.status, 200, "{}", called.text);
    assert_eq!(
        shown(&upstream)["scope"],
        "orders:write",
        "the operation's, not the header's"
    );

    let called = caller(&place, &open, session)
        .with("X-Caracal-Scope", "orders:read")
        .get("/")
        .await;
    assert_eq!(called.status, 200, "{}", called.text);
    assert_eq!(shown(&upstream)["scope"], "orders:read");

    let sts = place.stack.sts(0).with("Caracal-Min-Epoch", &open.epoch);
    let fields = [("resource", open.identifier.as_str()), ("scope", "orders:read")];
    let limited = place.world.token(&sts, &fields).await;
    assert_eq!(limited.status, 200, "{}", limited.text);
    let called = caller(&place, &open, limited.member("access_token"))
        .get("/")
        .await;
    assert_eq!(called.status, 200, "{}", called.text);
    assert_eq!(shown(&upstream)["scope"], "orders:read", "the session's own");
}

#[tokio::test]
async fn a_rate_that_is_used_up_is_told_with_when_to_come_again() {
    let place = Place::new().await;
    let path = format!("/v1/zones/{}", place.world.zone_id);
    let slowed = place
        .stack
        .admin()
        .patch(&path, &json!({"mint_rate_per_minute": 1}))
        .await;
    assert_eq!(slowed.status, 200, "{}", slowed.text);
    let resource = Resource {
        epoch: slowed.epoch(),
        ..place.order_book()
    };
    let agent = caller(&place, &resource, &place.session).with("X-Caracal-Scope", "orders:read");
    let mut last = agent.get("/orders").await;
    for _ in 0..3 {
        last = agent.get("/orders").await;
    }
    assert_eq!(
        (last.status, last.member("error")),
        (429, "slow_down"),
        "{}",
        last.text
    );
    let wait: u64 = last.header("Retry-After").parse().expect("whole seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(last.body["request_id"].is_string() && last.body["error_description"].is_string());
}

#[tokio::test]
async fn a_bearer_within_five_seconds_of_its_end_is_refused() {
    let place = Place::new().await;
    let opened = place
        .world
        .token(&place.stack.sts(0), &[("ttl_seconds", "9")])
        .await;
    let session = opened.member("access_token");
    let agent = caller(&place, &place.order_book(), session).with("X-Caracal-Scope", "orders:read");
    let early = agent.get("/orders").await;
    assert_eq!(early.status, 200, "{}", early.text);
    tokio::time::sleep(Duration::from_millis(5200)).await;
    let late = agent.get("/orders").await;
    assert_eq!(
        (late.status, late.member("error")),
        (401, "credential_expired"),
        "{}",
        late.text
    );
    assert!(
        late.header("WWW-Authenticate").contains("invalid_token"),
        "RFC 6750"
    );
    assert_eq!(
        place.world.upstream.seen().len(),
        1,
        "it still had three seconds or more"
    );
}
