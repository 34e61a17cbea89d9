//! Step-up end to end (contract §2, "Step-up").

use crate::hands::{Hands, bounds, second};
use caracal_testkit::world::allowing;
use caracal_testkit::{Answer, Client, Stack, World, eventually};
use serde_json::json;
use std::time::Duration;

pub(crate) fn asking_for(proof: &str) -> String {
    format!(
        r#"package caracal.authz
result := {{"decision": "allow", "evaluation_status": "complete", "determining_policies": ["proof"], "diagnostics": []}} if {{
  input.context.challenge_resolved
}}
result := {{"decision": "deny", "evaluation_status": "complete", "determining_policies": ["proof"], "diagnostics": [{{"step_up_required": "{proof}"}}]}} if {{
  not input.context.challenge_resolved
}}"#
    )
}

pub(crate) struct Scene {
    world: World,
    pub(crate) hands: Hands,
    sts: Client,
    session: String,
}

impl Scene {
    async fn new(stack: &Stack) -> Self {
        Self::asking(stack, "mfa").await
    }

    pub(crate) async fn asking(stack: &Stack, proof: &str) -> Self {
        let mut world = World::new(stack).await;
        let hands = Hands::of(stack, &world);
        let epoch = world.adopt(&asking_for(proof)).await;
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
        let session = world.session(&sts).await;
        Self {
            world,
            hands,
            sts,
            session,
        }
    }

    /// A challenge and its secret.
    async fn held(&self) -> (String, String) {
        let held = self.hold().await;
        (
            held.member("challenge_id").to_owned(),
            held.member("challenge_secret").to_owned(),
        )
    }

    /// What a request that policy holds is answered.
    pub(crate) async fn hold(&self) -> Answer {
        let held = self.world.mandate(&self.sts, &self.session, "orders:read").await;
        assert_eq!(
            (held.status, held.member("error")),
            (401, "interaction_required"),
            "{}",
            held.text
        );
        held
    }

    pub(crate) async fn retry(&self, (id, response): (&str, &str), scope: &str) -> Answer {
        let fields = [
            ("subject_token", self.session.as_str()),
            ("resource", &self.world.resource),
            ("scope", scope),
            ("challenge_id", id),
            ("challenge_response", response),
        ];
        self.world.token(&self.sts, &fields).await
    }
}

pub(crate) fn reason(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.member("reason"))
}

#[tokio::test]
async fn a_held_request_goes_through_once_its_challenge_is_met_and_only_once() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let named = scene.sts.clone().with("X-Request-Id", "held-1");
    let held = scene.world.mandate(&named, &scene.session, "orders:read").await;
    assert_eq!(
        (held.status, held.member("error")),
        (401, "interaction_required"),
        "{}",
        held.text
    );
    assert_eq!(held.member("reason"), "step_up_required");
    assert!(
        held.header("WWW-Authenticate")
            .contains("error=\"insufficient_user_authentication\"")
    );
    assert_eq!(
        (
            held.member("challenge_type"),
            held.member("challenge_secret").len()
        ),
        ("mfa", 43)
    );
    assert!(!held.member("challenge_expires_at").is_empty());
    let (id, secret) = (
        held.member("challenge_id").to_owned(),
        held.member("challenge_secret").to_owned(),
    );

    let polled = stack.sts(0).get(&format!("/step-up/{id}")).await.expect(200);
    assert_eq!(
        (&polled["satisfied"], &polled["consumed"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        (&polled["id"], &polled["challenge_type"]),
        (&json!(id), &json!("mfa"))
    );
    let early = scene.retry((&id, &secret), "orders:read").await;
    assert_eq!(reason(&early), (400, "challenge_unsatisfied"), "{}", early.text);
    let (sts, path) = (stack.sts(0), format!("/step-up/{id}?wait=20"));
    let (waited, met) = tokio::join!(sts.get(&path), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        scene.hands.satisfy(&id).await
    });
    assert!(met && waited.body["satisfied"] == json!(true), "{}", waited.text);
    assert!(
        waited.took < Duration::from_secs(10),
        "the wait ends with what it waits for"
    );

    let other = scene.retry((&id, &secret), "orders:write").await;
    assert_eq!(reason(&other), (400, "challenge_mismatch"), "{}", other.text);
    let wrong = scene.retry((&id, "guess"), "orders:read").await;
    assert_eq!(
        (wrong.member("error"), wrong.member("reason")),
        ("invalid_grant", "challenge_invalid")
    );
    let retries = (0..8).map(|_| scene.retry((&id, &secret), "orders:read"));
    let answers = futures::future::join_all(retries).await;
    let won: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 200 || reason(answer) == (400, "challenge_used"))
    );
    let after = scene.retry((&id, &secret), "orders:read").await;
    assert_eq!(reason(&after), (400, "challenge_used"), "{}", after.text);
    let polled = stack.sts(0).get(&format!("/step-up/{id}")).await.expect(200);
    assert_eq!(polled["consumed"], json!(true));

    let won = won.first().expect("one");
    let recorded = eventually("the record of the mandate", Duration::from_secs(10), || async {
        let events = scene.world.events(won.header("X-Request-Id")).await;
        (events.len() == 2).then_some(events)
    })
    .await;
    let types: Vec<_> = recorded
        .iter()
        .map(|event| event["event_type"].as_str().unwrap_or_default())
        .collect();
    assert!(
        types.contains(&"step_up.consumed") && types.contains(&"token_exchange"),
        "{types:?}"
    );
    let held = scene.world.events("held-1").await;
    assert!(
        held.iter().any(|event| event["event_type"] == "step_up.required"),
        "{held:?}"
    );
    assert!(held.iter().all(|event| event["decision"] == "deny"), "{held:?}");
    for path in ["/step-up/0198c0de-0000-7000-8000-000000000000", "/step-up/x"] {
        assert_eq!(stack.sts(0).get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_later_deny_does_not_burn_a_challenge_and_another_type_does_not_count() {
    let stack = Stack::start().await;
    let mut scene = Scene::new(&stack).await;
    let (id, secret) = scene.held().await;
    assert!(scene.hands.satisfy(&id).await);
    let epoch = scene.world.adopt(&allowing(&[])).await;
    scene.sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let denied = scene.retry((&id, &secret), "orders:read").await;
    assert_eq!(reason(&denied), (403, "policy_deny"), "{}", denied.text);
    let epoch = scene.world.adopt(&asking_for("human_approval")).await;
    scene.sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let held = scene.retry((&id, &secret), "orders:read").await;
    assert_eq!(
        (held.status, held.member("challenge_type")),
        (401, "human_approval"),
        "{}",
        held.text
    );
    let epoch = scene.world.adopt(&asking_for("mfa")).await;
    scene.sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    assert_eq!(scene.retry((&id, &secret), "orders:read").await.status, 200);
}

#[tokio::test]
async fn five_wrong_responses_rest_a_challenge() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let (id, secret) = scene.held().await;
    assert!(scene.hands.satisfy(&id).await);
    for _ in 0..5 {
        let wrong = scene.retry((&id, "guess"), "orders:read").await;
        assert_eq!(reason(&wrong), (400, "challenge_invalid"), "{}", wrong.text);
    }
    let rested = scene.retry((&id, &secret), "orders:read").await;
    assert_eq!(
        (rested.status, rested.member("error")),
        (429, "slow_down"),
        "{}",
        rested.text
    );
    let wait: u32 = rested.header("Retry-After").parse().expect("seconds");
    assert!((290..=301).contains(&wait), "{wait}");
    let half = [
        ("subject_token", scene.session.as_str()),
        ("resource", &scene.world.resource),
        ("challenge_id", &id),
    ];
    let half = scene.world.token(&scene.sts, &half).await;
    assert_eq!(reason(&half), (400, "challenge_incomplete"), "{}", half.text);
}

#[tokio::test]
async fn one_held_resource_holds_the_request_and_the_gateway_relays_it() {
    let stack = Stack::start().await;
    let mut scene = Scene::new(&stack).await;
    let open = r#"package caracal.authz
result := {"decision": "allow", "evaluation_status": "complete", "determining_policies": ["p"], "diagnostics": []} if {
  input.resource.identifier == "resource://open"
}
result := {"decision": "deny", "evaluation_status": "complete", "determining_policies": ["p"], "diagnostics": [{"step_up_required": "mfa"}]} if {
  input.resource.identifier != "resource://open"
}"#;
    let body = json!({"identifier": "resource://open", "scopes": ["orders:read"]});
    assert_eq!(
        stack
            .admin()
            .post(&scene.world.path("resources"), &body)
            .await
            .status,
        201
    );
    let epoch = scene.world.adopt(open).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let both = [
        ("subject_token", scene.session.as_str()),
        ("resource", "resource://open"),
        ("resource", &scene.world.resource),
        ("scope", "orders:read"),
    ];
    let held = scene.world.token(&sts, &both).await;
    assert_eq!(held.status, 401, "{}", held.text);
    let gateway = stack.gateway(0).with("Caracal-Min-Epoch", &epoch);
    let relayed = scene.world.through(gateway, &scene.session).get("/orders").await;
    assert_eq!(
        (relayed.status, relayed.member("error")),
        (401, "interaction_required"),
        "{}",
        relayed.text
    );
    assert!(!relayed.member("challenge_id").is_empty() && relayed.member("challenge_secret").len() == 43);
    assert!(
        relayed
            .header("WWW-Authenticate")
            .contains("insufficient_user_authentication")
    );
}

#[tokio::test]
async fn a_proof_given_to_one_delegation_or_agent_is_none_for_another() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let receiver = second(&stack, &scene.world, "receiver").await;
    let session = receiver.token(&scene.sts, &[]).await;
    let session = session.member("access_token");
    let (root, id) = (
        scene.hands.agent(&scene.world.application_id, 3600).await,
        receiver.id.as_str(),
    );
    let (agent, other_agent) = (
        scene.hands.agent(id, 3600).await,
        scene.hands.agent(id, 3600).await,
    );
    let edge = async |to| {
        let from = (root, scene.world.application_id.as_str());
        let edge = scene.hands.edge(from, (to, id), None, bounds("orders:read", 1));
        edge.await.id.to_string()
    };
    let (edge, other_edge, others_edge) = (edge(agent).await, edge(agent).await, edge(other_agent).await);
    let (agent, other_agent) = (agent.to_string(), other_agent.to_string());
    let own = ("agent_session_id", agent.as_str());
    // As whom the same thing can be asked for: nobody is anybody else.
    let ways: [&[(&str, &str)]; 5] = [
        &[own, ("delegation_edge_id", &edge)],
        &[own, ("delegation_edge_id", &other_edge)],
        &[
            ("agent_session_id", &other_agent),
            ("delegation_edge_id", &others_edge),
        ],
        &[own],
        &[],
    ];
    let ask = async |way: &[(&str, &str)], proof: &[(&str, &str)]| {
        let mut fields = vec![
            ("subject_token", session),
            ("resource", scene.world.resource.as_str()),
            ("scope", "orders:read"),
        ];
        fields.extend(way.iter().chain(proof).copied());
        receiver.token(&scene.sts, &fields).await
    };
    for way in ways {
        let held = ask(way, &[]).await;
        assert_eq!(reason(&held), (401, "step_up_required"), "{}", held.text);
        let (challenge, secret) = (held.member("challenge_id"), held.member("challenge_secret"));
        assert!(scene.hands.satisfy(challenge).await);
        let proof = [("challenge_id", challenge), ("challenge_response", secret)];
        for other in ways.into_iter().filter(|other| *other != way) {
            let spent = ask(other, &proof).await;
            assert_eq!(
                reason(&spent),
                (400, "challenge_mismatch"),
                "{way:?} by {other:?}: {}",
                spent.text
            );
        }
        let met = ask(way, &proof).await;
        assert_eq!(met.status, 200, "{way:?}: {}", met.text);
    }
}
