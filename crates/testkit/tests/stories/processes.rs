//! What every process owes its operator: clear mistakes, clean ends, little memory.

use caracal_testkit::process::Process;
use caracal_testkit::stack::Service;
use caracal_testkit::{Stack, World, binaries, eventually};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_bad_configuration_lists_every_mistake_and_exits_64() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in [
        "caracal-api",
        "caracal-sts",
        "caracal-gateway",
        "caracal-audit",
        "caracal-relay",
    ] {
        let environment = vec![
            ("PORT".to_owned(), "99999".to_owned()),
            ("NATS_URL".to_owned(), String::new()),
        ];
        let mut process = Process::start(name, &binaries::ours(name), &[], environment, directory.path());
        let status = process.wait(Duration::from_secs(10));
        let log = process.log();
        assert_eq!(status.code(), Some(64), "{name}: {log}");
        for variable in ["PORT", "DATABASE_URL"] {
            assert!(
                log.contains(variable),
                "{name} does not complain of {variable}: {log}"
            );
        }
    }
}

#[test]
fn production_refuses_weak_keys() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let zeros = "0".repeat(64);
    let pairs = [
        ("DATABASE_URL", "postgres://caracal_sts@127.0.0.1/x"),
        ("NATS_URL", "nats://127.0.0.1:1"),
        ("ISSUER_URL", "http://sts.example"),
        ("ZONE_KEK", &zeros),
        ("STREAMS_HMAC_KEY", &zeros),
        ("GATEWAY_STS_KEY", "changeme"),
    ];
    let environment = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let mut process = Process::start(
        "sts",
        &binaries::ours("caracal-sts"),
        &[],
        environment,
        directory.path(),
    );
    assert_eq!(
        process.wait(Duration::from_secs(10)).code(),
        Some(64),
        "{}",
        process.log()
    );
    for variable in ["ISSUER_URL", "ZONE_KEK", "STREAMS_HMAC_KEY", "GATEWAY_STS_KEY"] {
        assert!(process.log().contains(variable), "{}", process.log());
    }
    assert!(!process.log().contains("changeme"), "a value is never shown");
}

#[tokio::test]
async fn every_service_answers_its_probes_and_idles_in_little_memory() {
    let stack = Stack::start().await;
    for service in [
        Service::Api,
        Service::Relay,
        Service::Audit,
        Service::Sts,
        Service::Gateway,
    ] {
        let caller = stack.anonymous(service, 0);
        assert_eq!(caller.get("/health").await.expect(200), json!({"ok": true}));
        assert_eq!(
            caller.get("/ready").await.expect(200),
            json!({"ok": true, "draining": false})
        );
        let metrics = caller.get("/metrics").await;
        assert!(
            metrics.text.contains("process_resident_memory_bytes"),
            "{}",
            metrics.text
        );
        // To the gateway every path is somebody's: it asks for the bearer first.
        let expected = if service == Service::Gateway { 401 } else { 404 };
        let unknown = caller.get("/nowhere").await;
        assert_eq!(unknown.status, expected, "{}: {}", service.name(), unknown.text);
        assert!(
            !unknown.header("X-Request-Id").is_empty() && !unknown.member("error").is_empty(),
            "{}",
            unknown.text
        );
    }
    let megabytes = stack.resident_bytes() / 1_000_000;
    println!("all services together: {megabytes} MB resident when idle");
    assert!(megabytes <= 200, "{megabytes} MB");
}

#[tokio::test]
async fn a_drained_gateway_finishes_what_is_in_flight() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read")
        .with("X-Request-Id", "slow");
    let slow = tokio::spawn(async move { agent.get("/slow").await });
    eventually("a call in flight", Duration::from_secs(5), || async {
        world.upstream.saw("slow").then_some(())
    })
    .await;

    stack.process(Service::Gateway, 0).signal("TERM");
    let probe = stack.anonymous(Service::Gateway, 0);
    let draining = eventually("a gateway that drains", Duration::from_secs(1), || async {
        probe
            .try_get("/ready")
            .await
            .filter(|answer| answer.status == 503)
    })
    .await;
    assert_eq!(draining.body, json!({"ok": false, "draining": true}));
    let answer = slow.await.expect("the caller does not panic");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let status = stack.process(Service::Gateway, 0).wait(Duration::from_secs(10));
    assert!(status.success(), "it ended by itself: {status}");
}

#[tokio::test]
async fn ready_names_what_is_missing() {
    let mut stack = Stack::start().await;
    stack.nats().kill9();
    for service in [Service::Sts, Service::Gateway, Service::Relay, Service::Audit] {
        let probe = stack.anonymous(service, 0);
        let answer = eventually("a replica that misses NATS", Duration::from_secs(10), || async {
            Some(probe.get("/ready").await).filter(|answer| answer.status == 503)
        })
        .await;
        assert!(
            answer.text.contains("nats"),
            "{}: {}",
            service.name(),
            answer.text
        );
        assert_eq!(answer.body["draining"], false);
    }
    stack.nats().restart().await;
    stack.all_ready().await;
}
