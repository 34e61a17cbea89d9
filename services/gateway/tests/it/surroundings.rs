//! What stands around the gateway: proxies before it, and our own services beside it.

use crate::place::Place;
use crate::upstreams::{Manner, Plain};
use caracal_testkit::stack::Service;
use serde_json::json;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

async fn forwarded_for(place: &Place) -> String {
    let upstream = Plain::start(Manner::Says(OK)).await;
    let resource = place
        .resource("up", &upstream.url, &json!({"auth_mode": "none"}))
        .await;
    let agent = place
        .agent(&resource)
        .await
        .with("X-Forwarded-For", "203.0.113.9, 198.51.100.7")
        .with("X-Forwarded-Host", "evil.example")
        .with("X-Forwarded-Proto", "gopher")
        .with("X-Forwarded-Port", "1")
        .with("Forwarded", "for=203.0.113.9");
    assert_eq!(agent.get("/").await.status, 200);
    let head = upstream.heard().pop().expect("it was heard").to_ascii_lowercase();
    for dropped in ["evil.example", "gopher", "x-forwarded-port", "\r\nforwarded:"] {
        assert!(!head.contains(dropped), "{dropped} in {head}");
    }
    for replaced in [
        "\r\nx-forwarded-host: 127.0.0.1:",
        "\r\nx-forwarded-proto: http\r\n",
    ] {
        assert!(head.contains(replaced), "{replaced} in {head}");
    }
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("x-forwarded-for: "));
    line.expect("the gateway says it itself").to_owned()
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_callers_and_nobody_else_does() {
    let behind_a_proxy = Place::with(&[("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    assert_eq!(forwarded_for(&behind_a_proxy).await, "198.51.100.7");
    let bare = Place::with(&[("TRUSTED_PROXIES", "192.0.2.0/24")]).await;
    assert_eq!(forwarded_for(&bare).await, "127.0.0.1");
}

#[tokio::test]
async fn no_resource_leads_to_one_of_our_own_services() {
    let place = Place::with(&[]).await;
    for service in [
        Service::Api,
        Service::Relay,
        Service::Audit,
        Service::Sts,
        Service::Gateway,
    ] {
        let own = place.stack.url(service, 0);
        let resource = place
            .resource(service.name(), &own, &json!({"auth_mode": "none"}))
            .await;
        let answer = place.agent(&resource).await.get("/health").await;
        assert_eq!(
            (answer.status, answer.member("reason")),
            (403, "upstream_not_allowed"),
            "{}: {}",
            service.name(),
            answer.text
        );
    }
}

#[tokio::test]
async fn a_flood_of_strangers_is_written_in_part_and_counted_in_full() {
    let place = Place::with(&[("STRANGERS_SUMMARY_MS", "200")]).await;
    let stranger = place
        .stack
        .gateway(0)
        .bearer("nonsense")
        .with("X-Caracal-Resource", "resource://any");
    // The system zone is looked for twice a second; whoever comes before it is found is only counted.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let long = format!("/{}", "x".repeat(20_000));
    for _ in 0..40 {
        assert_eq!(stranger.get(&long).await.status, 401);
    }
    let (written, counted) = place.stack.strangers("gateway", 40).await;
    assert!(written >= 10 && counted > 0, "{written} and {counted}");
    let longest = "SELECT max(length(metadata_json::text))::bigint FROM audit_events \
                   WHERE event_type = 'gateway_request' AND metadata_json ? 'path'";
    let longest = place.stack.database().count(longest).await;
    assert!(
        (1024..2000).contains(&longest),
        "a stranger's path took {longest}"
    );
}
