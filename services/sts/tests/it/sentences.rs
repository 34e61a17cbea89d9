//! Sentences of contract §2 that no other story tells.

use crate::hands::Hands;
use crate::step_up::asking_for;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Stack, World};
use chrono::DateTime;
use serde_json::json;

fn got(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.member("reason"))
}

#[tokio::test]
async fn the_targets_a_session_names_are_a_ceiling_for_its_mandates() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    let body = json!({"identifier": "resource://second", "scopes": ["orders:read"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let opened = world.token(&sts, &[("resource", &world.resource)]).await;
    let session = opened.member("access_token");
    assert_eq!(
        claims(session)["target"],
        json!([world.resource]),
        "{}",
        opened.text
    );
    assert_eq!(
        claims(session)["scope"],
        json!(""),
        "a session has none that it did not ask for"
    );
    let elsewhere = [
        ("subject_token", session),
        ("resource", "resource://second"),
        ("scope", "orders:read"),
    ];
    let beyond = world.token(&sts, &elsewhere).await;
    assert_eq!(got(&beyond), (403, "session_ceiling"), "{}", beyond.text);
    assert_eq!(world.mandate(&sts, session, "orders:read").await.status, 200);
}

#[tokio::test]
async fn a_prefix_resource_is_what_was_asked_for_and_no_path_trick_matches_it() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    let body = json!({"identifier": "https://api.example/v1", "prefix": true, "scopes": ["orders:read"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let body = json!({"identifier": "store://", "prefix": true, "scopes": ["orders:read"]});
    let made = stack.admin().post(&world.path("resources"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let sts = sts.with("Caracal-Min-Epoch", &made.epoch());
    let session = world.session(&sts).await;
    let ask = async |resource: &str| {
        let fields = [
            ("subject_token", session.as_str()),
            ("resource", resource),
            ("scope", "orders:read"),
        ];
        world.token(&sts, &fields).await
    };
    for asked in [
        "https://api.example/v1/orders/7",
        "https://api.example/v1",
        "store://x/y",
    ] {
        let minted = ask(asked).await;
        assert_eq!(minted.body["target_resources"], json!([asked]), "{}", minted.text);
        let said = claims(minted.member("access_token"));
        assert_eq!(
            (&said["aud"], &said["target"]),
            (&json!([asked]), &json!([asked]))
        );
    }
    for trick in [
        "https://api.example/v12",
        "https://api.example/v1/../v2",
        "https://api.example/v1/./a",
        "https://api.example/v1//a",
        "https://api.example/v1/a/..",
        "https://api.example/v1/a/%2e%2E/b",
        "https://api.example/v1/a%2fb",
        "https://api.example/v1/a%255c",
        "https://api.example/v1/a?b",
        "store:/x",
        "store:///x",
        "https://api.example",
        "https://api.example.evil/v1/a",
    ] {
        let answer = ask(trick).await;
        assert_eq!(
            got(&answer),
            (400, "unknown_resource"),
            "{trick}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_person_has_half_an_hour_and_a_second_factor_five_minutes() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    for (proof, minutes) in [("human_approval", 30), ("mfa", 5), ("software_attestation", 5)] {
        let epoch = world.adopt(&asking_for(proof)).await;
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
        let held = world.mandate(&sts, &session, "orders:read").await;
        assert_eq!(
            (held.status, held.member("challenge_type")),
            (401, proof),
            "{}",
            held.text
        );
        let ends = DateTime::parse_from_rfc3339(held.member("challenge_expires_at")).expect("a time");
        let left = ends.timestamp() - crate::signing::now();
        let range = minutes * 60 - 10..=minutes * 60 + 1;
        assert!(range.contains(&left), "{proof}: {left} seconds");
    }
}

#[tokio::test]
async fn an_expired_challenge_is_refused_though_it_was_met() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let epoch = world.adopt(&asking_for("mfa")).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let held = world.mandate(&sts, &session, "orders:read").await;
    let (id, secret) = (held.member("challenge_id"), held.member("challenge_secret"));
    assert!(Hands::of(&stack, &world).satisfy(id).await);
    let past = format!(
        "UPDATE step_up_challenges SET created_at = now() - interval '1 hour', satisfied_at = now() - interval '59 \
         minutes', expires_at = now() - interval '1 second' WHERE id = '{id}'"
    );
    let database = stack.database().connect().await;
    database.batch_execute(&past).await.expect("it is long ago");
    let fields = [
        ("subject_token", session.as_str()),
        ("resource", &world.resource),
        ("scope", "orders:read"),
        ("challenge_id", id),
        ("challenge_response", secret),
    ];
    let late = world.token(&sts, &fields).await;
    assert_eq!(got(&late), (400, "challenge_expired"), "{}", late.text);
}

#[tokio::test]
async fn an_application_that_expired_or_was_archived_proves_nothing() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    assert_eq!(world.token(&sts, &[]).await.status, 200);
    let expiring = format!(
        "UPDATE applications SET registration_method = 'dcr', expires_at = now() + interval '4 seconds' WHERE id = '{}'",
        world.application_id
    );
    let database = stack.database().connect().await;
    database.batch_execute(&expiring).await.expect("it will expire");
    let epoch = crate::users::bump_epoch(&stack, &world).await;
    let sts = sts.with("Caracal-Min-Epoch", &epoch);
    let opened = world.token(&sts, &[]).await;
    let seconds = opened.body["expires_in"].as_i64().expect("seconds");
    assert!(seconds <= 4, "its tokens never outlive it: {}", opened.text);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let late = world.token(&sts, &[]).await;
    assert_eq!(got(&late), (401, "invalid_client"), "{}", late.text);
}
