use super::given::{ABSENT, application, deeds, session, sql, tally, viewer};
use super::{Zone, alone};
use caracal_testkit::stack::Stack;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// A challenge as the STS would make it.
pub(super) async fn challenge(stack: &Stack, zone: &Zone, application: &str, expires: &str) -> String {
    let id = Uuid::now_v7();
    sql(
        stack,
        &format!(
            "INSERT INTO step_up_challenges
               (zone_id, id, application_id, challenge_type, resources, scopes, secret_sha256, expires_at)
             VALUES ('{}', '{id}', '{application}', 'human_approval', '{{resource://orders}}', '{{orders:write}}',
               decode(repeat('ab', 32), 'hex'), now() + interval '{expires}')",
            zone.id
        ),
    )
    .await;
    id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_shown_and_satisfied_once() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Step up").await;
    let application = application(&zone, "agent").await;
    let session = session(&stack, &zone, &application, "ada").await;
    let id = challenge(&stack, &zone, &application, "5 minutes").await;
    let details = format!(
        "UPDATE step_up_challenges SET session_id = '{session}', metadata_json = '{{\"amount\": 7}}',
           expires_at = '2099-01-01T00:00:00Z' WHERE id = '{id}'"
    );
    sql(&stack, &details).await;
    let path = format!("step-up-challenges/{id}");
    let shown = zone.get(&path).await;
    assert!(!shown.text.contains("secret"), "{}", shown.text);
    let shown = shown.expect(200);
    assert_eq!(
        (&shown["challenge_type"], &shown["satisfied_at"]),
        (&json!("human_approval"), &Value::Null)
    );
    for (field, value) in [
        ("session_id", json!(session)),
        ("metadata_json", json!({"amount": 7})),
        ("expires_at", json!("2099-01-01T00:00:00Z")),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(zone.get("step-up-challenges").await.expect(200), json!([shown]));

    let done = zone
        .post(
            &format!("{path}/satisfy"),
            &json!({"satisfied_by": "grace@example.com"}),
        )
        .await;
    assert_eq!(
        (done.status, done.member("satisfied_by")),
        (200, "grace@example.com"),
        "{}",
        done.text
    );
    assert!(done.member("id") == id && !done.member("satisfied_at").is_empty() && !done.epoch().is_empty());
    let same = json!({"satisfied_by": "grace@example.com"});
    let again = zone.post(&format!("{path}/satisfy"), &same).await;
    assert_eq!(
        (again.status, again.member("satisfied_at")),
        (200, done.member("satisfied_at")),
        "{}",
        again.text
    );
    let again = zone.post(&format!("{path}/satisfy"), &json!({})).await;
    assert_eq!(
        (again.status, again.member("error")),
        (404, "challenge_not_found_or_expired")
    );
    assert_eq!(zone.get(&path).await.member("satisfied_by"), "grace@example.com");
    assert_eq!(deeds(&stack, &zone, "step_up.satisfy").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_body_the_callers_token_is_who_satisfied_it() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "No body").await;
    let application = application(&zone, "agent").await;
    let id = challenge(&stack, &zone, &application, "5 minutes").await;
    let path = zone.at(&format!("step-up-challenges/{id}/satisfy"));
    let done = zone
        .admin
        .send(Method::POST, &path, |request| request)
        .await
        .expect("an answer");
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(
        done.member("satisfied_by").starts_with("admin-token:"),
        "{}",
        done.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_who_bring_the_same_proof_at_once_satisfy_it_once() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Race").await;
    let application = application(&zone, "agent").await;
    let id = challenge(&stack, &zone, &application, "5 minutes").await;
    let (path, none) = (format!("step-up-challenges/{id}/satisfy"), json!({}));
    let answers = join_all((0..50).map(|_| zone.post(&path, &none))).await;
    assert_eq!(
        (
            tally(&answers, 200, ""),
            tally(&answers, 404, "challenge_not_found_or_expired")
        ),
        (50, 0)
    );
    assert_eq!(deeds(&stack, &zone, "step_up.satisfy").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_other_proofs_at_once_one_satisfies() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Others").await;
    let application = application(&zone, "agent").await;
    let id = challenge(&stack, &zone, &application, "5 minutes").await;
    let path = format!("step-up-challenges/{id}/satisfy");
    let body = |n: usize| json!({"satisfied_by": format!("person {n}")});
    let answers = join_all((0..50).map(|n| {
        let (zone, path, body) = (&zone, &path, body(n));
        async move { zone.post(path, &body).await }
    }))
    .await;
    assert_eq!(
        (
            tally(&answers, 200, ""),
            tally(&answers, 404, "challenge_not_found_or_expired")
        ),
        (1, 49)
    );
    assert_eq!(deeds(&stack, &zone, "step_up.satisfy").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_foreign_or_absent_is_not_satisfied() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Theirs").await);
    let theirs = application(&other, "agent").await;
    let theirs = challenge(&stack, &other, &theirs, "5 minutes").await;
    let mine = application(&zone, "agent").await;
    let expired = challenge(&stack, &zone, &mine, "-1 second").await;
    for id in ABSENT.iter().copied().chain([theirs.as_str(), expired.as_str()]) {
        let refused = zone
            .post(&format!("step-up-challenges/{id}/satisfy"), &json!({}))
            .await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (404, "challenge_not_found_or_expired"),
            "{id}"
        );
        if id != expired {
            assert_eq!(
                zone.get(&format!("step-up-challenges/{id}")).await.status,
                404,
                "{id}"
            );
        }
    }
    let open = challenge(&stack, &zone, &mine, "5 minutes").await;
    let path = format!("step-up-challenges/{open}/satisfy");
    for body in [
        json!({"satisfied_by": ""}),
        json!({"satisfied_by": 1}),
        json!({"by": "x"}),
    ] {
        assert_eq!(
            zone.post(&path, &body).await.member("error"),
            "invalid_body",
            "{body}"
        );
    }
    let viewer = viewer(&stack, &zone).await;
    let refused = viewer.post(&zone.at(&path), &json!({})).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_read_only")
    );
    assert_eq!(viewer.get(&zone.at("step-up-challenges")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_was_used_takes_no_proof() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Consumed").await;
    let application = application(&zone, "agent").await;
    let id = challenge(&stack, &zone, &application, "5 minutes").await;
    sql(
        &stack,
        &format!(
            "UPDATE step_up_challenges SET satisfied_at = now(), satisfied_by = 'ada', consumed_at = now()
             WHERE id = '{id}'"
        ),
    )
    .await;
    let path = format!("step-up-challenges/{id}");
    let refused = zone
        .post(&format!("{path}/satisfy"), &json!({"satisfied_by": "bob"}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (404, "challenge_not_found_or_expired")
    );
    assert_eq!(zone.get(&path).await.member("satisfied_by"), "ada");
    assert_eq!(deeds(&stack, &zone, "step_up.satisfy").await, 0);
}
