use crate::nats::{Nats, OTHER_KEY};
use caracal_bus::{AUDIT_STREAM, AUDIT_SUBJECT, UntrustedReason};
use std::collections::BTreeSet;
use std::time::Duration;

const LINGER: Duration = Duration::from_millis(50);

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_what_is_never_does() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    for n in 0..20 {
        bus.publish(AUDIT_SUBJECT, &n.to_string(), vec![n], None)
            .await
            .unwrap();
    }
    let mut first = bus.pull(AUDIT_STREAM, "ledger");
    let mut seen = Vec::new();
    while seen.len() < 20 {
        seen.extend(first.batch(7, LINGER).await);
    }
    for delivery in seen.iter().take(15) {
        delivery.ack().await;
    }
    for delivery in seen.iter().skip(15) {
        delivery.give_back(Duration::ZERO).await;
    }
    drop(first);
    let mut second = bus.pull(AUDIT_STREAM, "ledger");
    let mut again = BTreeSet::new();
    while again.len() < 5 {
        for delivery in second.batch(500, LINGER).await {
            delivery.ack().await;
            again.insert(delivery.payload.unwrap());
        }
    }
    assert_eq!(again, (15..20).map(|n| vec![n]).collect());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(second.lag().await.unwrap(), 0);
}

#[tokio::test]
async fn two_pullers_share_the_messages() {
    let nats = Nats::start();
    let bus = nats.bus().await;
    let (mut one, mut two) = (bus.pull(AUDIT_STREAM, "ledger"), bus.pull(AUDIT_STREAM, "ledger"));
    for n in 0..100_u8 {
        bus.publish(AUDIT_SUBJECT, &n.to_string(), vec![n], None)
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let batch =
            tokio::select! { batch = one.batch(10, LINGER) => batch, batch = two.batch(10, LINGER) => batch };
        for delivery in batch {
            delivery.ack().await;
            seen.push(delivery.id);
        }
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 100);
}

#[tokio::test]
async fn an_untrusted_message_is_handed_over_as_such() {
    let nats = Nats::start();
    let stranger = nats.bus_with(OTHER_KEY).await;
    stranger
        .publish(AUDIT_SUBJECT, "1", b"lie".to_vec(), None)
        .await
        .unwrap();
    let bus = nats.bus().await;
    let batch = bus.pull(AUDIT_STREAM, "ledger").batch(1, LINGER).await;
    let untrusted = batch.into_iter().next().unwrap().payload.unwrap_err();
    assert_eq!(
        (untrusted.reason, untrusted.payload),
        (UntrustedReason::BadSignature, b"lie".to_vec())
    );
}
