use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::id::{OutboxId, PolicySetId, PolicySetVersionId, ZoneId};
use caracal_storage::activation_loads::{self, Load};
use caracal_storage::policy_sets::{self, Activation};
use caracal_storage::{Conn, policies, zones};

async fn activation(
    conn: &mut Conn,
    zone_id: ZoneId,
    set: PolicySetId,
    version: PolicySetVersionId,
) -> Activation {
    Activation {
        zone_id,
        policy_set_id: set,
        version_id: version,
        shadow_version_id: None,
        outbox_id: OutboxId::mint(&fixture::clock()),
        epoch: zones::bump_epoch(conn, zone_id).await.unwrap().epoch,
        activated_by: "tests".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn activating_one_set_replaces_the_other_and_moves_both_versions() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let policy = fixture::policy(conn, zone, "p").await;
    let (one, one_v) = fixture::policy_set(conn, zone, "one", vec![policy]).await;
    let (two, two_v) = fixture::policy_set(conn, zone, "two", vec![policy]).await;
    let first = activation(conn, zone, one, one_v).await;
    policy_sets::activate(conn, &first).await.unwrap();
    let version = policy_sets::get(conn, zone, one).await.unwrap().version;
    let second = activation(conn, zone, two, two_v).await;
    policy_sets::activate(conn, &second).await.unwrap();
    assert_eq!(
        policy_sets::get(conn, zone, one).await.unwrap().version,
        version + 1
    );
    let active = policy_sets::activation(conn, zone).await.unwrap().unwrap();
    assert_eq!(
        (active.policy_set_id, active.active_version_id, active.epoch),
        (two, two_v, second.epoch)
    );

    let mismatched = activation(conn, zone, one, two_v).await;
    let refused = policy_sets::activate(conn, &mismatched).await.unwrap_err();
    assert_eq!(refused.conflict(), Some("zone_activations_active"));

    assert!(!policy_sets::deactivate(conn, zone, one).await.unwrap());
    assert!(policy_sets::deactivate(conn, zone, two).await.unwrap());
    assert_eq!(policy_sets::activation(conn, zone).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_says_which_of_its_policies_were_archived_since() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let (kept, dropped) = (
        fixture::policy(conn, zone, "kept").await,
        fixture::policy(conn, zone, "dropped").await,
    );
    let (set, version) = fixture::policy_set(conn, zone, "set", vec![dropped, kept]).await;
    let policy = policies::find_version(conn, zone, dropped)
        .await
        .unwrap()
        .unwrap()
        .policy_id;
    assert_eq!(
        policies::find_versions(conn, zone, &[kept, dropped])
            .await
            .unwrap()
            .len(),
        2
    );
    policies::archive(conn, zone, policy).await.unwrap();
    assert_eq!(
        policies::find_versions(conn, zone, &[kept, dropped])
            .await
            .unwrap()
            .len(),
        1
    );
    let lines = policy_sets::manifest(conn, zone, version).await.unwrap();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line.position, line.policy_version_id, line.policy_archived))
        .collect();
    assert_eq!(seen, [(0, dropped, true), (1, kept, false)]);
    let second = fixture::new_set_version(zone, set, vec![kept]);
    assert_eq!(
        policy_sets::insert_version(conn, &second).await.unwrap().version,
        2
    );
    assert_eq!(policy_sets::versions(conn, zone, set).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_reports_its_last_load() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let policy = fixture::policy(conn, zone, "p").await;
    let (_, version) = fixture::policy_set(conn, zone, "one", vec![policy]).await;
    for failure in [Some("policy_error".to_owned()), None] {
        let load = Load {
            zone_id: zone,
            instance: "sts-1".into(),
            version_id: version,
            epoch: 7.into(),
            failure,
        };
        activation_loads::record(conn, &load).await.unwrap();
    }
    let loads = activation_loads::list(conn, zone).await.unwrap();
    assert_eq!(
        loads
            .iter()
            .map(|load| (load.version_id, &load.detail))
            .collect::<Vec<_>>(),
        [(version, &None)]
    );
}
