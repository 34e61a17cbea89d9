use crate::bench::{Bench, decision, publish};
use caracal_audit::Written;
use caracal_bus::{AUDIT_STREAM, USES_STREAM, USES_SUBJECT};
use caracal_domain::AuditEvent;
use caracal_domain::id::EventId;
use caracal_wire::encode_audit;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_survives_concurrent_writers() {
    let bench = Bench::new().await;
    let zones = [bench.zone().await, bench.zone().await, bench.zone().await];
    for _ in 0..4 {
        bench.ingester(AUDIT_STREAM).await;
    }
    bench.ingester(USES_STREAM).await;
    let bus = bench.bus().await;
    let events: Vec<AuditEvent> = (0..600).map(|n| decision(zones[n % 3])).collect();
    let publishing = events.iter().enumerate().map(|(n, event)| {
        let bus = &bus;
        async move {
            if n % 4 == 0 {
                let id = format!("use:{n}");
                bus.publish(USES_SUBJECT, &id, encode_audit(event), None)
                    .await
                    .map(drop)
                    .unwrap();
            } else {
                publish(bus, event).await;
            }
        }
    });
    futures::future::join_all(publishing).await;
    bench.chained(600).await;
    for (n, zone) in zones.into_iter().enumerate() {
        let expected: BTreeSet<EventId> = events.iter().skip(n).step_by(3).map(|event| event.id).collect();
        let chained = bench.whole_chain(zone).await;
        assert_eq!(chained.len(), 200, "each once");
        assert_eq!(chained.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_start_a_chain_together_start_one() {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    let ledgers: Vec<_> = (0..8).map(|_| bench.ledger()).collect();
    let writes = ledgers
        .iter()
        .map(|ledger| async { ledger.write(&[decision(zone), decision(zone)]).await.unwrap() });
    let written = futures::future::join_all(writes).await;
    assert!(written.iter().all(|written| *written
        == Written {
            chained: 2,
            duplicates: 0
        }));
    assert_eq!(bench.whole_chain(zone).await.len(), 16);
}

#[tokio::test]
async fn an_event_is_chained_once_however_often_it_comes() {
    let bench = Bench::new().await;
    let (zone, ledger) = (bench.zone().await, bench.ledger());
    let (one, two) = (decision(zone), decision(zone));
    let first = ledger.write(&[one.clone(), one.clone()]).await.unwrap();
    assert_eq!(
        first,
        Written {
            chained: 1,
            duplicates: 1
        }
    );
    let second = ledger.write(&[two.clone(), one.clone()]).await.unwrap();
    assert_eq!(
        second,
        Written {
            chained: 1,
            duplicates: 1
        }
    );
    assert_eq!(bench.whole_chain(zone).await, [one.id, two.id]);
}

#[tokio::test]
async fn a_chain_older_than_trees_gets_its_tree() {
    let bench = Bench::new().await;
    let (zone, other, ledger) = (bench.zone().await, bench.zone().await, bench.ledger());
    let events: Vec<AuditEvent> = (0..300).map(|_| decision(zone)).collect();
    ledger.write(&events).await.unwrap();
    ledger.write(&[decision(other)]).await.unwrap();
    let forget = "UPDATE audit_heads SET frontier = NULL; DELETE FROM audit_tree_nodes";
    bench
        .database
        .connect()
        .await
        .batch_execute(forget)
        .await
        .unwrap();
    // One grows with the next event, the other when the service starts; what has a tree is left alone.
    ledger.write(&[decision(zone)]).await.unwrap();
    assert_eq!(bench.whole_chain(zone).await.len(), 301);
    let (one, two) = tokio::join!(ledger.grow_missing_trees(), ledger.grow_missing_trees());
    one.and(two).unwrap();
    assert_eq!(bench.whole_chain(other).await.len(), 1);
    assert_eq!(bench.whole_chain(zone).await.len(), 301);
}

#[tokio::test]
async fn no_role_of_a_service_can_change_or_remove_what_the_ledger_holds() {
    let bench = Bench::new().await;
    let zone = bench.zone().await;
    bench.ledger().write(&[decision(zone)]).await.unwrap();
    for role in ["audit", "api", "relay", "sts", "gateway"] {
        let url = bench.database.url_for(role, None);
        for statement in [
            "UPDATE audit_events SET reason = 'x'",
            "DELETE FROM audit_events",
            "TRUNCATE audit_events",
        ] {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            let error = client.batch_execute(statement).await.unwrap_err();
            let code = error.code().map(tokio_postgres::error::SqlState::code);
            assert_eq!(code, Some("42501"), "{role}: {statement}");
        }
    }
}
