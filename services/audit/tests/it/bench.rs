//! What every test here stands on: a database with zones, a NATS, and eyes on the ledger.

use caracal_audit::{Ingester, Ledger, Metrics};
use caracal_bus::{AUDIT_STREAM, AUDIT_SUBJECT, Bus, BusConfig, StreamKeys};
use caracal_chain::{Frontier, Link, StoredEntry, leaf_hash, verify};
use caracal_domain::clock::{Clock, Timestamp};
use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::{AuditDecision, AuditEvent, EventType, RequestId};
use caracal_storage::{Database, DatabaseConfig, audit};
use caracal_testkit::settings::STREAMS_HMAC_KEY;
use caracal_wire::encode_audit;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    pub(crate) database: caracal_testkit::Database,
    pub(crate) nats: caracal_testkit::Nats,
    pub(crate) logs: TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let logs = tempfile::tempdir().unwrap();
        let database = caracal_testkit::Database::new().await;
        let nats = caracal_testkit::Nats::start(logs.path()).await;
        Self { database, nats, logs }
    }

    pub(crate) async fn zone(&self) -> ZoneId {
        let id = ZoneId::mint(&Wall);
        let row = format!("INSERT INTO zones (id, org_id, name, slug) VALUES ('{id}', 'o', 'n', 'z-{id}')");
        self.database.connect().await.batch_execute(&row).await.unwrap();
        id
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::new(connect(&self.database.url_for("audit", None)), Arc::new(Wall))
    }

    /// An ingester in the background, with the rights of its role.
    pub(crate) async fn ingester(&self, stream: &'static str) -> CancellationToken {
        let ingester = Ingester::new(self.ledger(), Metrics::default(), stream);
        let (puller, stopping) = (self.bus().await.pull(stream, "ledger"), CancellationToken::new());
        let until = stopping.clone();
        tokio::spawn(async move { ingester.run(puller, until).await });
        stopping
    }

    pub(crate) async fn bus(&self) -> Bus {
        self.bus_with(STREAMS_HMAC_KEY).await
    }

    pub(crate) async fn bus_with(&self, keys: &str) -> Bus {
        let hmac_keys = StreamKeys::parse(keys).unwrap();
        let config = BusConfig {
            url: self.nats.url().into(),
            name: "test".to_owned(),
            hmac_keys,
        };
        let bus = Bus::connect(&config).await.unwrap();
        caracal_testkit::eventually("a connection", PATIENCE, async || {
            bus.is_connected().then_some(())
        })
        .await;
        bus.ensure_streams().await.unwrap();
        bus
    }

    pub(crate) async fn chained(&self, count: i64) {
        let query = "SELECT count(*) FROM audit_events";
        let probe = async || (self.database.count(query).await >= count).then_some(());
        caracal_testkit::eventually("all events in the ledger", PATIENCE, probe).await;
    }

    /// Every event of the zone, after the chain was seen to be whole and to end at its head, and the tree over it too.
    pub(crate) async fn whole_chain(&self, zone: ZoneId) -> Vec<EventId> {
        let database = connect(&self.database.url_for("api", None));
        let mut conn = database.acquire().await.unwrap();
        let entries = audit::entries(&mut conn, zone, 1, 100_000).await.unwrap();
        let stored = entries.iter().map(|entry| StoredEntry {
            seq: entry.seq,
            canonical: entry.canonical.clone(),
            previous_hash: entry.previous_hash.clone().try_into().unwrap(),
            hash: entry.hash.clone().try_into().unwrap(),
        });
        let last = verify(zone, stored).unwrap();
        assert_eq!(last, self.head(zone).await);
        let (mut frontier, mut grown) = (Frontier::default(), vec![]);
        for entry in &entries {
            frontier.push(leaf_hash(&entry.canonical), &mut grown);
        }
        assert_eq!(audit::frontier(&mut conn, zone).await.unwrap(), Some(frontier));
        let places = grown.iter().map(|node| node.place).collect();
        let kept = audit::nodes(&mut conn, zone, &places).await.unwrap();
        assert!(
            kept.into_iter().eq(grown
                .into_iter()
                .map(|node| (node.place, node.hash))
                .collect::<BTreeMap<_, _>>())
        );
        let id = |bytes: &[u8]| serde_json::from_slice::<AuditEvent>(bytes).unwrap().id;
        entries.iter().map(|entry| id(&entry.canonical)).collect()
    }

    async fn head(&self, zone: ZoneId) -> Link {
        let query = "SELECT h.seq, h.hash, e.previous_hash FROM audit_heads h JOIN audit_events e USING (zone_id, seq) \
                     WHERE h.zone_id = $1::text::uuid";
        let row = self
            .database
            .connect()
            .await
            .query_one(query, &[&zone.to_string()])
            .await
            .unwrap();
        let hash = |index| row.get::<_, Vec<u8>>(index).try_into().unwrap();
        Link {
            seq: row.get(0),
            hash: hash(1),
            previous_hash: hash(2),
        }
    }
}

pub(crate) async fn publish(bus: &Bus, event: &AuditEvent) {
    let ack = bus
        .publish(AUDIT_SUBJECT, &event.id.to_string(), encode_audit(event), None)
        .await
        .unwrap();
    assert_eq!(ack.stream, AUDIT_STREAM);
}

pub(crate) fn decision(zone: ZoneId) -> AuditEvent {
    let (id, request_id) = (EventId::mint(&Wall), RequestId::accept_or_mint(None, &Wall));
    let metadata = json!({"resource": "https://api.example/", "labels": ["a", 1], "z": {"b": 1.5, "a": "é"}});
    AuditEvent::new(
        id,
        zone,
        EventType::TokenExchange,
        request_id,
        AuditDecision::Allow,
        metadata,
        Wall.now(),
    )
}

pub(crate) fn connect(url: &str) -> Database {
    let config = DatabaseConfig {
        url: url.to_owned(),
        max_connections: 4,
        application_name: "test",
    };
    Database::connect(&config).unwrap()
}

#[derive(Debug)]
pub(crate) struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        chrono::DateTime::from_timestamp_micros(since.as_micros().try_into().unwrap()).unwrap()
    }
}
