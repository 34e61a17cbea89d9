use super::given::{agent, all_invalid, application, deeds, edge, rows, session, session_below, sql, viewer};
use super::{Zone, alone};
use futures::future::join_all;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_ends_everything_a_subject_holds() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Kill").await;
    let app = application(&zone, "agent").await;
    let (ada, bob) = (
        session(&stack, &zone, &app, "ada").await,
        session(&stack, &zone, &app, "bob").await,
    );
    session(&stack, &zone, &app, "ada").await;
    let root = agent(&stack, &zone, &app, Some(&ada), None).await;
    let child = agent(&stack, &zone, &app, None, Some(&root)).await;
    let bobs = agent(&stack, &zone, &app, Some(&bob), None).await;
    let third = agent(&stack, &zone, &app, Some(&bob), None).await;
    let first = edge(&stack, &zone, (&child, &app), (&bobs, &app), &[]).await;
    edge(&stack, &zone, (&bobs, &app), (&third, &app), &[&first]).await;
    let untouched = edge(&stack, &zone, (&third, &app), (&bobs, &app), &[]).await;
    let body = json!({"identifier": "idp", "kind": "apikey", "secret_config": {"api_key": "k"}});
    let provider = zone.post("providers", &body).await.member("id").to_owned();
    let body = json!({"identifier": "resource://r", "scopes": ["r:read"]});
    let resource = zone.post("resources", &body).await.member("id").to_owned();
    sql(
        &stack,
        &format!(
            "INSERT INTO provider_connections
               (zone_id, id, user_id, resource_id, provider_id, tokens_key_id, tokens_sealed)
             VALUES ('{}', gen_random_uuid(), 'ada', '{resource}', '{provider}', '1', 'x')",
            zone.id
        ),
    )
    .await;

    let ended = zone.post("subjects/revoke", &json!({"subject_id": "ada"})).await;
    assert!(!ended.epoch().is_empty());
    assert_eq!(
        ended.expect(200),
        json!({"subject_id": "ada", "revoked_sessions": 2, "terminated_agents": 2, "revoked_edges": 2,
            "revoked_connections": 1, "blocked_until": null})
    );
    assert_eq!(
        rows(&stack, "agent_sessions", &zone, "status = 'active'").await,
        2,
        "bob's stay"
    );
    let alive = format!("revoked_at IS NULL AND id = '{untouched}'");
    assert_eq!(rows(&stack, "delegation_edges", &zone, &alive).await, 1);
    assert_eq!(rows(&stack, "delegation_graphs", &zone, "epoch = 1").await, 1);
    for (kind, count) in [
        ("subject", 1),
        ("agent_session_id", 2),
        ("delegation_edge_id", 2),
        ("sid", 0),
    ] {
        assert_eq!(
            rows(&stack, "anchors", &zone, &format!("kind = '{kind}'")).await,
            count,
            "{kind}"
        );
    }
    for subject in [
        "caracal.sessions.revoke",
        "caracal.agents.lifecycle",
        "caracal.delegations.invalidate",
    ] {
        assert_eq!(
            rows(&stack, "outbox", &zone, &format!("subject = '{subject}'")).await,
            1,
            "{subject}"
        );
    }
    assert_eq!(deeds(&stack, &zone, "subject.revoke").await, 1);
    let again = zone
        .post("subjects/revoke", &json!({"subject_id": "ada"}))
        .await
        .expect(200);
    assert_eq!(again["revoked_sessions"], 0, "nothing is counted twice");
    session(&stack, &zone, &app, "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_subject_gets_no_session_until_then() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Block").await;
    let app = application(&zone, "agent").await;
    let until = "2099-01-01T00:00:00Z";
    let blocked = zone
        .post(
            "subjects/revoke",
            &json!({"subject_id": "ada", "block_until": until}),
        )
        .await;
    assert_eq!(
        (blocked.status, blocked.member("blocked_until")),
        (200, until),
        "{}",
        blocked.text
    );
    let insert = format!(
        "INSERT INTO sessions
           (zone_id, id, session_type, subject_id, application_id, root_id, authenticated_at, expires_at)
         SELECT '{}', id, 'user', 'ada', '{app}', id, now(), now() + interval '1 hour'
         FROM (SELECT gen_random_uuid() AS id) AS fresh",
        zone.id
    );
    let connection = stack.database().connect().await;
    let refused = connection.batch_execute(&insert).await.expect_err("no session");
    let constraint = refused
        .as_db_error()
        .and_then(|error| error.constraint().map(str::to_owned));
    assert_eq!(constraint.as_deref(), Some("sessions_subject_blocked"));
    session(&stack, &zone, &app, "bob").await;
    sql(
        &stack,
        "UPDATE subject_blocks SET blocked_until = now() - interval '1 second'",
    )
    .await;
    connection
        .batch_execute(&insert)
        .await
        .expect("the block is over");

    zone.post(
        "subjects/revoke",
        &json!({"subject_id": "ada", "block_until": until}),
    )
    .await;
    let lifted = zone
        .post("subjects/revoke", &json!({"subject_id": "ada"}))
        .await
        .expect(200);
    assert_eq!(lifted["blocked_until"], Value::Null);
    connection
        .batch_execute(&insert)
        .await
        .expect("the block is lifted");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kill_switches_at_once_end_each_session_once() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Race").await;
    let app = application(&zone, "agent").await;
    for _ in 0..5 {
        let id = session(&stack, &zone, &app, "ada").await;
        agent(&stack, &zone, &app, Some(&id), None).await;
    }
    let body = json!({"subject_id": "ada"});
    let answers = join_all((0..50).map(|_| zone.post("subjects/revoke", &body))).await;
    let sum = |field: &str| -> i64 {
        answers
            .iter()
            .map(|answer| answer.body[field].as_i64().expect("a count"))
            .sum()
    };
    assert_eq!((sum("revoked_sessions"), sum("terminated_agents")), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_kill_switches_are_refused() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Bad").await;
    let bodies = [
        json!({}),
        json!({"subject_id": ""}),
        json!({"subject_id": "a\u{0}"}),
        json!({"subject_id": "ada", "block_until": "2020-01-01T00:00:00Z"}),
        json!({"subject_id": "ada", "block_until": "tomorrow"}),
        json!({"subject_id": "ada", "reason": "x"}),
    ];
    all_invalid(&zone, "subjects/revoke", &bodies).await;
    let viewer = viewer(&stack, &zone).await;
    let refused = viewer
        .post(&zone.at("subjects/revoke"), &json!({"subject_id": "ada"}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_read_only")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_reaches_below_and_stays_within_its_zone() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Here").await, Zone::new(&stack, "There").await);
    let mut elsewhere = String::new();
    for zone in [&zone, &other] {
        let app = application(zone, "agent").await;
        let root = session(&stack, zone, &app, "ada").await;
        let first = agent(&stack, zone, &app, Some(&root), None).await;
        let below = session_below(&stack, zone, &app, &app, (&root, &root)).await;
        // Acts in the session of the first, and was not spawned by it.
        agent(&stack, zone, &app, Some(&below), None).await;
        assert!(!first.is_empty());
        elsewhere = root;
    }
    let killed = zone
        .post("subjects/revoke", &json!({"subject_id": "ada"}))
        .await
        .expect(200);
    assert_eq!(
        (&killed["revoked_sessions"], &killed["terminated_agents"]),
        (&json!(2), &json!(2)),
        "{killed}"
    );
    assert_eq!(rows(&stack, "sessions", &zone, "revoked_at IS NULL").await, 0);
    assert_eq!(rows(&stack, "agent_sessions", &zone, "ended_at IS NULL").await, 0);
    assert_eq!(rows(&stack, "sessions", &other, "revoked_at IS NULL").await, 2);
    assert_eq!(
        rows(&stack, "agent_sessions", &other, "ended_at IS NULL").await,
        2
    );
    assert_eq!(rows(&stack, "anchors", &other, "true").await, 0);
    let listed = other
        .get("sessions?status=active&subject_id=ada")
        .await
        .expect(200);
    assert_eq!(listed["rows"][0]["id"], json!(elsewhere));
}
