use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::id::AdminTokenId;
use caracal_domain::{Anchor, AnchorKind};
use caracal_storage::sessions::Whose;
use caracal_storage::{Conn, Page, admin_tokens, anchors, audit, outbox, sessions, snapshot, spool, zones};
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
            "audit_tree_nodes",
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
async fn the_api_writes_configuration_and_reads_the_ledger() {
    let scratch = Scratch::new().await;
    let api = &mut scratch.as_role("caracal_api").await;
    let zone = fixture::zone(api, "a").await;
    fixture::application(api, zone, "app").await;
    let epoch = zones::bump_epoch(api, zone).await.unwrap().epoch;
    outbox::append(api, &fixture::feed_event(zone, epoch), b"x", None)
        .await
        .unwrap();
    admin_tokens::seed_global(api, &[7; 32], AdminTokenId::mint(&fixture::clock()))
        .await
        .unwrap();
    audit::list(api, zone, &audit::AuditFilter::default(), &Page::first(1))
        .await
        .unwrap();
    denied(
        api,
        &[
            "DELETE FROM zones",
            "DELETE FROM policy_versions",
            "INSERT INTO audit_heads VALUES (NULL)",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sts_reads_configuration_and_writes_sessions_and_revocations() {
    let scratch = Scratch::new().await;
    let owner = &mut scratch.owner().await;
    let zone = fixture::zone(owner, "a").await;
    let application = fixture::application(owner, zone, "app").await;
    let sts = &mut scratch.as_role("caracal_sts").await;
    assert!(snapshot::load(sts, zone).await.unwrap().is_some());
    let session = fixture::session(sts, zone, application).await;
    sessions::end(sts, zone, Whose::Session(session), "asked")
        .await
        .unwrap();
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
    denied(
        sts,
        &[
            "UPDATE zones SET archived_at = now()",
            "UPDATE signing_keys SET status = 'retired'",
        ],
    )
    .await;
    denied(
        sts,
        &["UPDATE applications SET name = 'x'", "SELECT FROM admin_tokens"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_reads_anchors_and_appends_to_the_spool() {
    let scratch = Scratch::new().await;
    let zone = fixture::zone(&mut scratch.owner().await, "a").await;
    let gateway = &mut scratch.as_role("caracal_gateway").await;
    anchors::live_all(gateway).await.unwrap();
    snapshot::epochs_since(gateway, None).await.unwrap();
    zones::epoch(gateway, zone).await.unwrap();
    assert_eq!(zones::id_by_slug(gateway, "a").await.unwrap(), Some(zone));
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
        denied(gateway, &[&format!("SELECT 1 FROM {table}")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_empties_outbox_and_spool_and_sees_nothing_else() {
    let scratch = Scratch::new().await;
    let owner = &mut scratch.owner().await;
    let zone = fixture::zone(owner, "a").await;
    outbox::append(owner, &fixture::feed_event(zone, 1.into()), b"x", None)
        .await
        .unwrap();
    spool::append(
        owner,
        zone,
        fixture::event_id(),
        "caracal.audit.events",
        b"x",
        None,
    )
    .await
    .unwrap();
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
    spool::delete(relay, &spooled.iter().map(|row| row.id).collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!((rows.len(), spooled.len()), (1, 1));
    let (_, seen) = outbox::now_and_snapshot(relay).await.unwrap();
    assert!(!outbox::pending_in(relay, &seen).await.unwrap());
    outbox::maintain_partitions(relay).await.unwrap();
    denied(
        relay,
        &[
            "SELECT 1 FROM anchors",
            "SELECT 1 FROM zones",
            "INSERT INTO outbox DEFAULT VALUES",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ingester_extends_the_ledger_and_sees_no_configuration() {
    let scratch = Scratch::new().await;
    let zone = fixture::zone(&mut scratch.owner().await, "a").await;
    let auditor = &mut scratch.as_role("caracal_audit").await;
    assert_eq!(audit::head_for_update(auditor, zone).await.unwrap(), None);
    assert_eq!(zones::id_by_slug(auditor, "a").await.unwrap(), Some(zone));
    denied(
        auditor,
        &[
            "SELECT 1 FROM applications",
            "SELECT name FROM zones",
            "DELETE FROM audit_heads",
        ],
    )
    .await;
}

async fn denied(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        let error = sql_query(*statement).execute(conn).await.expect_err(statement);
        assert!(
            error.to_string().starts_with("permission denied"),
            "{statement}: {error}"
        );
    }
}
