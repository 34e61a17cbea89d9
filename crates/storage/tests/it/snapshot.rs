use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::anchor::{Anchor, AnchorKind};
use caracal_domain::id::{OutboxId, ResourceId, ZoneId};
use caracal_domain::zone::{KeyStatus, Sealed};
use caracal_domain::{Epoch, ResourceIdentifier};
use caracal_storage::policy_sets::{self, Activation};
use caracal_storage::resources::{self, ResourceChanges};
use caracal_storage::zones::{self, ZoneChanges};
use caracal_storage::{Database, anchors, applications, snapshot};
use chrono::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_everything_a_decision_needs_and_nothing_archived() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let stranger = fixture::zone(conn, "b").await;
    fixture::application(conn, stranger, "theirs").await;
    let application = fixture::application(conn, zone, "app").await;
    let archived = fixture::application(conn, zone, "old").await;
    applications::archive(conn, zone, archived).await.unwrap();
    let provider = fixture::provider(conn, zone, "p").await;
    fixture::resource(conn, zone, "resource://a").await;
    let (one, two) = (
        fixture::policy(conn, zone, "one").await,
        fixture::policy(conn, zone, "two").await,
    );
    let (set, version) = fixture::policy_set(conn, zone, "set", vec![two, one]).await;
    let (other_set, shadow) = fixture::policy_set(conn, zone, "other", vec![one]).await;
    assert!(
        snapshot::load(conn, zone)
            .await
            .unwrap()
            .unwrap()
            .active
            .is_none()
    );

    let activation = Activation {
        zone_id: zone,
        policy_set_id: set,
        version_id: version,
        shadow_version_id: Some(shadow),
        outbox_id: OutboxId::mint(&fixture::clock()),
        epoch: zones::bump_epoch(conn, zone).await.unwrap().epoch,
        activated_by: "tests".into(),
    };
    policy_sets::activate(conn, &activation).await.unwrap();
    let anchor = Anchor {
        kind: AnchorKind::Sid,
        value: "s".into(),
        epoch: Epoch::from(1),
        expires_at: fixture::now() + Duration::hours(1),
    };
    anchors::insert(conn, zone, &anchor).await.unwrap();

    let loaded = snapshot::load(conn, zone).await.unwrap().unwrap();
    assert_eq!(
        (loaded.id, loaded.slug.as_str(), loaded.epoch),
        (zone, "a", activation.epoch)
    );
    assert_eq!(loaded.mint_rate_per_minute, 1000);
    assert_eq!(
        loaded.sealed_dek,
        Sealed {
            key_id: "k1".into(),
            bytes: b"dek".to_vec()
        }
    );
    assert_eq!(loaded.keys.len(), 2);
    assert_eq!(loaded.active_key().map(|key| key.status), Some(KeyStatus::Active));
    assert_eq!(
        loaded.applications.keys().copied().collect::<Vec<_>>(),
        [application]
    );
    assert_eq!(
        loaded
            .providers
            .get(&provider)
            .and_then(|p| p.sealed_secrets.clone()),
        Some(fixture::sealed("secrets"))
    );
    let asked: ResourceIdentifier = "resource://a".parse().unwrap();
    assert_eq!(
        loaded
            .resource(&asked)
            .map(|resource| resource.scopes.to_string()),
        Some("read write".into())
    );
    let active = loaded.active.as_ref().unwrap();
    assert_eq!((active.policy_set_id, active.version_id), (set, version));
    assert_eq!(
        active
            .policies
            .iter()
            .map(|entry| entry.policy_version_id)
            .collect::<Vec<_>>(),
        [two, one]
    );
    let observed = loaded.shadow.as_ref().unwrap();
    assert_eq!((observed.policy_set_id, observed.version_id), (other_set, shadow));
    assert_eq!(loaded.anchors.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_part_of_a_snapshot_shows_the_same_moment() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let resource = fixture::resource(conn, zone, "resource://a").await;
    let changes = ResourceChanges {
        name: Some("0".into()),
        ..ResourceChanges::default()
    };
    resources::update(conn, zone, resource, &changes).await.unwrap();
    zones::update(
        conn,
        zone,
        &ZoneChanges {
            slug: Some("z-0".into()),
            ..ZoneChanges::default()
        },
    )
    .await
    .unwrap();
    let turns = Arc::new(AtomicU32::new(0));
    let writer = tokio::spawn(keep_renaming(
        scratch.database.clone(),
        zone,
        resource,
        Arc::clone(&turns),
    ));
    let (mut last, mut loads) = (Epoch::default(), 0);
    while loads < 100 || turns.load(Ordering::Relaxed) < 20 {
        loads += 1;
        let loaded = snapshot::load(conn, zone).await.unwrap().unwrap();
        let resource = loaded.resources.first().unwrap();
        assert_eq!(loaded.slug, format!("z-{}", resource.name));
        assert!(loaded.epoch >= last);
        last = loaded.epoch;
    }
    writer.abort();
}

/// Gives the zone and its resource the same number, turn after turn.
async fn keep_renaming(database: Database, zone: ZoneId, resource: ResourceId, turns: Arc<AtomicU32>) {
    loop {
        let turn = turns.fetch_add(1, Ordering::Relaxed) + 1;
        let mut tx = database.begin().await.unwrap();
        let slug = ZoneChanges {
            slug: Some(format!("z-{turn}")),
            ..ZoneChanges::default()
        };
        zones::update(&mut tx, zone, &slug).await.unwrap();
        let name = ResourceChanges {
            name: Some(turn.to_string()),
            ..ResourceChanges::default()
        };
        resources::update(&mut tx, zone, resource, &name).await.unwrap();
        zones::bump_epoch(&tx, zone).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_loads_in_a_few_milliseconds() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    for n in 0..20 {
        fixture::application(conn, zone, &format!("app-{n}")).await;
        fixture::resource(conn, zone, &format!("resource://{n}")).await;
    }
    snapshot::load(conn, zone).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..50 {
        let before = Instant::now();
        snapshot::load(conn, zone).await.unwrap();
        times.push(before.elapsed());
    }
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap();
    eprintln!("snapshot of 40 objects: median {median:?}");
    assert!(median < std::time::Duration::from_millis(50), "{median:?}");
}
