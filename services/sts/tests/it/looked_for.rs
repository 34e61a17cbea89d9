//! What was refused is found by what one looks for: the session, the resource, the challenge, the agent (contract §6), and
//! in the ledger of the zone whose client proved itself.

use crate::hands::{Hands, text};
use crate::step_up::asking_for;
use crate::users::Issuer;
use caracal_testkit::world::claims;
use caracal_testkit::{Client, Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const BEYOND: &str = "4611686018427387904";

/// The events of a request, once there are `count`.
async fn events(world: &World, request: &str, count: usize) -> Vec<Value> {
    let found = eventually("the request's events", Duration::from_secs(10), || async {
        let events = world.events(request).await;
        (events.len() >= count).then_some(events)
    })
    .await;
    assert_eq!(found.len(), count, "{request}: {found:?}");
    found
}

fn named(stack: &Stack, request: &str) -> Client {
    stack.sts(0).with("X-Request-Id", request)
}

/// Which requests a search of the ledger finds.
async fn found(stack: &Stack, world: &World, query: &str) -> Vec<String> {
    let rows = stack.admin().get(&world.path(&format!("audit?{query}"))).await;
    let rows = rows.expect(200)["rows"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| text(row, "request_id")).collect()
}

#[tokio::test]
async fn what_is_refused_to_a_proved_client_is_in_its_zones_ledger() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let form = [
        ("client_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", &session),
    ];
    for endpoint in ["token", "introspect", "revoke"] {
        let request = format!("ahead-{endpoint}");
        let sts = named(&stack, &request).with("Caracal-Min-Epoch", BEYOND);
        let answer = sts.form(&format!("/oauth/2/{endpoint}"), &form).await;
        let got = (answer.status, answer.member("reason"));
        assert_eq!(got, (400, "epoch_ahead"), "{}", answer.text);
        let events = events(&world, &request, 1).await;
        let event = events.first().expect("an event");
        assert_eq!(
            (&event["reason"], &event["metadata_json"]["application_id"]),
            (&json!("epoch_ahead"), &json!(world.application_id))
        );
        let elsewhere = format!(
            "SELECT count(*) FROM audit_events WHERE request_id = '{request}' AND zone_id <> '{}'",
            world.zone_id
        );
        assert_eq!(stack.database().count(&elsewhere).await, 0, "{request}");
    }
}

#[tokio::test]
async fn a_refusal_before_any_decision_names_the_session_the_subject_and_each_resource() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let sid = text(&claims(&session), "sid");
    let epoch = world.revoke_session(&sid).await.epoch();
    let alias = format!(
        "{}/r/{}/{}",
        stack.url(caracal_testkit::Service::Gateway, 0),
        world.zone_id,
        world.resource_id
    );
    let agent = "0198c0de-0000-7000-8000-000000000000";
    let fields = [
        ("subject_token", session.as_str()),
        ("resource", &alias),
        ("resource", "resource://nowhere"),
        ("scope", "orders:read Orders:FLY"),
        ("agent_session_id", agent),
    ];
    let sts = named(&stack, "ended").with("Caracal-Min-Epoch", &epoch);
    let answer = world.token(&sts, &fields).await;
    assert_eq!(answer.member("reason"), "session_revoked", "{}", answer.text);
    let events = events(&world, "ended", 2).await;
    let mut resources = Vec::new();
    for event in &events {
        let told = &event["metadata_json"];
        assert_eq!(
            (&event["reason"], &told["session_id"], &told["subject_id"]),
            (
                &json!("session_revoked"),
                &json!(sid),
                &json!(world.application_id)
            )
        );
        assert_eq!(
            (&told["agent_session_id"], &told["requested_scopes"]),
            (&json!(agent), &json!(["orders:read", "Orders:FLY"]))
        );
        assert!(!told.to_string().contains(&world.client_secret));
        resources.push(text(told, "resource"));
    }
    resources.sort();
    assert_eq!(
        resources,
        ["resource://nowhere".to_owned(), world.resource.clone()]
    );
    for query in [
        format!("session_id={sid}"),
        format!("agent_session_id={agent}"),
        "resource=resource%3A%2F%2Fnowhere".to_owned(),
        format!(
            "resource={}",
            world.resource.replace(':', "%3A").replace('/', "%2F")
        ),
    ] {
        let found = found(&stack, &world, &query).await;
        assert!(found.contains(&"ended".to_owned()), "{query}: {found:?}");
    }
}

#[tokio::test]
async fn a_blocked_subject_and_a_used_challenge_are_named() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let issuer = Issuer::register(&stack, &world, "idp|", false).await;
    let until = chrono::Utc::now() + chrono::Duration::hours(1);
    let block = json!({"subject_id": "idp|eve", "block_until": until.to_rfc3339()});
    let blocked = stack.admin().post(&world.path("subjects/revoke"), &block).await;
    assert!(blocked.status < 300, "{}", blocked.text);
    let eve = issuer.id_token("eve");
    let answer = world
        .token(&named(&stack, "blocked"), &[("subject_token", &eve)])
        .await;
    assert_eq!(answer.member("reason"), "subject_blocked", "{}", answer.text);
    let blocked = events(&world, "blocked", 1).await;
    assert_eq!(blocked[0]["metadata_json"]["subject_id"], json!("idp|eve"));

    let epoch = world.adopt(&asking_for("mfa")).await;
    let at = |request: &str| named(&stack, request).with("Caracal-Min-Epoch", &epoch);
    let session = world.session(&at("opened")).await;
    let sid = text(&claims(&session), "sid");
    let held = world.mandate(&at("held"), &session, "orders:read").await;
    assert_eq!(held.status, 401, "{}", held.text);
    let (id, secret) = (held.member("challenge_id"), held.member("challenge_secret"));
    let of_held = events(&world, "held", 2).await;
    for event in &of_held {
        let told = &event["metadata_json"];
        assert_eq!(
            (&told["resource"], &told["session_id"], &told["subject_id"]),
            (&json!(world.resource), &json!(sid), &json!(world.application_id)),
            "{event}"
        );
    }
    assert!(Hands::of(&stack, &world).satisfy(id).await);
    let retry = [
        ("subject_token", session.as_str()),
        ("resource", &world.resource),
        ("scope", "orders:read"),
        ("challenge_id", id),
        ("challenge_response", secret),
    ];
    assert_eq!(world.token(&at("met"), &retry).await.status, 200);
    let again = world.token(&at("again"), &retry).await;
    assert_eq!(again.member("reason"), "challenge_used", "{}", again.text);
    let again = events(&world, "again", 1).await;
    let told = &again[0]["metadata_json"];
    assert_eq!(
        (&told["challenge_id"], &told["session_id"], &told["resource"]),
        (&json!(id), &json!(sid), &json!(world.resource))
    );
}
