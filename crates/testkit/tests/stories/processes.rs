//! What every process owes its operator: clear mistakes, clean ends, little memory.

use caracal_testkit::process::Process;
use caracal_testkit::stack::Service;
use caracal_testkit::{Stack, World, binaries, eventually, settings};
use serde_json::json;
use std::time::Duration;

const EVERY_SERVICE: [Service; 5] = [
    Service::Api,
    Service::Relay,
    Service::Audit,
    Service::Sts,
    Service::Gateway,
];

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
        let pairs = [
            ("CARACAL_MODE", "staging"),
            ("PORT", "99999"),
            ("DATABASE_URL", "mysql://root:hunter2@db/x"),
            ("NATS_URL", "http://nats:4222"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("FEED_MAX_LAG_MS", "soon"),
            ("TRUSTED_PROXIES", "everyone"),
            ("ISSUER_URL", "sts.example"),
            ("ZONE_KEK", "short"),
            ("STREAMS_HMAC_KEY", "short"),
        ];
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut process = Process::start(
            name,
            &binaries::ours(name),
            &[],
            environment.to_vec(),
            directory.path(),
        );
        let status = process.wait(Duration::from_secs(10));
        let log = process.log();
        assert_eq!(status.code(), Some(64), "{name}: {log}");
        let everyone = [
            "CARACAL_MODE",
            "PORT",
            "DATABASE_URL",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ];
        let own: &[&str] = match name {
            "caracal-api" => &["ISSUER_URL", "ZONE_KEK"],
            "caracal-sts" => &[
                "NATS_URL",
                "FEED_MAX_LAG_MS",
                "TRUSTED_PROXIES",
                "ISSUER_URL",
                "ZONE_KEK",
            ],
            "caracal-gateway" => &["NATS_URL", "FEED_MAX_LAG_MS", "TRUSTED_PROXIES", "ISSUER_URL"],
            _ => &["NATS_URL", "STREAMS_HMAC_KEY"],
        };
        for variable in everyone.iter().chain(own) {
            let complaint = log
                .lines()
                .any(|line| line.trim().starts_with(&format!("{variable}: ")));
            assert!(complaint, "{name} does not complain of {variable}: {log}");
        }
        assert!(!log.contains("hunter2"), "{name} shows a password: {log}");
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
    for service in EVERY_SERVICE {
        let caller = stack.anonymous(service, 0);
        assert_eq!(caller.get("/health").await.expect(200), json!({"ok": true}));
        assert_eq!(
            caller.get("/ready").await.expect(200),
            json!({"ok": true, "draining": false})
        );
        let metrics = caller.get("/metrics").await;
        assert!(
            metrics
                .header("content-type")
                .starts_with("text/plain; version=0.0.4"),
            "{:?}",
            metrics.headers
        );
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
async fn a_drained_sts_finishes_its_mint() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    assert_eq!(
        world.mandate(&stack.sts(0), &session, "orders:read").await.status,
        200
    );
    // The record waits for NATS, and is then spooled.
    stack.nats().freeze();
    let sts = stack.sts(0);
    let minting = world.mandate(&sts, &session, "orders:read");
    let ending = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        stack.process(Service::Sts, 0).signal("TERM");
    };
    let (minted, ()) = tokio::join!(minting, ending);
    assert_eq!(minted.status, 200, "{}", minted.text);
    assert!(
        minted.took > Duration::from_millis(100),
        "it was not in flight: {:?}",
        minted.took
    );
    stack.nats().thaw();
    let status = stack.process(Service::Sts, 0).wait(Duration::from_secs(20));
    assert!(status.success(), "it ended by itself: {status}");
}

#[tokio::test]
async fn a_drained_control_plane_finishes_its_write() {
    let mut stack = Stack::start().await;
    let mut locker = stack.database().connect().await;
    let lock = locker.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE zones IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("a lock");
    let admin = stack.admin();
    let writing = tokio::spawn(async move { admin.post("/v1/zones", &json!({"name": "Late"})).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    stack.process(Service::Api, 0).signal("TERM");
    let probe = stack.anonymous(Service::Api, 0);
    let draining = eventually("a control plane that drains", Duration::from_secs(1), || async {
        let answer = probe.try_get("/ready").await;
        answer.filter(|answer| answer.status == 503)
    })
    .await;
    assert_eq!(draining.body["draining"], json!(true), "{}", draining.text);
    assert_eq!(probe.get("/health").await.expect(200), json!({"ok": true}));
    lock.rollback().await.expect("the lock is given back");
    let written = writing.await.expect("the caller does not panic");
    assert_eq!(written.status, 201, "{}", written.text);
    let status = stack.process(Service::Api, 0).wait(Duration::from_secs(20));
    assert!(status.success(), "it ended by itself: {status}");
    let zones = stack
        .database()
        .count("SELECT count(*) FROM zones WHERE name = 'Late'")
        .await;
    assert_eq!(zones, 1);
}

#[tokio::test]
async fn every_log_line_is_json_and_names_its_request() {
    let stack = Stack::start().await;
    for service in EVERY_SERVICE {
        let id = format!("logged-at-{}", service.name());
        let caller = stack.anonymous(service, 0).with("X-Request-Id", &id);
        assert_eq!(caller.get("/nowhere").await.header("X-Request-Id"), id);
        let file = stack.logs().join(format!("{}-0.log", service.name()));
        eventually("its log line", Duration::from_secs(5), || async {
            let text = std::fs::read_to_string(&file).expect("a log");
            let whole = text.get(..text.rfind('\n')?)?;
            let lines = whole.lines().map(|line| {
                serde_json::from_str::<serde_json::Value>(line)
                    .unwrap_or_else(|error| panic!("{}: {error}: {line}", service.name()))
            });
            let named = lines
                .inspect(|line| {
                    for member in ["time", "level", "service", "target"] {
                        assert!(line[member].is_string(), "no {member}: {line}");
                    }
                })
                .filter(|line| line["request_id"] == *id)
                .count();
            (named > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn ready_names_a_postgresql_that_is_away_and_whoever_can_goes_on() {
    let stack = Stack::start().await;
    stack.postgres().cut();
    for (service, status) in [
        (Service::Api, 503),
        (Service::Relay, 503),
        (Service::Audit, 503),
        (Service::Sts, 503),
        (Service::Gateway, 200),
    ] {
        let probe = stack.anonymous(service, 0);
        let named = eventually(
            "a replica that misses PostgreSQL",
            Duration::from_secs(20),
            || async { Some(probe.get("/ready").await).filter(|answer| answer.text.contains("postgres")) },
        )
        .await;
        assert_eq!(named.status, status, "{}: {}", service.name(), named.text);
        assert_eq!(probe.get("/health").await.expect(200), json!({"ok": true}));
    }
    for (service, status) in [(Service::Sts, 503), (Service::Gateway, 200)] {
        let probe = stack.anonymous(service, 0);
        eventually(
            "a replica that is behind and says so",
            Duration::from_secs(10),
            || async {
                let said = probe.get("/ready").await;
                assert_eq!(said.status, status, "{}", said.text);
                said.text.contains("feed").then_some(())
            },
        )
        .await;
    }
    stack.postgres().restore();
    stack.all_ready().await;
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

#[tokio::test]
async fn a_replica_with_another_key_says_so_and_seals_nothing() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let places = [(Service::Sts, "keys"), (Service::Api, "seed")];
    for (service, missing) in places {
        let process = stack.process(service, 0);
        process.set("ZONE_KEK", &"ab".repeat(32));
        process.restart();
        let probe = stack.anonymous(service, 0);
        eventually("a replica that says only so", Duration::from_secs(20), || async {
            let said = probe.try_get("/ready").await?;
            (said.status == 503 && said.body["missing"] == json!([missing])).then_some(())
        })
        .await;
    }
    let refused = stack.admin().post("/v1/zones", &json!({"name": "Sealed"})).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (503, "temporarily_unavailable")
    );
    for (service, _) in places {
        stack.process(service, 0).set("ZONE_KEK", settings::ZONE_KEK);
        stack.restart(service, 0).await;
    }
    let made = stack.admin().post("/v1/zones", &json!({"name": "Sealed"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    world.session(&stack.sts(0)).await;
}
