//! What every test here stands on: a database, a NATS, and eyes on both.

use async_nats::jetstream::stream::Stream;
use caracal_bus::{Bus, BusConfig, FEED_STREAM, StreamKeys};
use caracal_domain::clock::{Clock, Timestamp};
use caracal_domain::id::{InstanceId, OutboxId, ZoneId};
use caracal_domain::{FeedBody, FeedEvent};
use caracal_relay::{Metrics, Relay};
use caracal_storage::{Database, DatabaseConfig, outbox};
use caracal_testkit::settings::STREAMS_HMAC_KEY;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bench {
    pub(crate) database: caracal_testkit::Database,
    pub(crate) nats: caracal_testkit::Nats,
    /// As the API would: it may append.
    pub(crate) writer: Database,
    pub(crate) logs: TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let logs = tempfile::tempdir().unwrap();
        let database = caracal_testkit::Database::new().await;
        let nats = caracal_testkit::Nats::start(logs.path()).await;
        let writer = connect(&database.url_for("api", None));
        Self {
            database,
            nats,
            writer,
            logs,
        }
    }

    /// A relay with the rights of its role.
    pub(crate) async fn relay(&self) -> Arc<Relay> {
        let database = connect(&self.database.url_for("relay", None));
        Arc::new(Relay::new(
            database,
            self.bus().await,
            InstanceId::mint(&Wall),
            Metrics::default(),
        ))
    }

    /// A relay that drains in the background without being woken.
    pub(crate) async fn running_relay(&self) -> Arc<Relay> {
        let relay = self.relay().await;
        let running = Arc::clone(&relay);
        tokio::spawn(async move { running.run(futures::stream::pending()).await });
        relay
    }

    pub(crate) async fn bus(&self) -> Bus {
        let bus = Bus::connect(&BusConfig {
            url: self.nats.url().into(),
            name: "test".to_owned(),
            hmac_keys: StreamKeys::parse(STREAMS_HMAC_KEY).unwrap(),
        })
        .await
        .unwrap();
        caracal_testkit::eventually("a connection", PATIENCE, async || {
            bus.is_connected().then_some(())
        })
        .await;
        bus.ensure_streams().await.unwrap();
        bus
    }

    /// A connection with the rights of a relay.
    pub(crate) async fn writer_of_relay(&self) -> caracal_storage::Connection {
        connect(&self.database.url_for("relay", None))
            .acquire()
            .await
            .unwrap()
    }

    /// Commits a change of a zone.
    pub(crate) async fn change(&self) -> OutboxId {
        let event = change();
        let transaction = self.writer.begin().await.unwrap();
        outbox::append(&transaction, &event, &caracal_wire::encode_feed(&event), None)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        event.id
    }

    pub(crate) async fn unpublished(&self) -> i64 {
        self.database
            .count("SELECT count(*) FROM outbox WHERE published_at IS NULL")
            .await
    }

    pub(crate) async fn all_published(&self) {
        let probe = async || (self.unpublished().await == 0).then_some(());
        caracal_testkit::eventually("an empty outbox", PATIENCE, probe).await;
    }

    /// The feed as stored: subject, message id, payload, in order.
    pub(crate) async fn feed(&self) -> Vec<(String, String, Vec<u8>)> {
        let stream = self.stream(FEED_STREAM).await;
        let last = stream.get_info().await.unwrap().state.last_sequence;
        let mut messages = Vec::new();
        for sequence in 1..=last {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let id = message.headers.get("Nats-Msg-Id").unwrap().to_string();
            messages.push((message.subject.to_string(), id, message.payload.to_vec()));
        }
        messages
    }

    pub(crate) async fn stream(&self, name: &str) -> Stream {
        async_nats::jetstream::new(self.nats.connect().await)
            .get_stream(name)
            .await
            .unwrap()
    }
}

pub(crate) fn change() -> FeedEvent {
    FeedEvent {
        id: OutboxId::mint(&Wall),
        zone_id: ZoneId::from(Uuid::from_u128(1)),
        epoch: 2.into(),
        previous_epoch: 1.into(),
        body: FeedBody::ZoneChanged,
    }
}

pub(crate) fn connect(url: &str) -> Database {
    let config = DatabaseConfig {
        url: url.to_owned(),
        max_connections: 8,
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
