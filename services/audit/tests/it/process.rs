use crate::bench::{Bench, PATIENCE, decision, publish};
use caracal_testkit::process::Process;
use caracal_testkit::proxy::Proxy;
use caracal_testkit::settings::STREAMS_HMAC_KEY;
use caracal_testkit::{Client, client, eventually, ports};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

struct Audit {
    process: Process,
    caller: Client,
}

impl Audit {
    async fn start(bench: &Bench, name: &str, database_port: Option<u16>) -> Self {
        let port = ports::free();
        let environment = [
            ("PORT", port.to_string()),
            ("CARACAL_MODE", "dev".to_owned()),
            ("DATABASE_URL", bench.database.url_for("audit", database_port)),
            ("NATS_URL", bench.nats.url()),
            ("STREAMS_HMAC_KEY", STREAMS_HMAC_KEY.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let program = Path::new(env!("CARGO_BIN_EXE_caracal-audit"));
        let process = Process::start(name, program, &[], environment, bench.logs.path());
        let caller = Client::new(client(), format!("http://127.0.0.1:{port}"));
        let probe = async || {
            caller
                .try_get("/ready")
                .await
                .filter(|answer| answer.status == 200)
        };
        eventually("a ready ingester", PATIENCE, probe).await;
        Self { process, caller }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_ingester_loses_nothing() {
    let bench = Bench::new().await;
    let zones = [bench.zone().await, bench.zone().await];
    let bus = bench.bus().await;
    let mut one = Audit::start(&bench, "audit-0", None).await;
    let mut two = Audit::start(&bench, "audit-1", None).await;
    let mut expected = BTreeSet::new();
    for round in 0..6 {
        let events: Vec<_> = (0..250).map(|n| decision(zones[n % 2])).collect();
        futures::future::join_all(events.iter().map(|event| publish(&bus, event))).await;
        expected.extend(events.iter().map(|event| event.id));
        let victim = if round % 2 == 0 { &mut one } else { &mut two };
        victim.process.restart();
    }
    bench.chained(1500).await;
    let mut chained = Vec::new();
    for zone in zones {
        chained.extend(bench.whole_chain(zone).await);
    }
    assert_eq!(chained.len(), 1500, "each once");
    assert_eq!(chained.into_iter().collect::<BTreeSet<_>>(), expected);

    let drained = async || {
        let text = one.caller.try_get("/metrics").await?.text;
        text.contains("caracal_audit_lag{stream=\"CARACAL_AUDIT\"} 0")
            .then_some(())
    };
    eventually("an ingester without lag", PATIENCE, drained).await;
    assert!(one.process.terminate(PATIENCE).success());
    assert!(two.process.terminate(PATIENCE).success());
}

#[tokio::test]
async fn while_postgresql_is_away_events_wait_and_then_go() {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    let address = bench.database.superuser_url();
    let host = format!(
        "{}:{}",
        address.host_str().unwrap(),
        address.port().unwrap_or(5432)
    );
    let proxy = Proxy::to(host.parse().unwrap());
    let audit = Audit::start(&bench, "audit", Some(proxy.port())).await;
    let bus = bench.bus().await;
    proxy.cut();
    for _ in 0..50 {
        publish(&bus, &decision(zone)).await;
    }
    let unready = async || {
        audit
            .caller
            .try_get("/ready")
            .await
            .filter(|answer| answer.status == 503)
    };
    let answer = eventually("an ingester that says what is missing", PATIENCE, unready).await;
    assert!(answer.text.contains("postgres"), "{}", answer.text);
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.restore();
    bench.chained(50).await;
    assert_eq!(bench.whole_chain(zone).await.len(), 50);
}
