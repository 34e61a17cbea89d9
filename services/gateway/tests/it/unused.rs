//! What does not use a mandate up: every refusal before the record, the last ones included (contract §5, "Replay").

use crate::place::{Place, Resource};
use crate::upstreams::{Manner, Plain};
use caracal_testkit::Client;
use caracal_testkit::stack::Service;
use serde_json::{Value, json};
use std::net::UdpSocket;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

async fn change(place: &Place, resource: &Resource, to: &Value) -> String {
    let path = place.world.path(&format!("resources/{}", resource.id));
    let changed = place.stack.admin().patch(&path, to).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    changed.epoch()
}

fn caller(place: &Place, resource: &Resource, mandate: &str) -> Client {
    place
        .stack
        .gateway(0)
        .bearer(mandate)
        .with("X-Caracal-Resource", &resource.identifier)
}

#[tokio::test]
async fn operation_scope_and_upstream_rules_come_before_the_record() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Says(OK)).await;
    let operations = json!([
        {"method": "GET", "path": "/orders", "scope": "orders:read"},
        {"method": "POST", "path": "/orders", "scope": "orders:write"},
    ]);
    let own = place.stack.url(Service::Api, 0).replace("127.0.0.1", "localhost");
    let more = json!({"operations": operations, "auth_mode": "none"});
    let resource = place.resource("limited", &own, &more).await;
    let mandate = place.mandate(&resource, "orders:read").await;
    let agent = caller(&place, &resource, &mandate).with("X-Request-Id", "refused");
    let unlisted = agent.get("/secrets").await;
    let unheld = agent.post("/orders", &json!({})).await;
    let forbidden = agent.get("/orders").await;
    for (answer, reason) in [
        (unlisted, "operation_not_allowed"),
        (unheld, "insufficient_scope"),
        (forbidden, "upstream_not_allowed"),
    ] {
        assert_eq!(
            (answer.status, answer.member("reason")),
            (403, reason),
            "{}",
            answer.text
        );
    }
    let lost = change(
        &place,
        &resource,
        &json!({"upstream_url": "http://no-such.invalid/"}),
    )
    .await;
    let lost = agent
        .clone()
        .with("Caracal-Min-Epoch", &lost)
        .get("/orders")
        .await;
    assert_eq!(
        (lost.status, lost.member("error")),
        (502, "bad_gateway"),
        "{}",
        lost.text
    );

    let epoch = change(&place, &resource, &json!({"upstream_url": upstream.url})).await;
    let passed = agent.with("Caracal-Min-Epoch", &epoch).get("/orders").await;
    assert_eq!(passed.status, 200, "none of them used it up: {}", passed.text);
    caracal_testkit::eventually(
        "four refusals in the ledger",
        std::time::Duration::from_secs(10),
        || async {
            let events = place.world.events("refused").await;
            let of = |decision: &str| {
                let found = events.iter().filter(|event| {
                    event["event_type"] == "gateway_request" && event["decision"] == decision
                });
                found.count()
            };
            (of("deny") == 4 && of("allow") == 1).then_some(())
        },
    )
    .await;
}

/// An address of this machine that is no loopback: no packet is sent to find it.
fn an_interface() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then(|| ip.to_string())
}

#[tokio::test]
async fn a_gateway_that_listens_everywhere_knows_itself_by_every_address() {
    let place = Place::with(&[("HOST", "0.0.0.0")]).await;
    let own = place.stack.url(Service::Gateway, 0);
    let hosts = ["localhost".to_owned(), "127.0.0.2".to_owned()];
    for (number, host) in hosts.into_iter().chain(an_interface()).enumerate() {
        let url = own.replace("127.0.0.1", &host);
        let resource = place
            .resource(&format!("own-{number}"), &url, &json!({"auth_mode": "none"}))
            .await;
        let answer = place.agent(&resource).await.get("/health").await;
        assert_eq!(
            (answer.status, answer.member("reason")),
            (403, "upstream_not_allowed"),
            "{url}: {}",
            answer.text
        );
    }
}
