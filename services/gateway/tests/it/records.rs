//! What the ledger says of a call: one `gateway_request` when it is admitted or refused, and of an admitted one a single
//! `gateway_response` when it ends, whatever becomes of it (contract §5, "Records").

use crate::place::{Place, Resource};
use crate::streams::{open, read_until};
use crate::upstreams::{Manner, Plain};
use caracal_testkit::stack::Service;
use caracal_testkit::{Client, eventually};
use reqwest::{Body, Method};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Each event of the request as `type decision`, and of an ending how it ended, as `status outcome cut`.
fn told(events: &[Value]) -> Vec<String> {
    let mut told: Vec<String> = events
        .iter()
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let (kind, decision, reason) = (text("event_type"), text("decision"), text("reason"));
            let metadata = &event["metadata_json"];
            if kind == "gateway_response" {
                let outcome = metadata["outcome"].as_str().unwrap_or_default();
                return format!("{kind} {} {outcome} {}", metadata["status"], metadata["cut"]);
            }
            format!("{kind} {decision} {reason}").trim().to_owned()
        })
        .collect();
    told.sort_unstable();
    told
}

/// The request's events are exactly these.
async fn assert_told(place: &Place, id: &str, expected: &[&str]) -> Vec<Value> {
    eventually(&format!("all of {id}"), Duration::from_secs(10), || async {
        (place.world.events(id).await.len() >= expected.len()).then_some(())
    })
    .await;
    // One too many would come now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let events = place.world.events(id).await;
    assert_eq!(told(&events), expected, "{id}: {events:?}");
    events
}

/// A caller that goes away for good: one that only closes may still be reading.
fn reset(connection: TcpStream) {
    connection.set_zero_linger().expect("a socket");
    drop(connection);
}

async fn call(place: &Place, resource: &Resource, id: &str) -> u16 {
    place
        .agent(resource)
        .await
        .with("X-Request-Id", id)
        .get("/orders")
        .await
        .status
}

fn session_caller(place: &Place, resource: &Resource, id: &str) -> Client {
    place
        .stack
        .gateway(0)
        .bearer(&place.session)
        .with("X-Caracal-Resource", &resource.identifier)
        .with("X-Caracal-Scope", "orders:read")
        .with("Caracal-Min-Epoch", &resource.epoch)
        .with("X-Request-Id", id)
}

#[tokio::test]
async fn what_is_answered_is_admitted_once_and_ends_once() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Says(OK)).await;
    let resource = place.resource("plain", &upstream.url, &json!({})).await;
    let agent = place.agent(&resource).await;
    assert_eq!(
        agent
            .clone()
            .with("X-Request-Id", "by-mandate")
            .get("/a")
            .await
            .status,
        200
    );
    let events = assert_told(
        &place,
        "by-mandate",
        &["gateway_request allow", "gateway_response 200 complete false"],
    )
    .await;
    let end = events
        .iter()
        .find(|event| event["event_type"] == "gateway_response")
        .expect("an end");
    let (metadata, number) = (&end["metadata_json"], |name: &str| {
        end["metadata_json"][name].as_u64()
    });
    assert!(
        number("duration_ms").is_some_and(|millis| millis < 10_000),
        "{metadata}"
    );
    assert_eq!(
        (number("bytes_in"), number("bytes_out")),
        (Some(0), Some(2)),
        "{metadata}"
    );

    assert_eq!(agent.with("X-Request-Id", "again").get("/a").await.status, 401);
    let replayed = [
        "gateway_request deny replay_detected",
        "replay_detected deny replay_detected",
    ];
    assert_told(&place, "again", &replayed).await;

    assert_eq!(
        session_caller(&place, &resource, "by-session")
            .get("/a")
            .await
            .status,
        200
    );
    let of_session = [
        "gateway_request allow",
        "gateway_response 200 complete false",
        "token_exchange allow",
    ];
    assert_told(&place, "by-session", &of_session).await;
    assert_eq!(upstream.heard().len(), 2);
}

#[tokio::test]
async fn what_is_refused_has_no_end() {
    let place = Place::new().await;
    let operations = json!([{"method": "GET", "path": "/orders", "scope": "orders:write"}]);
    let limited = json!({"operations": operations, "auth_mode": "none"});
    let resource = place.resource("limited", "http://127.0.0.1:9", &limited).await;
    assert_eq!(call(&place, &resource, "by-scope").await, 403);
    assert_told(&place, "by-scope", &["gateway_request deny insufficient_scope"]).await;
    let denied = place
        .stack
        .gateway(0)
        .bearer(&place.session)
        .with("X-Caracal-Resource", &place.world.resource)
        .with("X-Caracal-Scope", "orders:delete")
        .with("X-Request-Id", "by-policy");
    assert_eq!(denied.get("/orders").await.status, 403);
    let expected = [
        "gateway_request deny policy_deny",
        "token_exchange deny policy_deny",
    ];
    assert_told(&place, "by-policy", &expected).await;
}

#[tokio::test]
async fn an_admitted_call_that_comes_to_nothing_says_so_in_its_end() {
    let place = Place::new().await;
    let provider = place.provider(&json!({}), "k").await;
    let keyed = json!({"credential_provider_id": provider});
    let (hanging, refusing) = (
        Plain::start(Manner::Hangs).await,
        Plain::start(Manner::Says(UNAUTHORIZED)).await,
    );
    for (name, url, more, ended) in [
        (
            "hanging",
            hanging.url.as_str(),
            &json!({}),
            "504 upstream_timeout false",
        ),
        (
            "closed",
            "http://127.0.0.1:9",
            &json!({}),
            "502 upstream_unreachable false",
        ),
        (
            "refusing",
            refusing.url.as_str(),
            &keyed,
            "502 upstream_credential_rejected false",
        ),
    ] {
        let resource = place.resource(name, url, more).await;
        let status = call(&place, &resource, name).await;
        assert!(ended.starts_with(&status.to_string()), "{name}: {status}");
        let ended = format!("gateway_response {ended}");
        assert_told(&place, name, &["gateway_request allow", &ended]).await;
    }
    let path = place.world.path("audit/by-request/hanging/explain");
    let explained = place.stack.admin().get(&path).await.expect(200);
    assert_eq!(explained["final_decision"], "allow", "{explained}");
    assert_eq!(explained["denied"], json!([]), "{explained}");
    let story = explained["story"].to_string();
    assert!(
        story.contains("did not answer in time: the caller was told 504") && !story.contains("cut"),
        "{story}"
    );
}

#[tokio::test]
async fn a_body_that_grows_too_large_ends_an_admitted_call() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Swallows).await;
    let resource = place.resource("swallowing", &upstream.url, &json!({})).await;
    let agent = place.agent(&resource).await.with("X-Request-Id", "endless");
    let chunks = std::iter::repeat_n(vec![b'x'; 64 * 1024], 11 * 16).map(Ok::<_, std::io::Error>);
    let body = Body::wrap_stream(futures::stream::iter(chunks));
    // It may be told 413, or find the connection closed under it.
    let _ = agent
        .send(Method::POST, "/orders", |request| request.body(body))
        .await;
    let expected = [
        "gateway_request allow",
        "gateway_response 413 payload_too_large false",
    ];
    assert_told(&place, "endless", &expected).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_call_wherever_it_is() {
    let place = Place::new().await;
    let (hanging, stalling) = (
        Plain::start(Manner::Hangs).await,
        Plain::start(Manner::Stalls).await,
    );
    let waiting = place.resource("waiting", &hanging.url, &json!({})).await;
    let reading = place.resource("reading", &stalling.url, &json!({})).await;
    let mandate = place.mandate(&reading, "orders:read").await;
    let mut connection = open(&place, &mandate, &reading, "reading", "").await;
    read_until(&mut connection, "data: 1").await;
    reset(connection);
    let expected = ["gateway_request allow", "gateway_response 200 caller_gone true"];
    assert_told(&place, "reading", &expected).await;

    let mandate = place.mandate(&waiting, "orders:read").await;
    let connection = open(&place, &mandate, &waiting, "waiting", "").await;
    eventually("the call at the upstream", Duration::from_secs(5), || async {
        (!hanging.heard().is_empty()).then_some(())
    })
    .await;
    reset(connection);
    let expected = ["gateway_request allow", "gateway_response null caller_gone true"];
    assert_told(&place, "waiting", &expected).await;
}

#[tokio::test]
async fn a_call_whose_caller_leaves_before_the_decision_is_on_record_all_the_same() {
    let mut place = Place::new().await;
    let resource = place.order_book();
    let mandate = place.mandate(&resource, "orders:read").await;
    // The gateway holds no directive yet, so the call waits for the STS.
    place.stack.freeze(Service::Sts, 0);
    let connection = open(&place, &mandate, &resource, "left", "").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    reset(connection);
    tokio::time::sleep(Duration::from_millis(200)).await;
    place.stack.thaw(Service::Sts, 0);
    let expected = ["gateway_request allow", "gateway_response null caller_gone true"];
    assert_told(&place, "left", &expected).await;
    assert!(place.world.upstream.seen().is_empty());
}
