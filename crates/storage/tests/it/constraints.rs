use crate::fixture::{self, now};
use crate::scratch::Scratch;
use caracal_domain::zone::{AuthMode, CredentialType, KeyStatus};
use caracal_storage::applications::{self, ApplicationChanges};
use caracal_storage::policies;
use caracal_storage::resources::{self, ResourceChanges};
use caracal_storage::zones::{self, ZoneChanges};
use caracal_storage::{Error, keys, policy_sets, sessions};
use diesel::sql_query;
use diesel_async::RunQueryDsl;

#[tokio::test(flavor = "multi_thread")]
async fn no_row_can_refer_into_another_zone() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let (ours, theirs) = (
        fixture::zone(conn, "ours").await,
        fixture::zone(conn, "theirs").await,
    );
    let their_application = fixture::application(conn, theirs, "app").await;
    let their_provider = fixture::provider(conn, theirs, "provider").await;
    let their_policy = fixture::policy(conn, theirs, "policy").await;

    let mut resource = fixture::new_resource(ours, "resource://a");
    resource.credential_provider_id = Some(their_provider);
    assert_eq!(
        resources::insert(conn, &resource).await.unwrap_err().conflict(),
        Some("resources_provider")
    );

    let session = fixture::new_session(ours, their_application);
    assert_eq!(
        sessions::insert(conn, &session).await.unwrap_err().conflict(),
        Some("sessions_application")
    );

    let (set, _) = fixture::policy_set(conn, ours, "set", vec![]).await;
    let version = fixture::new_set_version(ours, set, vec![their_policy]);
    let refused = policy_sets::insert_version(conn, &version).await.unwrap_err();
    assert_eq!(refused.conflict(), Some("policy_set_manifest_policy_version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_unique_among_the_living_only() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    assert_eq!(
        zones::insert(conn, &fixture::new_zone("a"))
            .await
            .unwrap_err()
            .conflict(),
        Some("zones_slug_live")
    );
    assert_eq!(zones::free_slug(conn, "a").await.unwrap(), "a-2");

    let first = fixture::application(conn, zone, "app").await;
    let again = fixture::new_application(zone, "app");
    assert_eq!(
        applications::insert(conn, &again).await.unwrap_err().conflict(),
        Some("applications_name_live")
    );
    assert!(applications::archive(conn, zone, first).await.unwrap());
    assert!(
        !applications::archive(conn, zone, first).await.unwrap(),
        "only once"
    );
    applications::insert(conn, &again).await.unwrap();
    assert_eq!(applications::find(conn, zone, first).await.unwrap(), None);

    assert!(zones::archive(conn, zone).await.unwrap());
    assert_eq!(zones::free_slug(conn, "a").await.unwrap(), "a");
    fixture::zone(conn, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_has_one_active_and_one_next_key() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    for (status, index) in [
        (KeyStatus::Active, "signing_keys_one_active"),
        (KeyStatus::Next, "signing_keys_one_next"),
    ] {
        let refused = keys::insert_signing_keys(conn, zone, &[&fixture::signing_key(status)])
            .await
            .unwrap_err();
        assert_eq!(refused.conflict(), Some(index));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_states_are_refused() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;

    let mut secretless = fixture::new_application(zone, "x");
    secretless.secret_hash = None;
    assert_eq!(
        applications::insert(conn, &secretless)
            .await
            .unwrap_err()
            .conflict(),
        Some("applications_secret")
    );
    let mut endless = fixture::new_application(zone, "x");
    endless.expires_at = Some(now());
    assert_eq!(
        applications::insert(conn, &endless).await.unwrap_err().conflict(),
        Some("applications_dcr_expires")
    );
    let mut unprovided = fixture::new_resource(zone, "resource://a");
    unprovided.auth_mode = AuthMode::ProviderApikey;
    assert_eq!(
        resources::insert(conn, &unprovided).await.unwrap_err().conflict(),
        Some("resources_mode_has_provider")
    );

    let mut system = fixture::new_zone("caracal-sys");
    assert_eq!(
        zones::insert(conn, &system).await.unwrap_err().conflict(),
        Some("zones_system_zone_protected")
    );
    system.is_system = true;
    zones::insert(conn, &system).await.unwrap();
    assert_eq!(
        zones::archive(conn, system.id).await.unwrap_err().conflict(),
        Some("zones_system_zone_protected")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_immutable_stays_so_even_for_the_owner() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let version = fixture::policy(conn, zone, "policy").await;
    fixture::policy_set(conn, zone, "set", vec![version]).await;
    for statement in [
        "UPDATE policy_versions SET created_by = 'x'",
        "UPDATE policy_modules SET opa_version = 'x'",
        "UPDATE policy_set_versions SET created_by = 'x'",
        "UPDATE policy_set_manifest SET position = 7",
    ] {
        assert!(sql_query(statement).execute(conn).await.is_err(), "{statement}");
    }
    let policy = policies::find_version(conn, zone, version)
        .await
        .unwrap()
        .unwrap()
        .policy_id;
    let mut lying = fixture::new_policy_version(zone, policy);
    lying.content_sha256 = "00".repeat(32);
    assert_eq!(
        policies::insert_version(conn, &lying)
            .await
            .unwrap_err()
            .conflict(),
        Some("policy_versions_hash")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_moves_the_version_and_touches_nothing_else() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let before = zones::get(conn, zone).await.unwrap();
    let changes = ZoneChanges {
        name: Some("b".into()),
        ..ZoneChanges::default()
    };
    let after = zones::update(conn, zone, &changes).await.unwrap();
    assert_eq!((after.name.as_str(), after.version), ("b", before.version + 1));
    assert_eq!(after.slug, before.slug);
    let bumped = zones::bump_epoch(conn, zone).await.unwrap();
    assert_eq!(bumped.previous, before.epoch);
    assert_eq!(
        zones::get(conn, zone).await.unwrap().version,
        after.version,
        "an epoch is no visible change"
    );

    let application = fixture::application(conn, zone, "app").await;
    let changes = ApplicationChanges {
        credential_type: Some(CredentialType::Public),
        secret_hash: Some(None),
        ..ApplicationChanges::default()
    };
    let row = applications::update(conn, zone, application, &changes)
        .await
        .unwrap();
    assert_eq!(
        (row.credential_type, row.secret_hash, row.version),
        (CredentialType::Public, None, 2)
    );

    let provider = fixture::provider(conn, zone, "p").await;
    let resource = fixture::resource(conn, zone, "resource://a").await;
    let bound = ResourceChanges {
        credential_provider_id: Some(Some(provider)),
        auth_mode: Some(AuthMode::ProviderApikey),
        ..ResourceChanges::default()
    };
    let row = resources::update(conn, zone, resource, &bound).await.unwrap();
    assert_eq!(
        (row.credential_provider_id, row.auth_mode),
        (Some(provider), AuthMode::ProviderApikey)
    );
    let using = resources::of_provider(conn, zone, provider, 2).await.unwrap();
    assert_eq!(using.iter().map(|row| row.id).collect::<Vec<_>>(), [resource]);

    let gone = applications::update(conn, zone, fixture::new_application(zone, "x").id, &changes).await;
    assert!(matches!(gone, Err(Error::NotFound("application"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_versions_are_numbered_without_gaps_by_concurrent_writers() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let version = fixture::policy(conn, zone, "policy").await;
    let policy = policies::find_version(conn, zone, version)
        .await
        .unwrap()
        .unwrap()
        .policy_id;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let database = scratch.database.clone();
            tokio::spawn(async move {
                let mut tx = database.begin().await.unwrap();
                policies::insert_version(&mut tx, &fixture::new_policy_version(zone, policy))
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let numbers: Vec<i32> = policies::versions(conn, zone, policy)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.version)
        .collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
}
