use crate::fixture;
use crate::scratch::Scratch;
use caracal_chain::Frontier;
use caracal_domain::id::ZoneId;
use caracal_domain::{AuditDecision, AuditEvent, EventType, RequestId};
use caracal_storage::audit::{self, AuditFilter, Growth, Head, LedgerRow};
use caracal_storage::{Database, Error, Page};
use serde_json::json;
use std::time::Instant;
use uuid::Uuid;

fn genesis() -> Head {
    Head {
        seq: 0,
        hash: [0; 32],
        frontier: Some(Frontier::default()),
    }
}

fn event(zone: ZoneId, request: &str) -> AuditEvent {
    let metadata = json!({
        "application_id": "0198c0de-0000-7000-8000-000000000001", "resource": "resource://a", "labels": ["blue", "b,c"],
    });
    AuditEvent::new(
        fixture::event_id(),
        zone,
        EventType::TokenExchange,
        RequestId::accept(request).unwrap(),
        AuditDecision::Deny,
        metadata,
        fixture::now(),
    )
    .because("policy_deny")
}

/// What the ingester does, with a hash that is only recognisable.
async fn ingest(database: &Database, zone: ZoneId, events: &[AuditEvent]) -> usize {
    let mut tx = database.begin().await.unwrap();
    let head = audit::head_for_update(&mut tx, zone)
        .await
        .unwrap()
        .unwrap_or_else(genesis);
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let known = audit::known(&mut tx, zone, &ids).await.unwrap();
    let mut growth = Growth {
        frontier: head.frontier.unwrap(),
        nodes: vec![],
    };
    let (mut previous, mut rows) = ((head.seq, head.hash), Vec::new());
    for event in events.iter().filter(|event| !known.contains(&event.id)) {
        let seq = previous.0 + 1;
        let mut hash = [0; 32];
        hash.iter_mut()
            .zip(seq.to_be_bytes())
            .for_each(|(byte, of_seq)| *byte = of_seq);
        let canonical = serde_json::to_vec(event).unwrap();
        growth.frontier.push(hash, &mut growth.nodes);
        rows.push(LedgerRow {
            event: event.clone(),
            canonical,
            leaf_hash: hash,
            seq,
            previous_hash: previous.1,
            hash,
        });
        previous = (seq, hash);
    }
    audit::append_batch(&mut tx, zone, &rows, &growth).await.unwrap();
    tx.commit().await.unwrap();
    rows.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_chain_survives_concurrent_writers() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let database = scratch.database.clone();
            tokio::spawn(async move {
                for turn in 0..5 {
                    let events: Vec<_> = (0..10)
                        .map(|_| event(zone, &format!("r-{writer}-{turn}")))
                        .collect();
                    assert_eq!(ingest(&database, zone, &events).await, 10);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let entries = audit::entries(conn, zone, 1, 1000).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        (1..=300).collect::<Vec<_>>()
    );
    for pair in entries.windows(2) {
        let [before, after] = pair else {
            panic!("windows of two")
        };
        assert_eq!(after.previous_hash, before.hash);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_event_is_chained_once_and_reads_back_as_it_was() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let (first, second) = (event(zone, "r-1"), event(zone, "r-1"));
    assert_eq!(
        ingest(&scratch.database, zone, std::slice::from_ref(&first)).await,
        1
    );
    assert_eq!(
        ingest(&scratch.database, zone, &[first.clone(), second.clone()]).await,
        1
    );

    for (limits, shown) in [((10, 1 << 20), 2), ((1, 1 << 20), 1), ((10, 1), 1)] {
        let rows = audit::by_request(conn, zone, &first.request_id, limits).await;
        assert_eq!(rows.unwrap().len(), shown, "{limits:?}");
    }
    let decided = audit::decided_in(conn, zone, &first.request_id).await.unwrap();
    assert_eq!(
        decided
            .iter()
            .map(|of| (of.decision, of.events))
            .collect::<Vec<_>>(),
        [(AuditDecision::Deny, 2)]
    );
    let rows = audit::by_request(conn, zone, &first.request_id, (10, 1 << 20))
        .await
        .unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.seq, row.id)).collect::<Vec<_>>(),
        [(1, first.id), (2, second.id)]
    );
    let row = audit::find(conn, zone, first.id).await.unwrap().unwrap();
    assert_eq!(
        (row.event_type.as_str(), row.decision),
        ("token_exchange", AuditDecision::Deny)
    );
    assert_eq!(
        (row.reason.as_deref(), &row.metadata_json),
        (Some("policy_deny"), &first.metadata_json)
    );
    assert_eq!(row.occurred_at, first.occurred_at);
    let entries = audit::entries(conn, zone, 1, 1).await.unwrap();
    assert_eq!(
        entries.first().map(|entry| entry.canonical.clone()),
        serde_json::to_vec(&first).ok()
    );

    let twice = LedgerRow {
        event: first,
        canonical: vec![],
        leaf_hash: [0; 32],
        seq: 3,
        previous_hash: [0; 32],
        hash: [0; 32],
    };
    let growth = Growth::default();
    let refused = audit::append_batch(conn, zone, &[twice], &growth)
        .await
        .unwrap_err();
    assert_eq!(refused.conflict(), Some("audit_event_ids_pkey"));
    let fork = LedgerRow {
        event: event(zone, "r"),
        canonical: vec![],
        leaf_hash: [0; 32],
        seq: 2,
        previous_hash: [0; 32],
        hash: [0; 32],
    };
    let refused = audit::append_batch(conn, zone, &[fork], &growth)
        .await
        .unwrap_err();
    assert_eq!(refused.conflict(), Some("audit_event_ids_seq"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_newest_first_page_by_page() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let events: Vec<_> = (0..5).map(|n| event(zone, &format!("r-{n}"))).collect();
    ingest(&scratch.database, zone, &events).await;
    let all = audit::list(conn, zone, &AuditFilter::default(), &Page::first(3))
        .await
        .unwrap();
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by(|newer, older| (newer.occurred_at, newer.id) > (older.occurred_at, older.id)));
    let last = all.last().unwrap();
    let next = Page {
        limit: 3,
        after: Some((last.occurred_at, Uuid::from(last.id))),
    };
    assert_eq!(
        audit::list(conn, zone, &AuditFilter::default(), &next)
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_narrows_the_list() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let events: Vec<_> = (0..5).map(|n| event(zone, &format!("r-{n}"))).collect();
    ingest(&scratch.database, zone, &events).await;
    let third = events.get(2).map(|event| event.occurred_at);
    let application = Uuid::try_parse("0198c0de-0000-7000-8000-000000000001").ok();
    let nobody = Some(Uuid::nil());
    let all = AuditFilter::default;
    for (filter, expected) in [
        (
            AuditFilter {
                since: third,
                ..all()
            },
            2,
        ),
        (
            AuditFilter {
                until: third,
                ..all()
            },
            2,
        ),
        (
            AuditFilter {
                request_id: Some("r-4".into()),
                ..all()
            },
            1,
        ),
        (
            AuditFilter {
                decision: Some(AuditDecision::Allow),
                ..all()
            },
            0,
        ),
        (
            AuditFilter {
                event_type: Some("token_exchange".into()),
                ..all()
            },
            5,
        ),
        (
            AuditFilter {
                application_id: application,
                ..all()
            },
            5,
        ),
        (
            AuditFilter {
                session_id: nobody,
                ..all()
            },
            0,
        ),
        (
            AuditFilter {
                agent_session_id: nobody,
                ..all()
            },
            0,
        ),
        (
            AuditFilter {
                resource: Some("resource://a".into()),
                ..all()
            },
            5,
        ),
        (
            AuditFilter {
                label: Some("b,c".into()),
                ..all()
            },
            5,
        ),
        (
            AuditFilter {
                label: Some("b".into()),
                ..all()
            },
            0,
        ),
    ] {
        let rows = audit::list(conn, zone, &filter, &Page::first(10)).await.unwrap();
        assert_eq!(rows.len(), expected, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_ledger_without_a_zone() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let refused = audit::head_for_update(conn, fixture::new_zone("never").id).await;
    assert!(matches!(refused, Err(Error::Conflict { constraint }) if constraint == "audit_heads_zone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_thousand_goes_in_with_one_statement() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let events: Vec<_> = (0..1000).map(|n| event(zone, &format!("r-{n}"))).collect();
    let before = Instant::now();
    assert_eq!(ingest(&scratch.database, zone, &events).await, 1000);
    eprintln!("1000 events chained in {:?}", before.elapsed());
}
