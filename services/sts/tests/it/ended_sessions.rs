//! An agent ends with the session it hangs on, however that ended and whatever is left to tell of it (contract §3, §4).

use crate::hands::{Hands, Second, bounds, second, text};
use crate::users::Issuer;
use caracal_domain::agent::AgentStatus;
use caracal_domain::id::{AgentSessionId, SessionId};
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Client, Stack, World};
use serde_json::json;
use std::time::Duration;

fn sid(token: &str) -> SessionId {
    text(&claims(token), "sid").parse().expect("an id")
}

fn got(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.member("reason"))
}

const NOT_ACTIVE: (u16, &str) = (403, "agent_session_not_active");

/// A world with a session that nobody takes away, to act with.
struct Scene {
    world: World,
    hands: Hands,
    sts: Client,
    session: String,
}

impl Scene {
    async fn new(stack: &Stack) -> Self {
        let world = World::new(stack).await;
        let (hands, sts) = (Hands::of(stack, &world), stack.sts(0));
        let session = world.session(&sts).await;
        Self {
            world,
            hands,
            sts,
            session,
        }
    }

    async fn agent_on(&self, session: SessionId) -> AgentSessionId {
        let application = &self.world.application_id;
        self.hands.agent_below(Some(session), application, 3600).await
    }

    async fn act(&self, sts: &Client, agent: AgentSessionId) -> Answer {
        let fields = [
            ("subject_token", self.session.as_str()),
            ("agent_session_id", &agent.to_string()),
            ("resource", &self.world.resource),
            ("scope", "orders:read"),
        ];
        self.world.token(sts, &fields).await
    }

    /// An agent of `receiver` that this one hands `orders:read` on to: the agent, and the edge that reaches it.
    async fn hand_on(&self, agent: AgentSessionId, receiver: &Second) -> [String; 2] {
        let target = self.hands.agent(&receiver.id, 3600).await;
        let (from, to) = (
            (agent, self.world.application_id.as_str()),
            (target, receiver.id.as_str()),
        );
        let edge = self.hands.edge(from, to, None, bounds("orders:read", 1)).await;
        [target.to_string(), edge.id.to_string()]
    }

    fn at(&self, epoch: &str) -> Client {
        self.sts.clone().with("Caracal-Min-Epoch", epoch)
    }
}

#[tokio::test]
async fn an_agent_below_a_revoked_root_cannot_act_nor_can_one_reached_by_delegation_from_it() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let root = sid(&scene.world.session(&scene.sts).await);
    let first = scene.agent_on(root).await;
    let below = scene
        .world
        .token(&scene.sts, &[("agent_session_id", &first.to_string())])
        .await;
    let below = sid(below.member("access_token"));
    assert_ne!(below, root);
    let agent = scene.agent_on(below).await;
    assert_eq!(scene.act(&scene.sts, agent).await.status, 200);
    let receiver = second(&stack, &scene.world, "receiver").await;
    let [target, edge] = scene.hand_on(agent, &receiver).await;
    let session = receiver.token(&scene.sts, &[]).await;
    let redeeming = [
        ("subject_token", session.member("access_token")),
        ("agent_session_id", &target),
        ("delegation_edge_id", &edge),
        ("resource", &scene.world.resource),
    ];
    let minted = receiver.token(&scene.sts, &redeeming).await;
    assert_eq!(minted.status, 200, "{}", minted.text);

    // The anchors alone, as a replica first hears of it.
    let epoch = scene.hands.end_below(root).await;
    let refused = scene.act(&scene.at(&epoch), agent).await;
    assert_eq!(got(&refused), NOT_ACTIVE, "{}", refused.text);
    let hop = receiver.token(&scene.at(&epoch), &redeeming).await;
    assert_eq!(got(&hop), NOT_ACTIVE, "{}", hop.text);
}

#[tokio::test]
async fn a_revocation_counts_when_no_anchor_tells_of_it_any_more() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let short = scene.world.token(&scene.sts, &[("ttl_seconds", "3")]).await;
    let short = sid(short.member("access_token"));
    let (known, unknown) = (scene.agent_on(short).await, scene.agent_on(short).await);
    let kept = scene.agent_on(sid(&scene.session)).await;
    for agent in [known, kept] {
        assert_eq!(scene.act(&scene.sts, agent).await.status, 200);
    }
    let revoked =
        format!("UPDATE sessions SET revoked_at = now(), revoked_reason = 'tests' WHERE id = '{short}'");
    let database = stack.database().connect().await;
    database.batch_execute(&revoked).await.expect("revoked");
    let refused = scene.act(&scene.sts, unknown).await;
    assert_eq!(got(&refused), NOT_ACTIVE, "read just now: {}", refused.text);
    // Until here an anchor would say so; it goes with the session's own end, the agent has an hour.
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let refused = scene.act(&scene.sts, known).await;
    assert_eq!(got(&refused), NOT_ACTIVE, "known from before: {}", refused.text);
    assert_eq!(scene.act(&scene.sts, kept).await.status, 200);
}

#[tokio::test]
async fn an_agent_ends_when_its_session_expires_and_no_mandate_outlives_either() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let opened = scene.world.token(&scene.sts, &[("ttl_seconds", "5")]).await;
    let agent = scene.agent_on(sid(opened.member("access_token"))).await;
    let receiver = second(&stack, &scene.world, "receiver").await;
    let [target, edge] = scene.hand_on(agent, &receiver).await;
    let session = receiver.token(&scene.sts, &[]).await;
    let redeeming = [
        ("subject_token", session.member("access_token")),
        ("agent_session_id", &target),
        ("delegation_edge_id", &edge),
        ("resource", &scene.world.resource),
    ];
    for minted in [
        scene.act(&scene.sts, agent).await,
        receiver.token(&scene.sts, &redeeming).await,
    ] {
        assert_eq!(minted.status, 200, "{}", minted.text);
        let seconds = minted.body["expires_in"].as_i64().expect("seconds");
        assert!((1..=5).contains(&seconds), "{}", minted.text);
    }
    tokio::time::sleep(Duration::from_millis(5100)).await;
    let unknown = scene.agent_on(sid(opened.member("access_token"))).await;
    for refused in [
        scene.act(&scene.sts, agent).await,
        scene.act(&scene.sts, unknown).await,
        receiver.token(&scene.sts, &redeeming).await,
    ] {
        assert_eq!(got(&refused), NOT_ACTIVE, "{}", refused.text);
    }
}

/// What an agent that hangs on one session had minted through another ends with the first, by whichever way that ends.
#[tokio::test]
async fn what_an_agent_minted_ends_with_the_session_it_hangs_on() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let receiver = second(&stack, &scene.world, "receiver").await;
    let theirs = receiver
        .token(&scene.sts, &[])
        .await
        .member("access_token")
        .to_owned();
    let application = scene.world.application_id.as_str();
    let credentials = |token: &str| {
        vec![
            ("client_id", application.to_owned()),
            ("client_secret", scene.world.client_secret.clone()),
            ("token", token.to_owned()),
        ]
    };
    let sent = async |sts: &Client, path: &str, token: &str| {
        let form = credentials(token);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sts.form(path, &form).await
    };
    for by_api in [true, false] {
        let trunk = scene.world.session(&scene.sts).await;
        let agent = scene.agent_on(sid(&trunk)).await;
        let [target, edge] = scene.hand_on(agent, &receiver).await;
        let redeeming = [
            ("subject_token", theirs.as_str()),
            ("agent_session_id", &target),
            ("delegation_edge_id", &edge),
            ("resource", &scene.world.resource),
        ];
        let own = scene.act(&scene.sts, agent).await;
        let handed_on = receiver.token(&scene.sts, &redeeming).await;
        let mandates = [own.member("access_token"), handed_on.member("access_token")];
        for mandate in mandates {
            let told = sent(&scene.sts, "/oauth/2/introspect", mandate).await;
            assert_eq!(told.body["active"], json!(true), "{}", told.text);
        }
        let ended = if by_api {
            scene.world.revoke_session(&sid(&trunk).to_string()).await
        } else {
            sent(&scene.sts, "/oauth/2/revoke", &trunk).await
        };
        assert_eq!(ended.status, 200, "{}", ended.text);
        for mandate in mandates {
            let told = sent(&scene.at(&ended.epoch()), "/oauth/2/introspect", mandate).await;
            assert_eq!(told.body, json!({"active": false}), "by_api {by_api}");
        }
        let refused = scene.act(&scene.at(&ended.epoch()), agent).await;
        assert_eq!(got(&refused), NOT_ACTIVE, "{}", refused.text);
    }
}

#[tokio::test]
async fn an_agent_on_a_session_of_a_subject_that_is_cut_off_cannot_act() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let issuer = text(&claims(&scene.session), "iss");
    let ada = scene.hands.user_session(&scene.world, &issuer, "ada").await;
    let eve = scene.hands.user_session(&scene.world, &issuer, "eve").await;
    let (of_ada, of_eve) = (scene.agent_on(sid(&ada)).await, scene.agent_on(sid(&eve)).await);
    for agent in [of_ada, of_eve] {
        assert_eq!(scene.act(&scene.sts, agent).await.status, 200);
    }
    let epoch = scene.hands.cut_off("ada").await;
    let refused = scene.act(&scene.at(&epoch), of_ada).await;
    assert_eq!(got(&refused), NOT_ACTIVE, "{}", refused.text);
    assert_eq!(scene.act(&scene.at(&epoch), of_eve).await.status, 200);
    let again = scene.world.mandate(&scene.at(&epoch), &ada, "orders:read").await;
    assert_eq!(got(&again), (400, "subject_revoked"), "{}", again.text);
}

#[tokio::test]
async fn an_agent_on_a_users_session_acts_for_no_other_user() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let registered = Issuer::register(&stack, &scene.world, "", false).await;
    let signed_in = async |user: &str, more: &[(&str, &str)]| {
        let token = registered.id_token(user);
        registered.sign_in(&stack, &scene.world, &token, more).await
    };
    let ada = signed_in("ada", &[]).await.member("access_token").to_owned();
    let eve = signed_in("eve", &[]).await.member("access_token").to_owned();
    let (of_ada, own) = (
        scene.agent_on(sid(&ada)).await,
        scene.agent_on(sid(&scene.session)).await,
    );
    let refused = (403, "agent_session_not_usable");
    for (session, agent, expected) in [
        (&ada, of_ada, (200, "")),
        (&scene.session, of_ada, (200, "")),
        (&eve, of_ada, refused),
        (&eve, own, (200, "")),
    ] {
        let fields = [
            ("subject_token", session.as_str()),
            ("agent_session_id", &agent.to_string()),
            ("resource", &scene.world.resource),
            ("scope", "orders:read"),
        ];
        let minted = scene.world.token(&scene.sts, &fields).await;
        assert_eq!(got(&minted), expected, "{}", minted.text);
    }
    let as_agent = [("agent_session_id", of_ada.to_string())];
    let as_agent = as_agent.each_ref().map(|(name, id)| (*name, id.as_str()));
    let other = signed_in("eve", &as_agent).await;
    assert_eq!(got(&other), refused, "{}", other.text);
    assert_eq!(signed_in("ada", &as_agent).await.status, 200);
    assert_eq!(scene.world.token(&scene.sts, &as_agent).await.status, 200);
}

#[tokio::test]
async fn nobody_acts_as_an_agent_that_may_not() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let helper = second(&stack, &scene.world, "helper").await;
    let agent = scene.hands.agent(&helper.id, 3600).await;
    let bound = helper
        .token(&scene.sts, &[("agent_session_id", &agent.to_string())])
        .await;
    let actor = bound.member("access_token");
    let act = async |sts: &Client| {
        let fields = [
            ("subject_token", scene.session.as_str()),
            ("actor_token", actor),
            ("resource", &scene.world.resource),
            ("scope", "orders:read"),
        ];
        scene.world.token(sts, &fields).await
    };
    assert_eq!(act(&scene.sts).await.status, 200);
    let epoch = scene.hands.move_agent(agent, AgentStatus::Suspended).await;
    let suspended = act(&scene.at(&epoch)).await;
    assert_eq!(
        got(&suspended),
        (400, "actor_agent_not_active"),
        "{}",
        suspended.text
    );
    let epoch = scene.hands.move_agent(agent, AgentStatus::Active).await;
    assert_eq!(act(&scene.at(&epoch)).await.status, 200);
    let epoch = scene.hands.terminate_agent(agent).await;
    let ended = act(&scene.at(&epoch)).await;
    assert_eq!(got(&ended), (400, "actor_revoked"), "{}", ended.text);
    let subject = [
        ("subject_token", actor),
        ("resource", scene.world.resource.as_str()),
        ("scope", "orders:read"),
    ];
    let as_subject = helper.token(&scene.at(&epoch), &subject).await;
    assert_eq!(
        got(&as_subject),
        (400, "agent_session_revoked"),
        "{}",
        as_subject.text
    );
}

#[tokio::test]
async fn a_session_that_is_given_back_ends_those_below_it_though_it_is_no_root() {
    let stack = Stack::start().await;
    let scene = Scene::new(&stack).await;
    let root = scene.world.session(&scene.sts).await;
    let mut sessions = vec![root];
    for _ in 0..2 {
        let above = sid(sessions.last().expect("one above"));
        let agent = scene.agent_on(above).await.to_string();
        let opened = scene
            .world
            .token(&scene.sts, &[("agent_session_id", &agent)])
            .await;
        sessions.push(opened.member("access_token").to_owned());
    }
    let proved = |token: &str| -> Vec<(&str, String)> {
        vec![
            ("client_id", scene.world.application_id.clone()),
            ("client_secret", scene.world.client_secret.clone()),
            ("token", token.to_owned()),
        ]
    };
    let sent = |sts: Client, path: &'static str, token: String| {
        let form = proved(&token);
        async move {
            let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            sts.form(path, &form).await
        }
    };
    let given_back = sent(scene.sts.clone(), "/oauth/2/revoke", sessions[1].clone()).await;
    assert_eq!(given_back.status, 200, "{}", given_back.text);
    let later = scene.at(&given_back.epoch());
    for (token, active) in sessions.iter().zip([true, false, false]) {
        let told = sent(later.clone(), "/oauth/2/introspect", token.clone()).await;
        assert_eq!(told.expect(200)["active"], active, "{sessions:?}");
    }
}
