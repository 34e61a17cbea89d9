use super::given::{ABSENT, application, deeds, rows, session, session_below, sql, tally, viewer};
use super::{Zone, alone};
use futures::future::join_all;
use serde_json::{Value, json};

fn ids(answer: &Value) -> Vec<String> {
    let rows = answer["rows"].as_array().expect("rows").iter();
    rows.filter_map(|row| row["id"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_newest_first_by_status_and_subject() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "List").await;
    let app = application(&zone, "agent").await;
    let mut made = Vec::new();
    for subject in ["ada", "bob", "ada", "cyd"] {
        made.push(session(&stack, &zone, &app, subject).await);
    }
    made.reverse();
    let all = zone.get("sessions").await.expect(200);
    assert_eq!((ids(&all), &all["next_cursor"]), (made.clone(), &Value::Null));
    assert_eq!(all["rows"][0]["session_type"], "user");
    sql(
        &stack,
        &format!(
            "UPDATE sessions SET authenticated_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
             WHERE id = '{}'",
            made[0]
        ),
    )
    .await;
    let ended = zone
        .post(&format!("sessions/{}/revoke", made[1]), &json!({}))
        .await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    for (query, wanted) in [
        ("status=expired", vec![&made[0]]),
        ("status=revoked", vec![&made[1]]),
        ("status=active", vec![&made[2], &made[3]]),
        ("subject_id=ada", vec![&made[1], &made[3]]),
        ("subject_id=ada&status=active", vec![&made[3]]),
        ("subject_id=nobody", vec![]),
    ] {
        let listed = zone.get(&format!("sessions?{query}")).await.expect(200);
        assert_eq!(ids(&listed).iter().collect::<Vec<_>>(), wanted, "{query}");
    }
    for query in ["status=gone", "limit=0", "limit=1001", "limit=x", "subject=ada"] {
        assert_eq!(
            zone.get(&format!("sessions?{query}")).await.member("error"),
            "invalid_query",
            "{query}"
        );
    }
    assert_eq!(
        zone.get("sessions?cursor=x").await.member("error"),
        "invalid_cursor"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_shows_each_session_once_while_others_come() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Pages").await, Zone::new(&stack, "Other").await);
    let app = application(&zone, "agent").await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(session(&stack, &zone, &app, "ada").await);
    }
    made.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for page in 0..4 {
        let listed = zone.get(&format!("sessions?limit=2{cursor}")).await.expect(200);
        seen.extend(ids(&listed));
        session(&stack, &zone, &app, "late").await;
        match listed["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => assert_eq!(page, 3),
        }
    }
    assert_eq!(seen, made);
    assert_eq!(
        other
            .get(&format!("sessions?{}", &cursor[1..]))
            .await
            .member("error"),
        "invalid_cursor"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_revocations_one_counts() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Race").await;
    let app = application(&zone, "agent").await;
    let id = session(&stack, &zone, &app, "ada").await;
    let (path, none) = (format!("sessions/{id}/revoke"), json!({}));
    let answers = join_all((0..50).map(|_| zone.post(&path, &none))).await;
    assert_eq!(tally(&answers, 200, ""), 50);
    assert!(answers.iter().all(|answer| answer.member("status") == "revoked"));
    assert_eq!(deeds(&stack, &zone, "session.revoke").await, 1);
    assert_eq!(
        rows(&stack, "outbox", &zone, "subject = 'caracal.sessions.revoke'").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_sessions_are_absent_and_viewers_end_none() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Theirs").await);
    let app = application(&other, "agent").await;
    let theirs = session(&stack, &other, &app, "ada").await;
    for id in ABSENT.iter().copied().chain([theirs.as_str()]) {
        for refused in [
            zone.post(&format!("sessions/{id}/revoke"), &json!({})).await,
            zone.get(&format!("sessions/{id}")).await,
        ] {
            assert_eq!(
                (refused.status, refused.member("error")),
                (404, "session_not_found"),
                "{id}"
            );
        }
    }
    let item = format!("sessions/{theirs}");
    let listed = || async { other.get("sessions").await.expect(200)["rows"][0].clone() };
    assert_eq!(other.get(&item).await.expect(200), listed().await);
    let viewer = viewer(&stack, &other).await;
    let refused = viewer
        .post(&other.at(&format!("sessions/{theirs}/revoke")), &json!({}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_read_only")
    );
    assert_eq!(
        other.get("sessions?status=active").await.expect(200)["rows"][0]["id"],
        json!(theirs)
    );
    assert_eq!(
        other.post(&format!("{item}/revoke"), &json!({})).await.status,
        200
    );
    let ended = other.get(&item).await.expect(200);
    assert_eq!((&ended["status"], &ended), (&json!("revoked"), &listed().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_session_ends_the_whole_line_below_it_and_nothing_beside_it() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Lines").await;
    let app = application(&zone, "agent").await;
    let root = session(&stack, &zone, &app, "ada").await;
    let middle = session_below(&stack, &zone, &app, &app, (&root, &root)).await;
    let beside = session_below(&stack, &zone, &app, &app, (&root, &root)).await;
    let leaf = session_below(&stack, &zone, &app, &app, (&middle, &root)).await;
    let later = format!("UPDATE sessions SET expires_at = '2099-01-01T00:00:00Z' WHERE id = '{leaf}'");
    sql(&stack, &later).await;
    let shown = zone.get("sessions").await.expect(200);
    let of = |id: &str, field: &str| {
        let mut rows = shown["rows"].as_array().expect("rows").iter();
        rows.find(|row| row["id"] == id)?.get(field).cloned()
    };
    for (id, parent) in [
        (&root, Value::Null),
        (&middle, json!(root)),
        (&beside, json!(root)),
        (&leaf, json!(middle)),
    ] {
        assert_eq!(of(id, "parent_id"), Some(parent), "{shown}");
    }
    assert_eq!(of(&leaf, "expires_at"), Some(json!("2099-01-01T00:00:00Z")));
    let end = async |id: &str| zone.post(&format!("sessions/{id}/revoke"), &json!({})).await;
    let active = async || {
        let active = zone.get("sessions?status=active").await.expect(200);
        let mut active = ids(&active);
        active.sort();
        active
    };
    assert_eq!(end(&middle).await.status, 200);
    let mut left = vec![root.clone(), beside.clone()];
    left.sort();
    assert_eq!(active().await, left);
    for id in [&middle, &leaf] {
        let anchor = format!("kind = 'sid' AND value = '{id}'");
        assert_eq!(rows(&stack, "anchors", &zone, &anchor).await, 1, "{id}");
    }
    assert_eq!(end(&root).await.status, 200);
    assert_eq!(active().await, Vec::<String>::new());
    let anchor = format!("kind = 'root_sid' AND value = '{root}'");
    assert_eq!(rows(&stack, "anchors", &zone, &anchor).await, 1);
}
