use crate::fixture;
use crate::scratch::Scratch;
use caracal_domain::{Anchor, AnchorKind};
use caracal_storage::sessions::{self, SessionFilter, SessionState, SessionStatus, Whose};
use caracal_storage::{Page, anchors};
use chrono::Duration;
use std::collections::BTreeSet;

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

    let ended = sessions::end(conn, zone, Whose::Session(revoked), "asked")
        .await
        .unwrap();
    assert_eq!(
        ended.iter().map(|session| session.id).collect::<Vec<_>>(),
        [revoked]
    );
    let row = sessions::find(conn, zone, revoked).await.unwrap();
    let now = fixture::now();
    let state = row.as_ref().map(|row| row.state(now));
    assert!(matches!(state, Some(SessionState::Revoked { .. })));
    let unknown = fixture::new_session(zone, application).id;
    for id in [revoked, unknown] {
        let again = sessions::end(conn, zone, Whose::Session(id), "again").await;
        assert_eq!(again.unwrap(), []);
    }
    let after = sessions::find(conn, zone, revoked).await.unwrap();
    assert_eq!(after, row, "a second revocation changes nothing");

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
async fn no_session_comes_to_be_that_a_cut_off_refuses_already() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let application = fixture::application(conn, zone, "app").await;
    let cut_off = |kind, value: &str, epoch: i64| Anchor {
        kind,
        value: value.to_owned(),
        epoch: epoch.into(),
        expires_at: fixture::now() + Duration::hours(1),
    };
    for anchor in [
        cut_off(AnchorKind::Subject, "ada", 5),
        cut_off(AnchorKind::Application, &application.to_string(), 3),
        cut_off(AnchorKind::Sid, "bob", 99),
    ] {
        anchors::insert(conn, zone, &anchor).await.unwrap();
    }
    for (subject, epoch, opens) in [
        ("ada", 4, false),
        ("ada", 5, true),
        ("bob", 2, false),
        ("bob", 3, true),
    ] {
        let mut new = fixture::new_session(zone, application);
        (new.subject_id, new.epoch) = (subject.to_owned(), i64::from(epoch).into());
        let inserted = sessions::insert(conn, &new).await;
        let refused = inserted
            .err()
            .and_then(|error| error.conflict().map(str::to_owned));
        assert_eq!(
            refused.as_deref(),
            (!opens).then_some(sessions::REFUSED_BY),
            "{subject} at {epoch}"
        );
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
    sessions::end(conn, zone, Whose::Session(root), "asked")
        .await
        .unwrap();
    assert!(
        sessions::find(conn, zone, child.id)
            .await
            .unwrap()
            .unwrap()
            .revoked_at
            .is_some()
    );

    fixture::session(conn, zone, application).await;
    let subject = application.to_string();
    let ended = sessions::end(conn, zone, Whose::Subject(&subject), "kill")
        .await
        .unwrap();
    assert_eq!(ended.len(), 1);
    let again = sessions::end(conn, zone, Whose::Application(application), "kill")
        .await
        .unwrap();
    assert_eq!(again, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_below_ends_too_and_is_named_where_no_cut_off_reaches_it() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let application = fixture::application(conn, zone, "app").await;
    let mut user = fixture::new_session(zone, application);
    user.subject_id = "ada".into();
    let mut below = fixture::new_session(zone, application);
    (below.parent_id, below.root_id) = (Some(user.id), user.id);
    let mut deeper = fixture::new_session(zone, application);
    (deeper.parent_id, deeper.root_id) = (Some(below.id), user.id);
    let beside = fixture::new_session(zone, application);
    for session in [&user, &below, &deeper, &beside] {
        sessions::insert(conn, session).await.unwrap();
    }
    let whose = Whose::Subject("ada");
    let ended = sessions::end(conn, zone, whose, "kill").await.unwrap();
    let ids: BTreeSet<_> = ended.iter().map(|session| session.id.to_string()).collect();
    let all = [user.id, below.id, deeper.id].map(|id| id.to_string());
    assert_eq!(ids, BTreeSet::from(all));
    let named: BTreeSet<_> = ended
        .iter()
        .flat_map(|session| session.anchors(whose))
        .map(|(kind, value, _)| (kind, value))
        .collect();
    let below = [below.id, deeper.id].map(|id| (AnchorKind::Sid, id.to_string()));
    assert_eq!(named, BTreeSet::from(below), "nothing hangs on the root");
    let left = sessions::find(conn, zone, beside.id).await.unwrap().unwrap();
    assert_eq!(left.revoked_at, None);
}
