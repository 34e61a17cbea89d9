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
