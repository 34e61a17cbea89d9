//! A nats-server of a test's own: its own port, its own store, stopped when dropped.

use caracal_bus::{Bus, BusConfig, StreamKeys};
use caracal_domain::clock::{Clock, Timestamp};
use caracal_domain::{AuditDecision, AuditEvent, EventType, RequestId};
use serde_json::json;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

pub(crate) const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const OTHER_KEY: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

pub(crate) struct Nats {
    server: Child,
    store: TempDir,
    home: u16,
    port: u16,
}

impl Nats {
    pub(crate) fn start() -> Self {
        let store = tempfile::tempdir().unwrap();
        let port = free_port();
        Self {
            server: spawn(port, &store),
            store,
            home: port,
            port,
        }
    }

    pub(crate) async fn bus(&self) -> Bus {
        self.bus_with(KEY).await
    }

    pub(crate) async fn bus_with(&self, key: &str) -> Bus {
        let url = format!("nats://127.0.0.1:{}", self.port);
        let hmac_keys = StreamKeys::parse(key).unwrap();
        let bus = Bus::connect(&BusConfig {
            url: url.into(),
            name: "test".into(),
            hmac_keys,
        })
        .await
        .unwrap();
        eventually("a connection", || bus.is_connected()).await;
        bus.ensure_streams().await.unwrap();
        bus
    }

    pub(crate) fn stop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.port = self.home;
        self.server = spawn(self.port, &self.store);
    }

    /// The same store where those who are connected do not find it.
    pub(crate) fn start_elsewhere(&mut self) {
        self.port = free_port();
        self.server = spawn(self.port, &self.store);
    }

    pub(crate) async fn forget(&self, stream: &str, sequence: u64) {
        let client = async_nats::connect(format!("127.0.0.1:{}", self.port))
            .await
            .unwrap();
        let stream = async_nats::jetstream::new(client)
            .get_stream(stream)
            .await
            .unwrap();
        assert!(stream.delete_message(sequence).await.unwrap());
    }

    pub(crate) fn lose_disk(&mut self) {
        self.store = tempfile::tempdir().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .arg(name)
                .arg(self.server.id().to_string())
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn spawn(port: u16, store: &TempDir) -> Child {
    let binary =
        std::env::var_os("NATS_SERVER_BIN").map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
    Command::new(binary)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(store.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

#[derive(Debug)]
pub(crate) struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let micros = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_micros();
        chrono::DateTime::from_timestamp_micros(micros.try_into().unwrap()).unwrap()
    }
}

pub(crate) fn decision() -> AuditEvent {
    let request_id = RequestId::accept_or_mint(None, &Wall);
    let zone_id = uuid::Uuid::from_u128(1).into();
    let id = caracal_domain::id::EventId::mint(&Wall);
    AuditEvent::new(
        id,
        zone_id,
        EventType::TokenExchange,
        request_id,
        AuditDecision::Allow,
        json!({"n": 1}),
        Wall.now(),
    )
}
