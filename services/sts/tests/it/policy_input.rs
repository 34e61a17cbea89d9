//! The whole document a policy sees, class by class, as the ledger keeps it (contract §2, "Policy input").

use crate::hands::{Hands, bounds, second, text};
use crate::step_up::asking_for;
use crate::users::Issuer;
use caracal_testkit::settings::GATEWAY_STS_KEY;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

/// What the policies saw in this request, its clock taken out and looked at.
async fn input(world: &World, request_id: &str) -> Value {
    let event = eventually("the record", Duration::from_secs(10), || async {
        let events = world.events(request_id).await;
        events
            .into_iter()
            .find(|event| event["event_type"] == "token_exchange")
    })
    .await;
    let mut input = event["metadata_json"]["input"].clone();
    assert_eq!(input["context"]["trace_id"], json!(request_id));
    let time = input["context"]["time"].take();
    let unix = time["unix"].as_i64().expect("seconds");
    let rfc3339 = chrono::DateTime::parse_from_rfc3339(&text(&time, "rfc3339")).expect("RFC 3339");
    assert_eq!(rfc3339.timestamp(), unix);
    assert_eq!(time.as_object().map(serde_json::Map::len), Some(2), "{time}");
    input
}

/// What an application asks for `orders:read` with its session; the rest of each class is put on top.
fn base(world: &World, session: &str, request_id: &str) -> Value {
    let said = claims(session);
    let at = said["auth_time"]
        .as_i64()
        .or(said["iat"].as_i64())
        .expect("seconds");
    let at = chrono::DateTime::from_timestamp(at, 0).expect("in range");
    json!({
        "schema_version": "2026-03-16",
        "principal": {
            "type": "application", "id": world.application_id, "zone_id": world.zone_id, "name": "agent",
            "registration_method": "managed", "credential_type": "token", "traits": [], "labels": [],
        },
        "resource": {
            "type": "resource", "id": world.resource_id, "identifier": world.resource,
            "scopes": ["orders:delete", "orders:read", "orders:write"],
        },
        "action": {"id": "TokenExchange"},
        "session": {
            "id": said["sid"], "type": said["sub_type"], "subject_id": said["sub"],
            "authenticated_at": at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        },
        "delegation_edge": null,
        "grant": null,
        "context": {
            "actor_claims": null, "subject_claims": said, "trace_id": request_id, "session_id": said["sid"],
            "agent_session_id": null, "delegation_edge_id": null, "challenge_resolved": false, "challenge": null,
            "requested_scopes": ["orders:read"], "time": null,
        },
    })
}

/// Lays what `over` says over `under`.
fn with(mut under: Value, over: &Value) -> Value {
    for (name, value) in over.as_object().into_iter().flatten() {
        let slot = &mut under[name];
        *slot = if slot.is_object() && value.is_object() {
            with(slot.take(), value)
        } else {
            value.clone()
        };
    }
    under
}

fn ok(answer: Answer) -> Answer {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

#[tokio::test]
async fn of_an_application_and_of_a_gateways_call() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = |id: &str| stack.sts(0).with("X-Request-Id", id);
    let session = world.session(&stack.sts(0)).await;
    ok(world.mandate(&sts("own"), &session, "orders:read").await);
    assert_eq!(input(&world, "own").await, base(&world, &session, "own"));

    let call = [
        ("subject_token", session.as_str()),
        ("resource", &world.resource),
        ("scope", "orders:read"),
        ("method", "GET"),
        ("path", "/orders/7"),
    ];
    let gateway = sts("call").bearer(GATEWAY_STS_KEY);
    ok(gateway.form("/oauth/2/token", &call).await);
    let action = json!({"action": {"id": "TokenExchange", "method": "GET", "path": "/orders/7"}});
    assert_eq!(
        input(&world, "call").await,
        with(base(&world, &session, "call"), &action)
    );

    let opening = [("resource", world.resource.as_str()), ("scope", "orders:read")];
    ok(world.token(&sts("opening"), &opening).await);
    let none = json!({"session": null, "context": {"session_id": null, "subject_claims": null}});
    assert_eq!(
        input(&world, "opening").await,
        with(base(&world, &session, "opening"), &none),
        "on the way to a session there is none"
    );
}

#[tokio::test]
async fn of_a_user_who_signs_in_and_of_its_session() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let issuer = Issuer::register(&stack, &world, "idp|", false).await;
    let (grant, epoch) = Hands::of(&stack, &world)
        .grant(&world, "idp|ada", "orders:read")
        .await;
    let sts = |id: &str| {
        stack
            .sts(0)
            .with("Caracal-Min-Epoch", &epoch)
            .with("X-Request-Id", id)
    };
    let id_token = issuer.id_token("ada");
    let fields = [
        ("subject_token", id_token.as_str()),
        ("resource", &world.resource),
        ("scope", "orders:read"),
    ];
    let signed_in = ok(world.token(&sts("sign-in"), &fields).await);
    let session = signed_in.member("access_token");
    let granted = json!({"grant": {"id": grant, "user_id": "idp|ada", "scopes": ["orders:read"]}});
    let expected = with(base(&world, session, "sign-in"), &granted);
    let mut expected = with(
        expected,
        &json!({"session": null, "context": {"session_id": null}}),
    );
    expected["context"]["subject_claims"] = claims(&id_token);
    assert_eq!(input(&world, "sign-in").await, expected);

    ok(world.mandate(&sts("users"), session, "orders:read").await);
    let expected = with(base(&world, session, "users"), &granted);
    assert_eq!(expected["session"]["type"], json!("user"));
    assert_eq!(input(&world, "users").await, expected);
}

#[tokio::test]
async fn of_an_agent_under_a_delegation_with_an_actor() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let (hands, sts) = (
        Hands::of(&stack, &world),
        stack.sts(0).with("X-Request-Id", "handed-on"),
    );
    let giver = second(&stack, &world, "giver").await;
    let session = world.session(&stack.sts(0)).await;
    let actor = giver.token(&stack.sts(0), &[]).await;
    let actor = actor.member("access_token");
    let (from, to) = (
        hands.agent(&giver.id, 3600).await,
        hands.agent(&world.application_id, 3600).await,
    );
    let edge = hands
        .edge(
            (from, &giver.id),
            (to, &world.application_id),
            None,
            bounds("orders:read", 1),
        )
        .await;
    let fields = [
        ("subject_token", session.as_str()),
        ("actor_token", actor),
        ("agent_session_id", &to.to_string()),
        ("delegation_edge_id", &edge.id.to_string()),
        ("resource", &world.resource),
    ];
    ok(world.token(&sts, &fields).await);
    let seen = input(&world, "handed-on").await;
    let bounded = seen["delegation_edge"]["constraints_json"].clone();
    assert_eq!(bounded["max_hops"], json!(1), "{bounded}");
    let more = json!({
        "principal": {"agent_session_id": to, "lifecycle": "task", "labels": ["blue"]},
        "delegation_edge": {
            "id": edge.id, "source_session_id": from, "target_session_id": to, "issuer_application_id": giver.id,
            "receiver_application_id": world.application_id, "resource_id": null, "scopes": ["orders:read"],
            "edge_version": 1, "path": [edge.id], "graph_epoch": 1, "constraints_json": bounded,
        },
        "context": {"agent_session_id": to, "delegation_edge_id": edge.id, "actor_claims": claims(actor)},
    });
    assert_eq!(seen, with(base(&world, &session, "handed-on"), &more));
}

#[tokio::test]
async fn of_a_request_whose_challenge_was_met() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let epoch = world.adopt(&asking_for("mfa")).await;
    let sts = |id: &str| {
        stack
            .sts(0)
            .with("Caracal-Min-Epoch", &epoch)
            .with("X-Request-Id", id)
    };
    let session = world.session(&stack.sts(0)).await;
    let held = world.mandate(&sts("held"), &session, "orders:read").await;
    assert_eq!(input(&world, "held").await, base(&world, &session, "held"));
    let (id, secret) = (held.member("challenge_id"), held.member("challenge_secret"));
    assert!(Hands::of(&stack, &world).satisfy(id).await);
    let fields = [
        ("subject_token", session.as_str()),
        ("resource", &world.resource),
        ("scope", "orders:read"),
        ("challenge_id", id),
        ("challenge_response", secret),
    ];
    ok(world.token(&sts("met"), &fields).await);
    let mut seen = input(&world, "met").await;
    let at = seen["context"]["challenge"]["satisfied_at"].take();
    assert!(
        at.as_str()
            .is_some_and(|at| chrono::DateTime::parse_from_rfc3339(at).is_ok()),
        "{at}"
    );
    let challenge = json!({"type": "mfa", "satisfied_at": null, "satisfied_by": "a person"});
    let mut expected = base(&world, &session, "met");
    expected["context"]["challenge_resolved"] = json!(true);
    expected["context"]["challenge"] = challenge;
    assert_eq!(seen, expected);
}
