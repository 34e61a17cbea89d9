use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::decision::ChallengeType;
use caracal_domain::id::{ApplicationId, ChallengeId, ZoneId};
use caracal_storage::step_up::{self, Failed, NewChallenge};
use caracal_storage::{Database, Page};
use chrono::Duration;
use diesel_async::RunQueryDsl;
use futures::future::join_all;
use serde_json::json;

fn new(zone: ZoneId, application: ApplicationId) -> NewChallenge {
    NewChallenge {
        zone_id: zone,
        id: ChallengeId::mint(&fixture::clock()),
        application_id: application,
        session_id: None,
        agent_session_id: None,
        challenge_type: ChallengeType::Mfa,
        resources: vec!["resource://orders".parse().unwrap()],
        scopes: "orders:write"
            .parse::<caracal_domain::Scope>()
            .into_iter()
            .collect(),
        secret_sha256: [7; 32],
        metadata_json: json!({}),
        expires_at: fixture::now() + Duration::minutes(5),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_satisfied_and_then_consumed_once_each() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let application = fixture::application(conn, zone, "app").await;
    let row = step_up::insert(conn, &new(zone, application)).await.unwrap();
    assert_eq!(
        step_up::consume(conn, zone, row.id).await.unwrap(),
        None,
        "not satisfied"
    );
    let satisfied = step_up::satisfy(conn, zone, row.id, "grace")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(satisfied.satisfied_by.as_deref(), Some("grace"));
    assert_eq!(step_up::satisfy(conn, zone, row.id, "eve").await.unwrap(), None);
    let winners = join_all((0..20).map(|_| consume(&scratch.database, zone, row.id))).await;
    assert_eq!(winners.into_iter().filter(|won| *won).count(), 1);
    let stored = step_up::find(conn, zone, row.id).await.unwrap().unwrap();
    assert!(stored.consumed_at.is_some() && stored.satisfied_by.as_deref() == Some("grace"));
    assert_eq!(
        step_up::list(conn, zone, &Page::first(10)).await.unwrap(),
        [stored]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_foreign_challenge_is_neither_satisfied_nor_consumed() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let other = fixture::zone(conn, "b").await;
    let application = fixture::application(conn, zone, "app").await;
    let mut late = new(zone, application);
    late.expires_at = fixture::now() - Duration::seconds(1);
    let late = step_up::insert(conn, &late).await.unwrap();
    let live = step_up::insert(conn, &new(zone, application)).await.unwrap();
    for (zone, id) in [(zone, late.id), (other, live.id)] {
        assert_eq!(step_up::satisfy(conn, zone, id, "x").await.unwrap(), None);
        assert_eq!(step_up::consume(conn, zone, id).await.unwrap(), None);
    }
    let mut foreign = new(other, application);
    foreign.id = ChallengeId::mint(&fixture::clock());
    let refused = step_up::insert(conn, &foreign).await.unwrap_err();
    assert_eq!(refused.conflict(), Some("step_up_challenges_application"));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_responses_in_any_two_minutes_rest_a_challenge() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let application = fixture::application(conn, zone, "app").await;
    let row = step_up::insert(conn, &new(zone, application)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            step_up::fail(conn, zone, row.id, 5, fixture::now())
                .await
                .unwrap(),
            Failed::Counted
        );
    }
    // One that no longer counts, one that still does: a window that began with the first would forget both.
    let age = "UPDATE step_up_challenges SET failed_at = ARRAY[now() - interval '130 seconds', now() - interval '100 seconds']";
    diesel::sql_query(age).execute(conn).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            step_up::fail(conn, zone, row.id, 5, fixture::now())
                .await
                .unwrap(),
            Failed::Counted
        );
    }
    let fifth = step_up::fail(conn, zone, row.id, 5, fixture::now())
        .await
        .unwrap();
    assert_eq!(fifth, Failed::Rests, "the fifth within two minutes");
    let rests = step_up::find(conn, zone, row.id)
        .await
        .unwrap()
        .unwrap()
        .rests_until
        .unwrap();
    assert!(rests > fixture::now() + Duration::minutes(4));
    let beyond = step_up::fail(conn, zone, row.id, 5, fixture::now())
        .await
        .unwrap();
    assert_eq!(
        beyond,
        Failed::Rested(rests),
        "what comes meanwhile does not count"
    );
    let over = "UPDATE step_up_challenges SET rests_until = now() - interval '1 second'";
    diesel::sql_query(over).execute(conn).await.unwrap();
    let anew = step_up::fail(conn, zone, row.id, 5, fixture::now())
        .await
        .unwrap();
    assert_eq!(anew, Failed::Counted, "it counts anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_wrong_responses_at_once_no_more_than_five_count() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let application = fixture::application(conn, zone, "app").await;
    let row = step_up::insert(conn, &new(zone, application)).await.unwrap();
    let at_once = (0..20).map(|_| async {
        let mut conn = scratch.database.acquire().await.unwrap();
        step_up::fail(&mut conn, zone, row.id, 5, fixture::now())
            .await
            .unwrap()
    });
    let failed = join_all(at_once).await;
    let counted = failed
        .iter()
        .filter(|failed| !matches!(failed, Failed::Rested(_)));
    assert_eq!(counted.count(), 5, "{failed:?}");
}

async fn consume(database: &Database, zone: ZoneId, id: ChallengeId) -> bool {
    let mut conn = database.acquire().await.unwrap();
    step_up::consume(&mut conn, zone, id).await.unwrap().is_some()
}
