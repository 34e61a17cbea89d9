//! Which error it is, when several could be meant, and the rarer reasons one by one (contract §2, "Errors").

use crate::hands::{Hands, bounds, second, text};
use caracal_domain::Claims;
use caracal_domain::delegation::Edge;
use caracal_testkit::world::{allowing, claims};
use caracal_testkit::{Answer, Stack, World};
use serde_json::{Value, json};

fn got(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.member("error"), answer.member("reason"))
}

#[tokio::test]
async fn a_scope_that_nothing_has_is_told_from_scopes_that_nothing_has_together() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    for (name, scope) in [("resource://a", "a:read"), ("resource://b", "b:read")] {
        let body = json!({"identifier": name, "scopes": [scope]});
        assert_eq!(
            stack.admin().post(&world.path("resources"), &body).await.status,
            201
        );
    }
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let nothing = (403, "access_denied", "nothing_granted");
    let unknown = (400, "invalid_scope", "scope_exceeds_resource");
    let cases: [(Option<&str>, &str, &[&str], _); 6] = [
        (
            Some(&session),
            "a:read b:read",
            &["resource://a", "resource://b"],
            nothing,
        ),
        (None, "a:read b:read", &["resource://a", "resource://b"], nothing),
        (
            Some(&session),
            "a:read c:read",
            &["resource://a", "resource://b"],
            unknown,
        ),
        (Some(&session), "b:read", &["resource://a"], unknown),
        (
            Some(&session),
            "b:read",
            &["resource://a", "resource://nowhere"],
            unknown,
        ),
        (Some(&session), "A:read", &["resource://a"], unknown),
    ];
    for (subject, scope, resources, expected) in cases {
        let mut fields = vec![("scope", scope)];
        fields.extend(subject.map(|token| ("subject_token", token)));
        fields.extend(resources.iter().map(|resource| ("resource", *resource)));
        let answer = world.token(&sts, &fields).await;
        assert_eq!(got(&answer), expected, "{scope} {resources:?}: {}", answer.text);
    }
    for scope in ["a:read  b:read", " a:read", "a\"b", "caf\u{e9}", "a\\b"] {
        let answer = world.token(&sts, &[("scope", scope)]).await;
        let expected = (400, "invalid_request", "malformed_form");
        assert_eq!(got(&answer), expected, "{scope:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn of_several_resources_the_one_that_came_furthest_says_why() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let body = json!({"identifier": "resource://small", "scopes": ["orders:write"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let once = json!({"mint_rate_per_minute": 1});
    let zone = format!("/v1/zones/{}", world.zone_id);
    assert_eq!(stack.admin().patch(&zone, &once).await.status, 200);
    let epoch = world.adopt(&allowing(&["orders:read"])).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let session = world.session(&sts).await;
    let ask = async |scope: &str, resources: &[&str]| {
        let mut fields = vec![("subject_token", session.as_str()), ("scope", scope)];
        fields.extend(resources.iter().map(|resource| ("resource", *resource)));
        world.token(&sts, &fields).await
    };
    let (book, small) = (world.resource.as_str(), "resource://small");
    let policy = ask("orders:write", &["resource://nowhere", book]).await;
    assert_eq!(
        got(&policy),
        (403, "access_denied", "policy_deny"),
        "{}",
        policy.text
    );
    assert!(policy.header("Retry-After").is_empty());
    // The rate at the book is used up now, and at the small one not yet.
    let further = ask("orders:write", &[book, small]).await;
    assert_eq!(
        got(&further),
        (403, "access_denied", "policy_deny"),
        "{}",
        further.text
    );
    let rate = ask("orders:write", &[small, "resource://nowhere", book]).await;
    assert_eq!(got(&rate), (429, "slow_down", "rate_limited"), "{}", rate.text);
    let wait: u32 = rate.header("Retry-After").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    let scope = ask("orders:read", &[small, book]).await;
    assert_eq!(
        got(&scope),
        (429, "slow_down", "rate_limited"),
        "past its scopes: {}",
        scope.text
    );
}

#[tokio::test]
async fn an_emergency_says_that_it_is_the_key() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let path = world.path("signing-keys/rotate");
    let rotated = stack.admin().post(&path, &json!({"mode": "emergency"})).await;
    let later = stack.sts(0).with("Caracal-Min-Epoch", &rotated.epoch());
    let refused = world.mandate(&later, &session, "orders:read").await;
    assert_eq!(
        got(&refused),
        (400, "invalid_grant", "signing_key_revoked"),
        "{}",
        refused.text
    );
    let actor = second(&stack, &world, "helper").await;
    let subject = actor.token(&later, &[]).await;
    let fields = [
        ("subject_token", subject.member("access_token")),
        ("actor_token", &session),
        ("resource", &world.resource),
    ];
    let acted = actor.token(&later, &fields).await;
    assert_eq!(
        got(&acted),
        (400, "invalid_grant", "actor_revoked"),
        "{}",
        acted.text
    );
}

#[tokio::test]
async fn a_path_that_is_broken_or_too_long_is_refused() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let (hands, sts) = (Hands::of(&stack, &world), stack.sts(0));
    let (middle, leaf) = (
        second(&stack, &world, "middle").await,
        second(&stack, &world, "leaf").await,
    );
    let agents = (
        hands.agent(&world.application_id, 3600).await,
        hands.agent(&middle.id, 3600).await,
        hands.agent(&leaf.id, 3600).await,
    );
    let session = leaf.token(&sts, &[]).await.member("access_token").to_owned();
    let from = (agents.0, world.application_id.as_str());
    let via = (agents.1, middle.id.as_str());
    let to = (agents.2, leaf.id.as_str());
    let first = hands.edge(from, via, None, bounds("orders:read", 1)).await;
    let long = hands.edge(via, to, Some(&first), bounds("orders:read", 1)).await;
    // By its path it was handed on under another edge than by its parent.
    let other = hands.edge(from, via, None, bounds("orders:read", 2)).await;
    let crossed = Edge {
        path: other.path,
        ..first.clone()
    };
    let broken = hands
        .edge(via, to, Some(&crossed), bounds("orders:read", 1))
        .await;
    for (edge, reason) in [
        (long, "delegation_max_hops_exceeded"),
        (broken, "delegation_broken"),
    ] {
        let fields = [
            ("subject_token", session.as_str()),
            ("agent_session_id", &agents.2.to_string()),
            ("delegation_edge_id", &edge.id.to_string()),
            ("resource", &world.resource),
        ];
        let answer = leaf.token(&sts, &fields).await;
        assert_eq!(got(&answer), (403, "access_denied", reason), "{}", answer.text);
    }
}

#[tokio::test]
async fn actors_cannot_be_chained_for_ever() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let (hands, sts) = (Hands::of(&stack, &world), stack.sts(0));
    let helper = second(&stack, &world, "helper").await;
    let actor = helper.token(&sts, &[]).await.member("access_token").to_owned();
    let session = claims(&world.session(&sts).await);
    for (before, status) in [(7, 200), (8, 400)] {
        let chain = (0..before).fold(Value::Null, |act, _| {
            let mut actor = json!({
                "sub": helper.id, "sub_type": "application", "client_id": helper.id,
                "sid": claims(&actor)["sid"], "root_sid": claims(&actor)["root_sid"],
            });
            if !act.is_null() {
                actor["act"] = act;
            }
            actor
        });
        let mut said = session.clone();
        said["act"] = chain;
        let said: Claims = serde_json::from_value(said).expect("claims");
        let subject = hands.sign(&said).await;
        let fields = [
            ("subject_token", subject.as_str()),
            ("actor_token", &actor),
            ("resource", &world.resource),
            ("scope", "orders:read"),
        ];
        let answer = world.token(&sts, &fields).await;
        assert_eq!(answer.status, status, "{before}: {}", answer.text);
        if status == 400 {
            assert_eq!(got(&answer), (400, "invalid_request", "actor_chain_too_long"));
        }
    }
}

#[tokio::test]
async fn too_many_resources_and_a_client_without_a_name_are_malformed_and_challenges_are_exact() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let names: Vec<String> = (0..17).map(|n| format!("resource://{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| ("resource", name.as_str())).collect();
    let answer = world.token(&sts, &many).await;
    assert_eq!(
        got(&answer),
        (400, "invalid_request", "too_many_resources"),
        "{}",
        answer.text
    );
    let fewer = world.token(&sts, many.get(..16).expect("sixteen")).await;
    assert_eq!(
        fewer.member("reason"),
        "unknown_resource",
        "sixteen are looked for: {}",
        fewer.text
    );
    let nameless = sts.form("/oauth/2/token", &[("client_secret", "x")]).await;
    assert_eq!(
        got(&nameless),
        (400, "invalid_request", "missing_client"),
        "{}",
        nameless.text
    );
    assert!(nameless.header("WWW-Authenticate").is_empty());
    let nobody = sts.form("/oauth/2/token", &[]).await;
    assert_eq!(
        got(&nobody),
        (401, "invalid_client", "invalid_client"),
        "{}",
        nobody.text
    );
    assert_eq!(
        nobody.header("WWW-Authenticate"),
        "Basic realm=\"caracal\", charset=\"UTF-8\""
    );
    let epoch = crate::hands::adopt_all(&stack, &world, &[&crate::step_up::asking_for("mfa")]).await;
    let sts = sts.with("Caracal-Min-Epoch", &epoch);
    let session = world.session(&sts).await;
    let held = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(
        held.header("WWW-Authenticate"),
        "Bearer error=\"insufficient_user_authentication\""
    );
    let (id, fields) = (
        text(&held.body, "challenge_id"),
        [
            ("subject_token", session.as_str()),
            ("resource", &world.resource),
            ("scope", "orders:read"),
            ("challenge_response", "guess"),
        ],
    );
    let guess: Vec<_> = fields
        .into_iter()
        .chain([("challenge_id", id.as_str())])
        .collect();
    for _ in 0..5 {
        let answer = world.token(&sts, &guess).await;
        assert_eq!(
            got(&answer),
            (400, "invalid_grant", "challenge_invalid"),
            "{}",
            answer.text
        );
    }
    let rested = world.token(&sts, &guess).await;
    assert_eq!(
        got(&rested),
        (429, "slow_down", "step_up_cooldown"),
        "{}",
        rested.text
    );
}
