use super::given::{agent, agent_row, application, deeds, rows, session, sql, tally};
use super::{Zone, alone};
use caracal_testkit::eventually;
use caracal_testkit::stack::Stack;
use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

async fn open(stack: &Stack, name: &str) -> Zone {
    let zone = Zone::new(stack, name).await;
    let opened = zone
        .admin
        .patch(&format!("/v1/zones/{}", zone.id), &json!({"dcr_enabled": true}))
        .await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    zone
}

async fn register(zone: &Zone, n: usize) -> caracal_testkit::Answer {
    zone.post("applications/dcr", &json!({"name": format!("job {n}")}))
        .await
}

/// Applications that registered themselves an hour ago, as many as wanted.
async fn plant(stack: &Stack, zone: &Zone, count: usize) {
    sql(
        stack,
        &format!(
            "INSERT INTO applications (zone_id, id, name, registration_method, credential_type, expires_at, created_at)
             SELECT '{}', gen_random_uuid(), 'planted ' || n, 'dcr', 'public', now() + interval '1 hour',
               now() - interval '1 hour'
             FROM generate_series(1, {count}) AS n",
            zone.id
        ),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_register_in_any_one_second() {
    let stack = alone().start().await;
    let zone = open(&stack, "Rate").await;
    let mut made = 0;
    for wave in 0..3 {
        let numbers = (wave * 100)..(wave * 100 + 30);
        let answers = join_all(numbers.map(|n| {
            let body = json!({"name": format!("job {n}"), "registration_method": "dcr"});
            let zone = &zone;
            // Either way is the same act under the same rules.
            async move {
                if n % 2 == 0 {
                    zone.post("applications", &body).await
                } else {
                    register(zone, n).await
                }
            }
        }))
        .await;
        let refused = tally(&answers, 429, "dcr_rate_limit_exceeded");
        assert_eq!(tally(&answers, 201, "") + refused, 30);
        made += tally(&answers, 201, "");
        // A bucket that refills evenly would let some more in by now.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let busiest = format!(
        "SELECT max(n) FROM (
           SELECT count(*) OVER (ORDER BY created_at RANGE BETWEEN '999 ms' PRECEDING AND CURRENT ROW) AS n
           FROM applications WHERE zone_id = '{}') AS windows",
        zone.id
    );
    let busiest = stack.database().count(&busiest).await;
    assert!(
        busiest == 10 && made >= 10,
        "{busiest} in a second, {made} in all"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_registrations_stop_at_a_thousand_and_hinder_no_other_zone() {
    let stack = alone().start().await;
    let (zone, other) = (open(&stack, "Limit").await, open(&stack, "Other").await);
    plant(&stack, &zone, 995).await;
    let (answers, elsewhere) = futures::join!(
        join_all((0..10).map(|n| register(&zone, n))),
        join_all((0..10).map(|n| register(&other, n)))
    );
    assert_eq!(
        tally(&elsewhere, 201, ""),
        10,
        "each zone has its own second and its own thousand: {elsewhere:?}"
    );
    assert_eq!(
        (
            tally(&answers, 201, ""),
            tally(&answers, 429, "dcr_limit_exceeded")
        ),
        (5, 5)
    );
    let status = zone.get("dcr-status").await.expect(200);
    assert_eq!(status["live_applications"], 1000);
    sql(
        &stack,
        "UPDATE applications SET archived_at = now() WHERE name = 'planted 1'",
    )
    .await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(
        register(&zone, 100).await.status,
        201,
        "an archived one makes room"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_lives_an_hour_or_as_asked_up_to_a_day() {
    let stack = alone().start().await;
    let zone = open(&stack, "Life").await;
    for (n, asked, seconds) in [
        (0, Value::Null, 3600),
        (1, json!(60), 60),
        (2, json!(86_400), 86_400),
    ] {
        let mut body = json!({"name": format!("job {n}")});
        if !asked.is_null() {
            body["expires_in"] = asked;
        }
        let made = zone.post("applications/dcr", &body).await;
        let ends: DateTime<Utc> = made.member("expires_at").parse().expect("a time");
        let left = (ends - Utc::now()).num_seconds();
        assert!((seconds - 30..=seconds).contains(&left), "{left} of {seconds}");
        assert_eq!(made.member("registration_method"), "dcr");
    }
    for expires_in in [json!(0), json!(-1), json!(86_401), json!("60"), json!(1.5)] {
        let refused = zone
            .post(
                "applications/dcr",
                &json!({"name": "bad", "expires_in": expires_in}),
            )
            .await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{expires_in}"
        );
    }
    let managed = json!({"name": "managed", "registration_method": "managed", "expires_in": 60});
    assert_eq!(
        zone.post("applications", &managed).await.member("error"),
        "invalid_body"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reaper_ends_what_has_expired_and_what_it_holds() {
    let stack = alone().start().await;
    let zone = open(&stack, "Reaped").await;
    let gone = register(&zone, 1).await.member("id").to_owned();
    let stays = register(&zone, 2).await.member("id").to_owned();
    session(&stack, &zone, &gone, &gone).await;
    agent(&stack, &zone, &gone, None, None).await;
    sql(
        &stack,
        &format!("UPDATE applications SET expires_at = now() - interval '1 second' WHERE id = '{gone}'"),
    )
    .await;
    eventually("the reaper comes", Duration::from_secs(20), || async {
        (zone.get(&format!("applications/{gone}")).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(zone.get(&format!("applications/{stays}")).await.status, 200);
    assert_eq!(rows(&stack, "sessions", &zone, "revoked_at IS NOT NULL").await, 1);
    assert_eq!(
        rows(&stack, "agent_sessions", &zone, "status = 'terminated'").await,
        1
    );
    let anchor = format!("kind = 'application' AND value = '{gone}'");
    assert_eq!(rows(&stack, "anchors", &zone, &anchor).await, 1);
    assert_eq!(deeds(&stack, &zone, "application.expire").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_door_keeps_or_ends_those_inside() {
    let stack = alone().start().await;
    let zone = open(&stack, "Door").await;
    let path = format!("/v1/zones/{}", zone.id);
    let close = |shutdown: &str| json!({"dcr_enabled": false, "dcr_shutdown": shutdown});
    let made = register(&zone, 1).await.member("id").to_owned();
    session(&stack, &zone, &made, "ada").await;
    agent(&stack, &zone, &made, None, None).await;
    let undecided = zone.admin.patch(&path, &json!({"dcr_enabled": false})).await;
    assert_eq!(
        (undecided.status, undecided.member("error")),
        (409, "dcr_shutdown_required")
    );
    assert_eq!(undecided.body["detail"], json!({"live_applications": 1}));
    for bad in [
        json!({"dcr_shutdown": "keep_live"}),
        json!({"dcr_enabled": true, "dcr_shutdown": "revoke_live"}),
        close("maybe"),
    ] {
        assert_eq!(
            zone.admin.patch(&path, &bad).await.member("error"),
            "invalid_body",
            "{bad}"
        );
    }
    assert_eq!(
        zone.get(&format!("applications/{made}")).await.status,
        200,
        "a refusal ends nothing"
    );
    assert_eq!(rows(&stack, "anchors", &zone, "true").await, 0);

    assert_eq!(zone.admin.patch(&path, &close("keep_live")).await.status, 200);
    assert_eq!(register(&zone, 2).await.member("error"), "dcr_disabled");
    assert_eq!(zone.get(&format!("applications/{made}")).await.status, 200);
    assert_eq!(
        zone.get("sessions?status=active").await.expect(200)["rows"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    let closed_again = zone
        .admin
        .patch(&path, &json!({"name": "Shut", "dcr_enabled": false}))
        .await;
    assert_eq!(
        (closed_again.status, closed_again.member("error")),
        (409, "dcr_shutdown_required"),
        "those that were kept are decided about again"
    );
    assert_eq!(
        zone.admin.patch(&path, &json!({"name": "Shut"})).await.status,
        200
    );

    assert_eq!(zone.admin.patch(&path, &close("revoke_live")).await.status, 200);
    assert_eq!(
        zone.admin
            .patch(&path, &json!({"dcr_enabled": false}))
            .await
            .status,
        200,
        "there is nobody left to decide about"
    );
    assert_eq!(
        zone.get(&format!("applications/{made}")).await.member("error"),
        "application_not_found"
    );
    assert_eq!(
        zone.get("sessions?status=active").await.expect(200)["rows"],
        json!([])
    );
    assert_eq!(
        rows(&stack, "agent_sessions", &zone, "status = 'terminated'").await,
        1
    );
    assert_eq!(
        zone.get("dcr-status").await.expect(200),
        json!({"dcr_enabled": false, "live_applications": 0})
    );
    assert_eq!(deeds(&stack, &zone, "application.archive").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_closes_lets_nobody_slip_through() {
    let stack = alone().start().await;
    let zone = open(&stack, "Slip").await;
    let path = format!("/v1/zones/{}", zone.id);
    let shut = json!({"dcr_enabled": false, "dcr_shutdown": "revoke_live"});
    let (_, closed) = futures::join!(
        join_all((0..10).map(|n| register(&zone, n))),
        zone.admin.patch(&path, &shut)
    );
    assert_eq!(closed.status, 200, "{}", closed.text);
    let status = zone.get("dcr-status").await.expect(200);
    assert_eq!(status, json!({"dcr_enabled": false, "live_applications": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_by_the_plain_route_is_the_same_act() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Plain").await;
    let body = |n: usize, expires_in: Value| {
        let mut body = json!({"name": format!("job {n}"), "registration_method": "dcr"});
        if !expires_in.is_null() {
            body["expires_in"] = expires_in;
        }
        body
    };
    let closed = zone.post("applications", &body(0, Value::Null)).await;
    assert_eq!((closed.status, closed.member("error")), (403, "dcr_disabled"));
    let path = format!("/v1/zones/{}", zone.id);
    assert_eq!(
        zone.admin
            .patch(&path, &json!({"dcr_enabled": true}))
            .await
            .status,
        200
    );
    for (n, asked, seconds) in [
        (1, Value::Null, 3600),
        (2, json!(60), 60),
        (3, json!(86_400), 86_400),
    ] {
        let made = zone.post("applications", &body(n, asked)).await;
        assert_eq!(
            (made.status, made.member("registration_method")),
            (201, "dcr"),
            "{}",
            made.text
        );
        let ends: DateTime<Utc> = made.member("expires_at").parse().expect("a time");
        let left = (ends - Utc::now()).num_seconds();
        assert!((seconds - 30..=seconds).contains(&left), "{left} of {seconds}");
    }
    for bad in [json!(86_401), json!(0), json!(-1)] {
        let refused = zone.post("applications", &body(4, bad.clone())).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{bad}"
        );
    }
    plant(&stack, &zone, 997).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let full = zone.post("applications", &body(5, Value::Null)).await;
    assert_eq!((full.status, full.member("error")), (429, "dcr_limit_exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_names_another_version_ends_nothing() {
    let stack = alone().start().await;
    let zone = open(&stack, "Stale").await;
    let made = register(&zone, 1).await.member("id").to_owned();
    session(&stack, &zone, &made, "ada").await;
    let path = format!("/v1/zones/{}", zone.id);
    let stale = zone.admin.clone().with("If-Match", "\"1\"");
    let shut = json!({"dcr_enabled": false, "dcr_shutdown": "revoke_live"});
    let refused = stale.patch(&path, &shut).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (412, "version_conflict")
    );
    assert_eq!(zone.get(&format!("applications/{made}")).await.status, 200);
    assert_eq!(rows(&stack, "sessions", &zone, "revoked_at IS NULL").await, 1);
    assert_eq!(rows(&stack, "anchors", &zone, "true").await, 0);
    assert_eq!(
        zone.get("dcr-status").await.expect(200),
        json!({"dcr_enabled": true, "live_applications": 1})
    );
    // The door that is closed may be said to be closed again.
    let keep = json!({"dcr_enabled": false, "dcr_shutdown": "keep_live"});
    for _ in 0..2 {
        assert_eq!(zone.admin.patch(&path, &keep).await.status, 200);
    }
    assert_eq!(zone.get(&format!("applications/{made}")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_application_hosts_one_agent_which_spawns_none() {
    let stack = alone().start().await;
    let zone = open(&stack, "Hosts").await;
    let registered = register(&zone, 1).await.member("id").to_owned();
    let managed = application(&zone, "managed").await;
    let refused = async |row: &str| {
        let refused = stack.database().connect().await.batch_execute(row).await;
        let refused = refused.expect_err("it is one too many");
        let constraint = refused.as_db_error().and_then(|error| error.constraint());
        constraint.unwrap_or_default().to_owned()
    };
    // Of two at once the second waits for the first.
    let mut one = stack.database().connect().await;
    let opened = one.transaction().await.expect("a transaction");
    let (first, row) = agent_row(&zone, &registered, None, None);
    opened.batch_execute(&row).await.expect("the first agent");
    let (_, row) = agent_row(&zone, &registered, None, None);
    let (second, committed) = futures::join!(refused(&row), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        opened.commit().await
    });
    committed.expect("the first agent is there");
    assert_eq!(second, "agent_sessions_registered_one");
    let (_, child) = agent_row(&zone, &managed, None, Some(&first));
    assert_eq!(refused(&child).await, "agent_sessions_registered_spawn");
    let ended = "UPDATE agent_sessions SET status = 'terminated', ended_at = now()";
    sql(&stack, ended).await;
    agent(&stack, &zone, &registered, None, None).await;
    for _ in 0..2 {
        let root = agent(&stack, &zone, &managed, None, None).await;
        agent(&stack, &zone, &managed, None, Some(&root)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_closes_while_those_inside_are_changed_and_leave() {
    let stack = alone().start().await;
    let zone = open(&stack, "Moving").await;
    let mut inside = Vec::new();
    for n in 0..5 {
        inside.push(register(&zone, n).await.member("id").to_owned());
    }
    let mut holder = stack.database().connect().await;
    let held = holder.transaction().await.expect("a transaction");
    let lock = format!("SELECT FROM zones WHERE id = '{}' FOR NO KEY UPDATE", zone.id);
    held.batch_execute(&lock).await.expect("the zone's row");
    let path = format!("/v1/zones/{}", zone.id);
    let shut = json!({"dcr_enabled": false, "dcr_shutdown": "revoke_live"});
    let leaving = join_all(inside.iter().map(|id| {
        let path = zone.at(&format!("applications/{id}"));
        let admin = &zone.admin;
        async move { admin.delete(&path).await }
    }));
    let releasing = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        held.rollback().await
    };
    let closing = join_all((0..2).map(|_| zone.admin.patch(&path, &shut)));
    let coming = join_all((5..8).map(|n| register(&zone, n)));
    let (left, closed, came, released) = futures::join!(leaving, closing, coming, releasing);
    released.expect("the zone's row is free");
    for answer in left.iter().chain(&closed).chain(&came) {
        assert!(answer.status < 500, "{}: {:?}", answer.text, answer.took);
    }
    assert!(closed.iter().all(|answer| answer.status == 200), "{closed:?}");
    let status = zone.get("dcr-status").await.expect(200);
    assert_eq!(status, json!({"dcr_enabled": false, "live_applications": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_ends_at_once_is_told_in_messages_that_can_be_carried() {
    let stack = alone().start().await;
    let zone = open(&stack, "Crowd").await;
    let crowd = format!(
        "INSERT INTO applications (zone_id, id, name, registration_method, credential_type, expires_at)
         SELECT '{}', gen_random_uuid(), 'job ' || n, 'dcr', 'public', now() + interval '1 hour'
         FROM generate_series(1, 2500) n",
        zone.id
    );
    sql(&stack, &crowd).await;
    let path = format!("/v1/zones/{}", zone.id);
    let shut = json!({"dcr_enabled": false, "dcr_shutdown": "revoke_live"});
    let closed = zone.admin.patch(&path, &shut).await;
    assert_eq!(closed.status, 200, "{}", closed.text);
    let told = rows(&stack, "outbox", &zone, "subject = 'caracal.sessions.revoke'").await;
    assert_eq!(told, 3);
    let large = rows(&stack, "outbox", &zone, "length(payload) > 500000").await;
    assert_eq!(large, 0);
    let anchors = rows(&stack, "anchors", &zone, "true").await;
    assert_eq!(anchors, 2500);
}
