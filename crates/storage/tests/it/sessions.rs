use crate::fixture;
use crate::scratch::Scratch;
use caracal_storage::Page;
use caracal_storage::sessions::{self, SessionFilter, SessionState, SessionStatus};
use chrono::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_active_then_revoked_or_expired_and_found_by_that() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let application = fixture::application(conn, zone, "app").await;
    let live = fixture::session(conn, zone, application).await;
    let revoked = fixture::session(conn, zone, application).await;
    let mut past = fixture::new_session(zone, application);
    past.authenticated_at -= Duration::hours(2);
    past.expires_at = past.authenticated_at + Duration::hours(1);
    sessions::insert(conn, &past).await.unwrap();

    let row = sessions::revoke(conn, zone, revoked, "asked")
        .await
        .unwrap()
        .unwrap();
    let now = fixture::now();
    assert!(matches!(row.state(now), SessionState::Revoked { .. }));
    let again = sessions::revoke(conn, zone, revoked, "again")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, row, "a second revocation changes nothing");
    let unknown = fixture::new_session(zone, application).id;
    assert_eq!(
        sessions::revoke(conn, zone, unknown, "asked").await.unwrap(),
        None
    );

    for (status, expected) in [
        (SessionStatus::Active, live),
        (SessionStatus::Revoked, revoked),
        (SessionStatus::Expired, past.id),
    ] {
        let filter = SessionFilter {
            status: Some(status),
            subject_id: Some(application.to_string()),
        };
        let rows = sessions::list(conn, zone, &filter, &Page::first(10))
            .await
            .unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [expected]);
        assert_eq!(rows.first().map(|row| row.state(now).status()), Some(status));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_root_revokes_the_sessions_below_it() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let application = fixture::application(conn, zone, "app").await;
    let root = fixture::session(conn, zone, application).await;
    let mut child = fixture::new_session(zone, application);
    (child.parent_id, child.root_id) = (Some(root), root);
    sessions::insert(conn, &child).await.unwrap();
    sessions::revoke(conn, zone, root, "asked").await.unwrap();
    assert!(
        sessions::find(conn, zone, child.id)
            .await
            .unwrap()
            .unwrap()
            .revoked_at
            .is_some()
    );

    fixture::session(conn, zone, application).await;
    let ended = sessions::revoke_of_subject(conn, zone, &application.to_string(), "kill")
        .await
        .unwrap();
    assert_eq!(ended, 1);
    assert_eq!(
        sessions::revoke_of_application(conn, zone, application, "kill")
            .await
            .unwrap(),
        0
    );
}
