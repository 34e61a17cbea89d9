//! What a form may say in more than one way, and how long what comes of it lives (contract §2, "Request", "Lifetimes").

use crate::hands::{Hands, bounds, now, second, text};
use crate::users::Issuer;
use caracal_domain::delegation::Bounds;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Stack, World};
use chrono::Duration;
use serde_json::json;

fn got(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.member("error"), answer.member("reason"))
}

#[tokio::test]
async fn zone_and_application_may_be_named_twice_if_they_are_the_same() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let in_zone = format!("/zones/{}/oauth/2/token", world.zone_id);
    let secret = ("client_secret", world.client_secret.as_str());
    let (id, theirs) = (world.application_id.as_str(), other.application_id.as_str());
    let repeated = (400, "invalid_request", "repeated_parameter");
    for (path, fields, expected) in [
        (
            in_zone.as_str(),
            [("client_id", id), ("zone_id", &world.zone_id)],
            None,
        ),
        (
            &in_zone,
            [("client_id", id), ("zone_id", &other.zone_id)],
            Some(repeated),
        ),
        (
            "/oauth/2/token",
            [("client_id", id), ("application_id", id)],
            None,
        ),
        (
            "/oauth/2/token",
            [("client_id", id), ("application_id", theirs)],
            Some(repeated),
        ),
    ] {
        let form = [secret, fields[0], fields[1]];
        let answer = sts.form(path, &form).await;
        match expected {
            None => assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text),
            Some(expected) => assert_eq!(got(&answer), expected, "{fields:?}: {}", answer.text),
        }
    }
}

#[tokio::test]
async fn a_token_type_can_be_asked_for_if_we_issue_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let kind = |name: &str| format!("urn:ietf:params:oauth:token-type:{name}");
    for (name, issued) in [
        ("access_token", true),
        ("jwt", true),
        ("id_token", false),
        ("saml2", false),
    ] {
        let answer = world.token(&sts, &[("requested_token_type", &kind(name))]).await;
        if issued {
            let answer = answer.expect(200);
            assert_eq!(answer["issued_token_type"], json!(kind("access_token")), "{name}");
        } else {
            let expected = (400, "invalid_request", "unsupported_token_type");
            assert_eq!(got(&answer), expected, "{name}: {}", answer.text);
        }
    }
    let stray = world
        .token(&sts, &[("subject_token_type", &kind("access_token"))])
        .await;
    assert_eq!(
        got(&stray),
        (400, "invalid_request", "stray_parameter"),
        "{}",
        stray.text
    );
}

#[tokio::test]
async fn the_platforms_own_scope_needs_no_policy_and_limits_nothing() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let issuer = Issuer::register(&stack, &world, "idp|", false).await;
    let wish = [("scope", "agent:lifecycle")];
    let own = world.token(&stack.sts(0), &wish).await;
    let users = issuer
        .sign_in(&stack, &world, &issuer.id_token("ada"), &wish)
        .await;
    for session in [own, users] {
        let answer = session.clone().expect(200);
        assert_eq!(answer["scope"], "agent:lifecycle");
        let said = claims(session.member("access_token"));
        assert_eq!(
            (&said["scope"], &said["target"]),
            (&json!("agent:lifecycle"), &json!([]))
        );
        let token = session.member("access_token");
        let minted = world.mandate(&stack.sts(0), token, "orders:write").await;
        assert_eq!(minted.status, 200, "it is no ceiling: {}", minted.text);
    }
    let denied = world
        .token(&stack.sts(0), &[("scope", "agent:lifecycle orders:read")])
        .await;
    assert_eq!(denied.member("error"), "invalid_scope", "{}", denied.text);
}

#[tokio::test]
async fn no_token_outlives_its_agent_its_edge_or_the_session_above_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let (hands, sts) = (Hands::of(&stack, &world), stack.sts(0));
    let session = world.session(&sts).await;
    let at_most_twenty = |answer: &Answer, what: &str| {
        let seconds = answer.body["expires_in"].as_i64();
        assert!(
            seconds.is_some_and(|seconds| (10..=20).contains(&seconds)),
            "{what}: {}",
            answer.text
        );
        let said = claims(answer.member("access_token"));
        let lives = said["exp"].as_i64().zip(said["iat"].as_i64());
        assert_eq!(lives.map(|(exp, iat)| exp - iat), seconds, "{what}");
    };
    let agent = hands.agent(&world.application_id, 20).await.to_string();
    let bound = world.token(&sts, &[("agent_session_id", &agent)]).await;
    at_most_twenty(&bound, "a session bound to an agent");
    let mandate = [
        ("subject_token", session.as_str()),
        ("agent_session_id", &agent),
        ("resource", &world.resource),
        ("scope", "orders:read"),
    ];
    at_most_twenty(&world.token(&sts, &mandate).await, "an agent's mandate");

    let short = world.token(&sts, &[("ttl_seconds", "20")]).await;
    let sid = text(&claims(short.member("access_token")), "sid")
        .parse()
        .expect("an id");
    let hanging = hands
        .agent_below(Some(sid), &world.application_id, 3600)
        .await
        .to_string();
    let below = world.token(&sts, &[("agent_session_id", &hanging)]).await;
    at_most_twenty(&below, "a session below another");

    let giver = second(&stack, &world, "giver").await;
    let (from, to) = (
        hands.agent(&giver.id, 3600).await,
        hands.agent(&world.application_id, 3600).await,
    );
    let ends_soon = Bounds {
        expires_at: now() + Duration::seconds(20),
        ..bounds("orders:read", 1)
    };
    let edge = hands
        .edge((from, &giver.id), (to, &world.application_id), None, ends_soon)
        .await;
    let delegated = [
        ("subject_token", session.as_str()),
        ("agent_session_id", &to.to_string()),
        ("delegation_edge_id", &edge.id.to_string()),
        ("resource", &world.resource),
    ];
    at_most_twenty(&world.token(&sts, &delegated).await, "a delegated mandate");
}
