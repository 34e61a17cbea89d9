//! What does not pass, in the order of contract §5, and what the caller is told.

use crate::place::Place;
use crate::upstreams::{Manner, Plain};
use caracal_testkit::{Client, eventually};
use serde_json::json;
use std::time::Duration;

/// What a caller does wrong, and what it is told.
struct Rule {
    what: &'static str,
    caller: Client,
    path: String,
    status: u16,
    error: &'static str,
    reason: &'static str,
}

/// In the order of contract §5.
fn rules(place: &Place, mandate: &str) -> Vec<Rule> {
    let (gateway, resource) = (place.stack.gateway(0), place.order_book());
    let good = || gateway.clone().bearer(mandate);
    let named = |name: &str| good().with("X-Caracal-Resource", name);
    let garbage = gateway
        .clone()
        .bearer("a.b.c")
        .with("X-Caracal-Resource", &resource.identifier);
    let with_client = named(&resource.identifier).with("X-Caracal-Client-ID", "me");
    let zone = &place.world.zone_id;
    let rule = |what, caller, path: &str, status, error, reason| {
        let path = path.to_owned();
        Rule {
            what,
            caller,
            path,
            status,
            error,
            reason,
        }
    };
    let invalid = "invalid_request";
    vec![
        rule(
            "no bearer",
            gateway.clone(),
            "/x",
            401,
            "invalid_token",
            "missing_bearer",
        ),
        rule("garbage", garbage, "/x", 401, "invalid_token", "invalid_token"),
        rule(
            "a client id",
            with_client,
            "/..%2f",
            400,
            invalid,
            "client_id_header",
        ),
        rule("no resource", good(), "/x", 400, invalid, "no_resource"),
        rule(
            "dots",
            named(&resource.identifier),
            "/a/%252e%252e/b",
            400,
            invalid,
            "unsafe_path",
        ),
        rule(
            "unknown",
            named("resource://nobody"),
            "/x",
            403,
            "access_denied",
            "unknown_resource",
        ),
        rule(
            "another zone",
            good(),
            &format!("/r/{0}/{0}/x", resource.id),
            403,
            "access_denied",
            "unknown_resource",
        ),
        rule(
            "unknown address",
            good(),
            &format!("/r/{zone}/{zone}/x"),
            403,
            "access_denied",
            "unknown_resource",
        ),
    ]
}

#[tokio::test]
async fn each_rule_answers_in_its_turn_and_nothing_reaches_the_upstream() {
    let place = Place::new().await;
    let resource = place.order_book();
    let mandate = place.mandate(&resource, "orders:read").await;
    for rule in rules(&place, &mandate) {
        let answer = rule
            .caller
            .with("X-Request-Id", "refusal-1")
            .get(&rule.path)
            .await;
        let seen = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(
            seen,
            (rule.status, rule.error, rule.reason),
            "{}: {}",
            rule.what,
            answer.text
        );
        assert_eq!(answer.member("request_id"), "refusal-1", "{}", rule.what);
        let challenged = answer.header("WWW-Authenticate").contains("resource_metadata=");
        assert_eq!(challenged, rule.status == 401, "{}", rule.what);
    }
    assert!(place.world.upstream.seen().is_empty());
    let agent = place.world.through(place.stack.gateway(0), &mandate);
    let after = agent.get("/x").await;
    assert_eq!(
        after.status, 200,
        "none of them used the mandate up: {}",
        after.text
    );

    let noted = eventually(
        "the refusals of a known caller",
        Duration::from_secs(10),
        || async {
            let events = place.world.events("refusal-1").await;
            (events.len() >= 3).then_some(events)
        },
    )
    .await;
    let refusals = noted
        .iter()
        .all(|e| e["event_type"] == "gateway_request" && e["decision"] == "deny");
    assert!(refusals, "{noted:?}");
}

#[tokio::test]
async fn a_mandate_passes_only_for_the_resource_it_names() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Says("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let other = place.resource("other", &upstream.url, &json!({})).await;
    let mandate = place.mandate(&place.order_book(), "orders:read").await;
    let agent = || {
        place
            .stack
            .gateway(0)
            .bearer(&mandate)
            .with("Caracal-Min-Epoch", &other.epoch)
    };
    let names_other = || agent().with("X-Caracal-Resource", &other.identifier);
    let refused = names_other().get("/x").await;
    assert_eq!(
        (refused.status, refused.member("reason")),
        (403, "resource_not_granted"),
        "{}",
        refused.text
    );

    let address = format!("/r/{}/{}/x", place.world.zone_id, place.world.resource_id);
    let both = names_other().get(&address).await;
    assert_eq!(
        (both.status, both.member("reason")),
        (400, "resource_conflict"),
        "{}",
        both.text
    );
    let by_address = agent().get(&address).await;
    assert_eq!(
        by_address.status, 200,
        "its name covers its address: {}",
        by_address.text
    );
    assert!(upstream.heard().is_empty());
}

#[tokio::test]
async fn an_epoch_that_does_not_exist_is_the_callers_mistake() {
    let place = Place::new().await;
    let mandate = place.mandate(&place.order_book(), "orders:read").await;
    let agent = || place.world.through(place.stack.gateway(0), &mandate);
    let ahead = agent().with("Caracal-Min-Epoch", "999999999").get("/x").await;
    assert_eq!(
        (ahead.status, ahead.member("error")),
        (400, "invalid_request"),
        "{}",
        ahead.text
    );
    let malformed = agent().with("Caracal-Min-Epoch", "soon").get("/x").await;
    assert_eq!(
        (malformed.status, malformed.member("reason")),
        (400, "malformed_epoch"),
        "{}",
        malformed.text
    );
    let reached = agent()
        .with("Caracal-Min-Epoch", &place.world.epoch)
        .get("/x")
        .await;
    assert_eq!(reached.status, 200, "{}", reached.text);
}

#[tokio::test]
async fn operations_limit_calls_and_ask_for_their_scope() {
    let place = Place::new().await;
    let operations = json!([
        {"method": "GET", "path": "/orders/{id}", "scope": "orders:read"},
        {"method": "POST", "path": "/orders", "scope": "orders:write"},
    ]);
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let upstream = Plain::start(Manner::Says(ok)).await;
    let resource = place
        .resource(
            "limited",
            &upstream.url,
            &json!({"operations": operations, "auth_mode": "none"}),
        )
        .await;
    let refused = place.agent(&resource).await.get("/secrets").await;
    assert_eq!(
        (refused.status, refused.member("reason")),
        (403, "operation_not_allowed"),
        "{}",
        refused.text
    );
    let refused = place.agent(&resource).await.post("/orders", &json!({})).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "insufficient_scope"),
        "{}",
        refused.text
    );
    assert!(
        refused
            .header("WWW-Authenticate")
            .contains("scope=\"orders:write\"")
    );
    assert_eq!(place.agent(&resource).await.get("/orders/7").await.status, 200);

    let session = place
        .stack
        .gateway(0)
        .bearer(&place.session)
        .with("X-Caracal-Resource", &resource.identifier);
    assert_eq!(
        session.post("/orders", &json!({})).await.status,
        200,
        "the operation's scope was asked for"
    );
    assert_eq!(upstream.heard().len(), 2);
}

#[tokio::test]
async fn a_client_finds_the_sts_from_a_401() {
    let place = Place::new().await;
    let address = format!("/r/{}/{}", place.world.zone_id, place.world.resource_id);
    let refused = place.stack.gateway(0).get(&address).await;
    let challenge = refused.header("WWW-Authenticate").to_owned();
    let metadata = format!("/.well-known/oauth-protected-resource{address}");
    assert!(challenge.ends_with(&format!("{metadata}\"")), "{challenge}");
    let about = place.stack.gateway(0).get(&metadata).await.expect(200);
    assert!(
        about["resource"]
            .as_str()
            .is_some_and(|resource| resource.ends_with(&address)),
        "{about}"
    );
    let issuer = format!(
        "{}/zones/{}",
        place.stack.url(caracal_testkit::Service::Sts, 0),
        place.world.zone_id
    );
    assert_eq!(about["authorization_servers"], json!([issuer]));
    for tail in ["/", "/mcp", "/mcp/deeper"] {
        let below = place.stack.gateway(0).get(&format!("{metadata}{tail}")).await;
        assert_eq!(below.expect(200), about, "what lies below is the same resource");
    }
    for unknown in ["/r/x/y", "/elsewhere", &address.replacen("/r/", "/s/", 1)] {
        let path = format!("/.well-known/oauth-protected-resource{unknown}");
        let missing = place
            .stack
            .gateway(0)
            .with("X-Request-Id", "meta-1")
            .get(&path)
            .await;
        assert_eq!(
            (missing.status, missing.member("request_id")),
            (404, "meta-1"),
            "{path}"
        );
        assert!(!missing.member("error").is_empty() && !missing.member("error_description").is_empty());
    }
    let written = place.stack.gateway(0).post(&metadata, &json!({})).await;
    assert_eq!((written.status, written.header("Allow")), (405, "GET, HEAD"));
    assert!(
        !written.member("error_description").is_empty(),
        "{}",
        written.text
    );
}
