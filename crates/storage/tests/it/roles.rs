use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::{AnchorKind, anchor::Anchor};
use caracal_storage::{admin_tokens, anchors, audit, keys, outbox, sessions, snapshot, spool, zones};
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_may_change_the_ledger() {
    let scratch = Scratch::new().await;
    for role in [
        "caracal_api",
        "caracal_sts",
        "caracal_gateway",
        "caracal_audit",
        "caracal_relay",
    ] {
        let conn = &mut scratch.as_role(role).await;
        for table in [
            "audit_events",
            "audit_events_default",
            "audit_event_ids",
            "audit_dead_letters",
        ] {
            for statement in [
                format!("UPDATE {table} SET zone_id = zone_id"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table}"),
                format!("DROP TABLE {table}"),
            ] {
                assert!(
                    sql_query(&statement).execute(conn).await.is_err(),
                    "{role}: {statement}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_can_do_its_work_and_no_more() {
    let scratch = Scratch::new().await;
    let owner = &mut scratch.owner().await;
    let zone = fixture::zone(owner, "a").await;
    let application = fixture::application(owner, zone, "app").await;

    let api = &mut scratch.as_role("caracal_api").await;
    let ours = fixture::zone(api, "b").await;
    let epoch = zones::bump_epoch(api, ours).await.unwrap().epoch;
    outbox::append(api, &fixture::feed_event(ours, epoch), b"x", None)
        .await
        .unwrap();
    admin_tokens::seed_global(
        api,
        &[7; 32],
        caracal_domain::id::AdminTokenId::mint(&fixture::clock()),
    )
    .await
    .unwrap();
    audit::list(
        api,
        zone,
        &audit::AuditFilter::default(),
        &caracal_storage::Page::first(1),
    )
    .await
    .unwrap();

    let sts = &mut scratch.as_role("caracal_sts").await;
    assert!(snapshot::load(sts, zone).await.unwrap().is_some());
    let session = fixture::session(sts, zone, application).await;
    sessions::revoke(sts, zone, session, "asked").await.unwrap();
    let epoch = zones::bump_epoch(sts, zone).await.unwrap().epoch;
    let anchor = Anchor {
        kind: AnchorKind::Sid,
        value: session.to_string(),
        epoch,
        expires_at: fixture::now(),
    };
    anchors::insert(sts, zone, &anchor).await.unwrap();
    outbox::append(sts, &fixture::feed_event(zone, epoch), b"x", None)
        .await
        .unwrap();
    spool::append(sts, zone, fixture::event_id(), "caracal.audit.events", b"x", None)
        .await
        .unwrap();
    assert!(zones::archive(sts, zone).await.is_err());
    assert!(
        keys::insert_signing_key(
            sts,
            zone,
            &fixture::signing_key(caracal_domain::zone::KeyStatus::Next)
        )
        .await
        .is_err()
    );

    let gateway = &mut scratch.as_role("caracal_gateway").await;
    anchors::live_all(gateway).await.unwrap();
    snapshot::epochs_since(gateway, None).await.unwrap();
    zones::epoch(gateway, zone).await.unwrap();
    spool::append(
        gateway,
        zone,
        fixture::event_id(),
        "caracal.audit.events",
        b"x",
        None,
    )
    .await
    .unwrap();
    gateway.batch_execute("LISTEN caracal_outbox").await.unwrap();
    for table in [
        "applications",
        "signing_keys",
        "zone_deks",
        "sessions",
        "providers",
        "event_spool",
        "admin_tokens",
    ] {
        assert!(
            sql_query(format!("SELECT 1 FROM {table}"))
                .execute(gateway)
                .await
                .is_err(),
            "{table}"
        );
    }

    let relay = &mut scratch.as_role("caracal_relay").await;
    let rows = outbox::claim(relay, "relay", 10, Duration::from_secs(5))
        .await
        .unwrap();
    outbox::mark_published(relay, &rows.iter().map(|row| row.id).collect::<Vec<_>>())
        .await
        .unwrap();
    let spooled = spool::claim(relay, "relay", 10, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!((rows.len(), spooled.len()), (2, 2));
    spool::delete(relay, &spooled.iter().map(|row| row.id).collect::<Vec<_>>())
        .await
        .unwrap();
    let (_, seen) = outbox::now_and_snapshot(relay).await.unwrap();
    assert!(!outbox::pending_in(relay, &seen).await.unwrap());
    outbox::maintain_partitions(relay).await.unwrap();
    assert!(sql_query("SELECT 1 FROM anchors").execute(relay).await.is_err());

    let auditor = &mut scratch.as_role("caracal_audit").await;
    auditor.batch_execute("BEGIN").await.unwrap();
    assert_eq!(audit::head_for_update(auditor, zone).await.unwrap(), None);
    auditor.batch_execute("COMMIT").await.unwrap();
    assert!(
        sql_query("SELECT 1 FROM applications")
            .execute(auditor)
            .await
            .is_err()
    );
}
