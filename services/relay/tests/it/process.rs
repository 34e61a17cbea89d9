use crate::bench::{Bench, PATIENCE};
use caracal_testkit::process::Process;
use caracal_testkit::settings::STREAMS_HMAC_KEY;
use caracal_testkit::{Client, client, eventually, ports};
use std::path::Path;

pub(crate) fn start(bench: &Bench, name: &str, port: u16) -> (Process, Client) {
    let environment = [
        ("PORT", port.to_string()),
        ("CARACAL_MODE", "dev".to_owned()),
        ("DATABASE_URL", bench.database.url_for("relay", None)),
        ("NATS_URL", bench.nats.url()),
        ("STREAMS_HMAC_KEY", STREAMS_HMAC_KEY.to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let program = Path::new(env!("CARGO_BIN_EXE_caracal-relay"));
    let process = Process::start(name, program, &[], environment, bench.logs.path());
    (process, Client::new(client(), format!("http://127.0.0.1:{port}")))
}

async fn ready(caller: &Client) {
    let probe = async || {
        caller
            .try_get("/ready")
            .await
            .filter(|answer| answer.status == 200)
    };
    eventually("a ready relay", PATIENCE, probe).await;
}

#[tokio::test]
async fn a_relay_killed_under_load_leaves_nothing_behind() {
    let bench = Bench::new().await;
    let (mut process, caller) = start(&bench, "relay", ports::free());
    ready(&caller).await;
    for _ in 0..3 {
        for _ in 0..40 {
            bench.change().await;
        }
        process.restart();
    }
    ready(&caller).await;
    bench.all_published().await;
    let events: Vec<_> = bench
        .feed()
        .await
        .into_iter()
        .filter(|(subject, ..)| !subject.ends_with("heartbeat"))
        .collect();
    assert_eq!(events.len(), 120, "each once, duplicates dropped by their ids");

    let expected = [
        "caracal_relay_outbox_depth 0",
        "caracal_relay_heartbeats_total",
        "caracal_bus_published_total",
    ];
    let counted = async || {
        let metrics = caller.get("/metrics").await.text;
        expected.iter().all(|line| metrics.contains(line)).then_some(())
    };
    eventually("the gauges of an empty outbox", PATIENCE, counted).await;
    assert!(process.terminate(PATIENCE).success());
}

#[tokio::test]
async fn every_mistake_of_the_configuration_is_told_at_once() {
    let logs = tempfile::tempdir().unwrap();
    let environment = vec![("STREAMS_HMAC_KEY".to_owned(), "short".to_owned())];
    let program = Path::new(env!("CARGO_BIN_EXE_caracal-relay"));
    let mut process = Process::start("relay", program, &[], environment, logs.path());
    assert_eq!(process.wait(PATIENCE).code(), Some(64));
    for name in ["DATABASE_URL", "NATS_URL", "STREAMS_HMAC_KEY"] {
        assert!(process.log().contains(name), "{}", process.log());
    }
}
