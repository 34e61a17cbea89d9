//! The order of contract §2: of two faults in one request, the one that comes first there is the answer. Every pair of
//! stages is tried.

use crate::hands::{Hands, bounds, second, text};
use crate::signing::unique;
use caracal_testkit::settings::GATEWAY_STS_KEY;
use caracal_testkit::world::{allowing, claims};
use caracal_testkit::{Answer, Client, Stack, World};
use serde_json::json;
use std::collections::BTreeMap;

const NOBODY: &str = "0198c0de-0000-7000-8000-000000000000";

/// What is wrong with a request, and what is said of it.
struct Fault {
    reason: &'static str,
    status: u16,
    fields: Vec<(&'static str, String)>,
}

fn fault(reason: &'static str, status: u16, fields: &[(&'static str, &str)]) -> Fault {
    let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
    Fault {
        reason,
        status,
        fields: fields.collect(),
    }
}

/// A zone in which a delegated request is in order, but for the rate: it is used up.
struct Scene {
    world: World,
    sts: Client,
    good: BTreeMap<&'static str, String>,
    faults: Vec<Fault>,
}

impl Scene {
    async fn new(stack: &Stack) -> Self {
        let mut world = World::new(stack).await;
        let hands = Hands::of(stack, &world);
        let giver = second(stack, &world, "giver").await;
        let agent = hands.agent(&world.application_id, 3600).await;
        let strangers = hands.agent(&giver.id, 3600).await;
        let to = (agent, world.application_id.as_str());
        let edge = hands
            .edge((strangers, &giver.id), to, None, bounds("orders:read", 1))
            .await;
        let (session, ended) = (
            world.session(&stack.sts(0)).await,
            world.session(&stack.sts(0)).await,
        );
        let sid = text(&claims(&ended), "sid");
        assert_eq!(world.revoke_session(&sid).await.status, 200);
        let zone = format!("/v1/zones/{}", world.zone_id);
        let once = json!({"mint_rate_per_minute": 1});
        assert_eq!(stack.admin().patch(&zone, &once).await.status, 200);
        let epoch = world.adopt(&allowing(&["orders:read"])).await;
        let good = BTreeMap::from([
            ("application_id", world.application_id.clone()),
            ("client_secret", world.client_secret.clone()),
            ("subject_token", session),
            ("resource", world.resource.clone()),
            ("scope", "orders:read".to_owned()),
            ("agent_session_id", agent.to_string()),
            ("delegation_edge_id", edge.id.to_string()),
        ]);
        let faults = vec![
            fault("invalid_ttl", 400, &[("ttl_seconds", "0")]),
            fault("invalid_client", 401, &[("client_secret", "wrong")]),
            fault("subject_token_invalid", 400, &[("subject_token", "a.b.c")]),
            fault("actor_token_invalid", 400, &[("actor_token", "a.b.c")]),
            fault("session_revoked", 400, &[("subject_token", &ended)]),
            fault(
                "agent_session_not_usable",
                403,
                &[("agent_session_id", &strangers.to_string())],
            ),
            fault("delegation_not_found", 403, &[("delegation_edge_id", NOBODY)]),
            fault(
                "challenge_invalid",
                400,
                &[("challenge_id", NOBODY), ("challenge_response", "x")],
            ),
            fault("unknown_resource", 400, &[("resource", "resource://none")]),
            fault("platform_scope_on_mandate", 400, &[("scope", "agent:lifecycle")]),
            fault("scope_exceeds_resource", 400, &[("scope", "Orders:Fly *")]),
            fault("scope_exceeds_resource", 400, &[("scope", "orders:fly")]),
            fault("delegation_scopes_exceeded", 403, &[("scope", "orders:write")]),
        ];
        let scene = Self {
            sts: stack.sts(0).with("Caracal-Min-Epoch", &epoch),
            world,
            good,
            faults,
        };
        let first = scene.ask(&scene.sts, &[]).await;
        assert_eq!(
            first.status, 200,
            "the request itself is in order: {}",
            first.text
        );
        scene
    }

    /// Asks with all these faults; of two that sit in the same field, the first.
    async fn ask(&self, sts: &Client, faults: &[&Fault]) -> Answer {
        let mut form = self.good.clone();
        for fault in faults.iter().rev() {
            form.extend(fault.fields.iter().map(|(name, value)| (*name, value.clone())));
        }
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sts.form("/oauth/2/token", &form).await
    }
}

#[tokio::test]
async fn of_two_faults_the_first_in_the_contracts_order_is_the_answer() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let rate = scene.ask(&scene.sts, &[]).await;
    assert_eq!(
        (rate.status, rate.member("reason")),
        (429, "rate_limited"),
        "{}",
        rate.text
    );
    for (place, first) in scene.faults.iter().enumerate() {
        let later = scene.faults.iter().skip(place + 1);
        for faults in std::iter::once(vec![first]).chain(later.map(|second| vec![first, second])) {
            let answer = scene.ask(&scene.sts, &faults).await;
            let named: Vec<_> = faults.iter().map(|fault| fault.reason).collect();
            assert_eq!(
                (answer.status, answer.member("reason")),
                (first.status, first.reason),
                "{named:?}: {}",
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn the_rate_comes_before_the_provider_and_the_provider_before_policy() {
    let stack = Stack::start().await;
    let mut scene = Scene::new(&stack).await;
    let body = json!({
        "identifier": unique(), "kind": "apikey", "config_json": {"location": "header"}, "secret_config": {},
    });
    let provider = stack.admin().post(&scene.world.path("providers"), &body).await;
    assert_eq!(provider.status, 201, "{}", provider.text);
    let keyless = json!({
        "identifier": "resource://keyless", "scopes": ["orders:read"], "upstream_url": scene.world.upstream.url(),
        "credential_provider_id": provider.member("id"),
    });
    let made = stack.admin().post(&scene.world.path("resources"), &keyless).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let epoch = scene.world.adopt(&allowing(&[])).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let denied = scene.ask(&sts, &[]).await;
    assert_eq!(
        denied.member("reason"),
        "rate_limited",
        "before policy: {}",
        denied.text
    );

    let call = [
        ("subject_token", scene.good["subject_token"].as_str()),
        ("resource", "resource://keyless"),
        ("scope", "orders:read"),
        ("method", "GET"),
        ("path", "/orders"),
    ];
    let gateway = sts.clone().bearer(GATEWAY_STS_KEY);
    for reason in ["provider_not_ready", "rate_limited"] {
        let answer = gateway.form("/oauth/2/token", &call).await;
        assert_eq!(answer.member("reason"), reason, "{}", answer.text);
    }
}

#[tokio::test]
async fn what_only_the_class_makes_wrong_is_said_once_the_class_is_known() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let find = |reason: &str| {
        scene
            .faults
            .iter()
            .find(|fault| fault.reason == reason)
            .expect("a fault")
    };
    let no_resource = fault("missing_resource", 400, &[("resource", "")]);
    let cases = [
        (vec![&no_resource, find("session_revoked")], "session_revoked"),
        (
            vec![&no_resource, find("agent_session_not_usable")],
            "missing_resource",
        ),
        (vec![&no_resource, find("challenge_invalid")], "missing_resource"),
    ];
    for (faults, reason) in cases {
        let answer = scene.ask(&scene.sts, &faults).await;
        assert_eq!(answer.member("reason"), reason, "{}", answer.text);
    }
    let session = fault("", 0, &[("subject_token", ""), ("resource", "")]);
    let plain = fault("", 0, &[("delegation_edge_id", "")]);
    let cases = [
        (vec![&session], "stray_parameter"),
        (
            vec![&session, find("agent_session_not_usable")],
            "stray_parameter",
        ),
        (
            vec![&session, &plain, find("agent_session_not_usable")],
            "agent_session_not_usable",
        ),
        (
            vec![&session, &plain, find("challenge_invalid")],
            "challenge_invalid",
        ),
        (vec![&session, &plain], "scope_exceeds_resource"),
    ];
    for (faults, reason) in cases {
        let answer = scene.ask(&scene.sts, &faults).await;
        assert_eq!(answer.member("reason"), reason, "{}", answer.text);
    }
}
