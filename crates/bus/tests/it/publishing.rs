use crate::nats::{KEY, Nats, OTHER_KEY};
use caracal_bus::{AUDIT_SUBJECT, USES_STREAM, USES_SUBJECT, UntrustedReason};

#[tokio::test]
async fn a_second_publish_of_the_same_id_is_acknowledged_as_a_duplicate_of_the_first() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    let first = bus
        .publish(USES_SUBJECT, "use:1", b"one".to_vec(), None)
        .await
        .unwrap();
    let second = bus
        .publish(USES_SUBJECT, "use:1", b"two".to_vec(), None)
        .await
        .unwrap();
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(
        (first.sequence, first.stream.as_str()),
        (second.sequence, USES_STREAM)
    );
    let stored = bus.raw_message(USES_STREAM, second.sequence).await.unwrap();
    assert_eq!(
        (stored.id.as_str(), stored.payload.unwrap()),
        ("use:1", b"one".to_vec())
    );
}

#[tokio::test]
async fn duplicates_are_still_seen_after_the_server_was_killed() {
    let mut nats = Nats::start();
    let bus = nats.bus().await;
    bus.publish(USES_SUBJECT, "use:1", b"one".to_vec(), None)
        .await
        .unwrap();
    nats.stop();
    nats.start_again();
    let bus = nats.bus().await;
    assert!(
        bus.publish(USES_SUBJECT, "use:1", b"two".to_vec(), None)
            .await
            .unwrap()
            .duplicate
    );
}

#[tokio::test]
async fn a_message_signed_with_a_strangers_key_is_not_trusted() {
    let nats = Nats::start();
    let stranger = nats.bus_with(OTHER_KEY).await;
    let ack = stranger
        .publish(USES_SUBJECT, "use:1", b"one".to_vec(), None)
        .await
        .unwrap();
    let bus = nats.bus_with(KEY).await;
    let stored = bus.raw_message(USES_STREAM, ack.sequence).await.unwrap();
    assert_eq!(stored.payload.unwrap_err().reason, UntrustedReason::BadSignature);
    assert_eq!(bus.stats().untrusted.get(), 1);
}

#[tokio::test]
async fn services_that_start_together_agree_on_the_streams() {
    let nats = Nats::start();
    let first = nats.bus().await;
    let others = futures::future::join_all((0..8).map(|_| first.ensure_streams())).await;
    assert!(others.into_iter().all(|outcome| outcome.is_ok()));
}

#[tokio::test]
async fn streams_lost_with_the_disk_are_made_again_by_the_next_publish() {
    let mut nats = Nats::start();
    let bus = nats.bus().await;
    nats.stop();
    nats.lose_disk();
    nats.start_again();
    crate::nats::eventually("disconnection seen", || !bus.is_connected()).await;
    crate::nats::eventually("reconnection", || bus.is_connected()).await;
    let ack = bus
        .publish(AUDIT_SUBJECT, "1", b"one".to_vec(), None)
        .await
        .unwrap();
    assert_eq!(ack.sequence, 1);
}
