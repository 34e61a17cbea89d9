use crate::bench::{Bench, PATIENCE, Wall, decision, publish};
use caracal_bus::{AUDIT_STREAM, AUDIT_SUBJECT, USES_STREAM, USES_SUBJECT};
use caracal_domain::id::ZoneId;
use serde_json::json;

const STRANGERS_KEY: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

async fn reasons(bench: &Bench, count: usize) -> Vec<String> {
    let client = bench.database.connect().await;
    let probe = async || {
        let query = "SELECT reason FROM audit_dead_letters ORDER BY stream_sequence";
        let rows = client.query(query, &[]).await.unwrap();
        (rows.len() >= count).then(|| rows.iter().map(|row| row.get(0)).collect::<Vec<String>>())
    };
    caracal_testkit::eventually("dead letters", PATIENCE, probe).await
}

#[tokio::test]
async fn a_bad_signature_is_dead_lettered() {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    let (bus, stranger) = (bench.bus().await, bench.bus_with(STRANGERS_KEY).await);
    let (lie, truth) = (decision(zone), decision(zone));
    publish(&stranger, &lie).await;
    publish(&bus, &truth).await;
    bench.ingester(AUDIT_STREAM).await;
    assert_eq!(
        reasons(&bench, 1).await,
        ["untrusted: the signature of the message does not hold"]
    );
    bench.chained(1).await;
    assert_eq!(bench.whole_chain(zone).await, [truth.id]);
    let query = "SELECT message_id, payload FROM audit_dead_letters";
    let letter = bench
        .database
        .connect()
        .await
        .query_one(query, &[])
        .await
        .unwrap();
    assert_eq!(letter.get::<_, String>(0), lie.id.to_string());
    assert_eq!(
        caracal_wire::decode_audit(letter.get(1)).unwrap(),
        lie,
        "kept for a human"
    );
}

#[tokio::test]
async fn what_cannot_be_stored_does_not_hold_up_the_others() {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    let bus = bench.bus().await;
    let mut poisoned = decision(zone);
    poisoned.metadata_json = json!({"text": "PostgreSQL keeps no \u{0} in JSON"});
    let homeless = decision(ZoneId::mint(&Wall));
    let (one, two) = (decision(zone), decision(zone));
    publish(&bus, &one).await;
    bus.publish(AUDIT_SUBJECT, "garbage", b"garbage".to_vec(), None)
        .await
        .unwrap();
    for event in [&poisoned, &homeless, &two] {
        publish(&bus, event).await;
    }
    bench.ingester(AUDIT_STREAM).await;
    let reasons = reasons(&bench, 3).await;
    assert!(reasons[0].starts_with("undecodable: "), "{reasons:?}");
    assert!(reasons[1].starts_with("refused by the ledger: "), "{reasons:?}");
    assert!(reasons[2].contains("audit_heads_zone"), "{reasons:?}");
    bench.chained(2).await;
    assert_eq!(bench.whole_chain(zone).await, [one.id, two.id]);
}

/// Whatever stands in the way of the ledger itself, events wait for it and none is set aside.
async fn waits_for(hinder: &str, help: &str) {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    let bus = bench.bus().await;
    let owner = bench.database.connect().await;
    let name: String = owner
        .query_one("SELECT current_database()", &[])
        .await
        .unwrap()
        .get(0);
    owner.batch_execute(&hinder.replace("<db>", &name)).await.unwrap();
    let events = [decision(zone), decision(zone), decision(zone)];
    for event in &events {
        publish(&bus, event).await;
    }
    bench.ingester(AUDIT_STREAM).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let help = format!(
        "SET default_transaction_read_only = off; {}",
        help.replace("<db>", &name)
    );
    owner.batch_execute(&help).await.unwrap();
    bench.chained(3).await;
    assert_eq!(bench.whole_chain(zone).await, events.map(|event| event.id));
    let letters = "SELECT count(*) FROM audit_dead_letters";
    assert_eq!(bench.database.count(letters).await, 0, "{hinder}");
}

#[tokio::test]
async fn a_database_that_only_reads_is_waited_for() {
    waits_for(
        "ALTER DATABASE <db> SET default_transaction_read_only = on",
        "ALTER DATABASE <db> RESET default_transaction_read_only",
    )
    .await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_waited_for() {
    waits_for(
        "REVOKE INSERT ON audit_events FROM caracal_audit",
        "GRANT INSERT ON audit_events TO caracal_audit",
    )
    .await;
}

#[tokio::test]
async fn a_table_that_is_missing_is_waited_for() {
    waits_for(
        "ALTER TABLE audit_event_ids RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO audit_event_ids",
    )
    .await;
}

#[tokio::test]
async fn a_message_whose_id_cannot_be_stored_does_not_stop_the_stream() {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    let bus = bench.bus().await;
    bus.publish(AUDIT_SUBJECT, "a\0b", b"garbage".to_vec(), None)
        .await
        .unwrap();
    let good = decision(zone);
    publish(&bus, &good).await;
    bench.ingester(AUDIT_STREAM).await;
    bench.chained(1).await;
    assert_eq!(bench.whole_chain(zone).await, [good.id]);
    let query = "SELECT message_id FROM audit_dead_letters";
    let letter = bench
        .database
        .connect()
        .await
        .query_one(query, &[])
        .await
        .unwrap();
    assert_eq!(letter.get::<_, String>(0), "a\u{FFFD}b");
}

#[tokio::test]
async fn letters_of_a_stream_that_was_made_anew_are_kept_beside_those_of_the_first() {
    let bench = Bench::new().await;
    let bus = bench.bus().await;
    bench.ingester(AUDIT_STREAM).await;
    let streams = async_nats::jetstream::new(bench.nats.connect().await);
    for (round, text) in [b"first".to_vec(), b"second".to_vec()].into_iter().enumerate() {
        let ack = bus
            .publish(AUDIT_SUBJECT, &format!("round-{round}"), text, None)
            .await
            .unwrap();
        assert_eq!(ack.sequence, 1, "it counts from one again");
        reasons(&bench, round + 1).await;
        streams.delete_stream(AUDIT_STREAM).await.unwrap();
        bus.ensure_streams().await.unwrap();
    }
    let query = "SELECT payload FROM audit_dead_letters ORDER BY received_at";
    let rows = bench.database.connect().await.query(query, &[]).await.unwrap();
    let payloads: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(payloads, [b"first".to_vec(), b"second".to_vec()]);
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_not_trimmed_by_how_far_the_first_was() {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    let bus = bench.bus().await;
    let payload = caracal_wire::encode_audit(&decision(zone));
    let publish = async |id: &str| {
        bus.publish(USES_SUBJECT, id, payload.clone(), None)
            .await
            .unwrap()
    };
    publish("use:1").await;
    bench.ingester(USES_STREAM).await;
    bench.chained(1).await;
    let puller = bus.pull(USES_STREAM, "ledger");
    let reached = caracal_testkit::eventually("an acknowledged use", PATIENCE, async || {
        puller
            .acknowledged()
            .await
            .ok()
            .filter(|reached| reached.sequence == 1)
    })
    .await;
    let streams = async_nats::jetstream::new(bench.nats.connect().await);
    streams.delete_stream(USES_STREAM).await.unwrap();
    bus.ensure_streams().await.unwrap();
    publish("use:2").await;
    bus.forget(USES_STREAM, reached).await.unwrap();
    assert!(
        bus.raw_message(USES_STREAM, 1).await.is_ok(),
        "the new stream's first use is still there"
    );
}

#[tokio::test]
async fn a_use_stays_in_its_stream_after_it_was_ingested() {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    let bus = bench.bus().await;
    let admission = decision(zone);
    let payload = caracal_wire::encode_audit(&admission);
    bus.publish(USES_SUBJECT, "use:1", payload.clone(), None)
        .await
        .unwrap();
    bench.ingester(USES_STREAM).await;
    bench.chained(1).await;
    let again = bus
        .publish(USES_SUBJECT, "use:1", b"another".to_vec(), None)
        .await
        .unwrap();
    assert!(again.duplicate, "the replay table outlives the ingestion");
    assert_eq!(
        bus.raw_message(USES_STREAM, again.sequence)
            .await
            .unwrap()
            .payload
            .unwrap(),
        payload
    );
}
