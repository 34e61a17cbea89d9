//! Whoever was cut off may sign in again at once, also where nobody has heard of the cut-off yet (contract §1, "Sessions":
//! "without `block_until` the subject may sign in again").

use crate::hands::{Hands, text};
use crate::step_up::asking_for;
use crate::users::Issuer;
use caracal_testkit::stack::Service;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Client, Stack, World};
use serde_json::json;

const WAYS: [Way; 3] = [Way::User, Way::Application, Way::Grant];

/// Whose sessions are cut off, and how.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A user's, by the kill switch.
    User,
    /// An application's that acts for itself, by the kill switch.
    Application,
    /// A user's, by ending a grant.
    Grant,
}

struct Scene {
    stack: Stack,
    world: World,
    issuer: Issuer,
}

impl Scene {
    /// Replicas that go on believing what they know for four seconds after the relay has stopped.
    async fn new(replicas: usize) -> Self {
        let stack = Stack::builder()
            .replicas(Service::Sts, replicas)
            .env(Service::Sts, "FEED_MAX_LAG_MS", "4000")
            .start()
            .await;
        let world = World::new(&stack).await;
        let issuer = Issuer::register(&stack, &world, "idp|", false).await;
        let scene = Self { stack, world, issuer };
        for replica in 0..replicas {
            let sts = scene
                .stack
                .sts(replica)
                .with("Caracal-Min-Epoch", &scene.issuer.epoch);
            assert_eq!(scene.world.token(&sts, &[]).await.status, 200);
        }
        scene
    }

    async fn granted(&self) -> String {
        let grant = json!({
            "application_id": self.world.application_id, "user_id": "idp|ada", "resource_id": self.world.resource_id,
            "scopes": ["orders:read"],
        });
        let made = self.stack.admin().post(&self.world.path("grants"), &grant).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.member("id").to_owned()
    }

    /// Cuts off; the epoch that shows it.
    async fn cut(&self, way: Way, grant: Option<&str>) -> String {
        let admin = self.stack.admin();
        let subject = match way {
            Way::User | Way::Grant => "idp|ada",
            Way::Application => &self.world.application_id,
        };
        let cut = if let Some(grant) = grant {
            admin.delete(&self.world.path(&format!("grants/{grant}"))).await
        } else {
            let body = json!({"subject_id": subject});
            admin.post(&self.world.path("subjects/revoke"), &body).await
        };
        assert!(cut.status < 300, "{way:?}: {}", cut.text);
        cut.epoch()
    }

    async fn sign_in(&self, way: Way, sts: &Client) -> Answer {
        match way {
            Way::Application => self.world.token(sts, &[]).await,
            Way::User | Way::Grant => {
                let token = self.issuer.id_token("ada");
                self.world.token(sts, &[("subject_token", &token)]).await
            }
        }
    }

    async fn grant_of(&self, way: Way) -> Option<String> {
        match way {
            Way::Grant => Some(self.granted().await),
            Way::User | Way::Application => None,
        }
    }
}

#[tokio::test]
async fn a_session_opened_right_after_a_cut_off_is_good_and_so_are_its_mandates() {
    const ROUNDS: usize = 8;
    let scene = Scene::new(1).await;
    let sts = scene.stack.sts(0);
    for way in WAYS {
        for round in 0..ROUNDS {
            let grant = scene.grant_of(way).await;
            let before = scene.sign_in(way, &sts).await;
            assert_eq!(before.status, 200, "{way:?} {round}: {}", before.text);
            let epoch = scene.cut(way, grant.as_deref()).await;
            let opened = scene.sign_in(way, &sts).await;
            assert_eq!(opened.status, 200, "{way:?} {round}: {}", opened.text);
            let session = opened.member("access_token");
            let minted = scene.world.mandate(&sts, session, "orders:read").await;
            assert_eq!(minted.status, 200, "{way:?} {round}: {}", minted.text);
            // By now everybody has heard of it.
            let later = sts.clone().with("Caracal-Min-Epoch", &epoch);
            let again = scene.world.mandate(&later, session, "orders:read").await;
            assert_eq!(again.status, 200, "{way:?} {round}: {}", again.text);
            let gateway = scene.stack.gateway(0).with("Caracal-Min-Epoch", &epoch);
            let passed = scene
                .world
                .through(gateway, again.member("access_token"))
                .get("/orders")
                .await;
            assert_eq!(passed.status, 200, "{way:?} {round}: {}", passed.text);
            let ended = scene
                .world
                .mandate(&later, before.member("access_token"), "orders:read")
                .await;
            let got = (ended.status, ended.member("error"));
            assert_eq!(got, (400, "invalid_grant"), "{way:?} {round}: {}", ended.text);
        }
    }
}

#[tokio::test]
async fn where_nobody_has_heard_of_the_cut_off_the_session_and_its_mandates_are_still_newer_than_it() {
    let mut scene = Scene::new(2).await;
    let (first, second) = (scene.stack.sts(0), scene.stack.sts(1));
    for way in WAYS {
        let grant = scene.grant_of(way).await;
        let known = scene.sign_in(way, &first).await;
        assert_eq!(known.status, 200, "{way:?}: {}", known.text);
        scene.stack.freeze(Service::Relay, 0);
        let epoch = scene.cut(way, grant.as_deref()).await;
        let drawn: i64 = epoch.parse().expect("an epoch");
        let opened = scene.sign_in(way, &first).await;
        assert_eq!(opened.status, 200, "{way:?}: {}", opened.text);
        let session = opened.member("access_token");
        let at = |token: &str| claims(token)["epoch"].as_i64().expect("an epoch");
        assert!(at(session) >= drawn, "{way:?}: {} {drawn}", at(session));
        let minted = scene.world.mandate(&second, session, "orders:read").await;
        assert_eq!(minted.status, 200, "{way:?}: {}", minted.text);
        let mandate = minted.member("access_token");
        assert!(at(mandate) >= drawn, "{way:?}: {} {drawn}", at(mandate));
        scene.stack.thaw(Service::Relay, 0);
        let gateway = scene.stack.gateway(0).with("Caracal-Min-Epoch", &epoch);
        let passed = scene.world.through(gateway, mandate).get("/orders").await;
        assert_eq!(passed.status, 200, "{way:?}: {}", passed.text);
    }
}

#[tokio::test]
async fn an_actor_that_signed_in_again_may_act_where_its_cut_off_is_not_known() {
    let mut scene = Scene::new(2).await;
    let helper = crate::hands::second(&scene.stack, &scene.world, "helper").await;
    let (first, second) = (scene.stack.sts(0), scene.stack.sts(1));
    let before = helper.token(&second, &[]).await;
    assert_eq!(before.status, 200, "{}", before.text);
    scene.stack.freeze(Service::Relay, 0);
    let body = json!({"subject_id": helper.id});
    let cut = scene
        .stack
        .admin()
        .post(&scene.world.path("subjects/revoke"), &body)
        .await;
    assert!(cut.status < 300, "{}", cut.text);
    let actor = helper.token(&first, &[]).await;
    let token = scene.issuer.id_token("ada");
    let acted = [
        ("subject_token", token.as_str()),
        ("actor_token", actor.member("access_token")),
    ];
    let opened = scene.world.token(&second, &acted).await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    scene.stack.thaw(Service::Relay, 0);
    let later = second.with("Caracal-Min-Epoch", &cut.epoch());
    let session = opened.member("access_token");
    let minted = scene.world.mandate(&later, session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
}

#[tokio::test]
async fn a_challenge_that_was_met_opens_a_session_that_is_newer_than_the_cut_off() {
    let mut scene = Scene::new(1).await;
    scene.world.adopt(&asking_for("mfa")).await;
    let sts = scene.stack.sts(0).with("Caracal-Min-Epoch", &scene.world.epoch);
    let token = scene.issuer.id_token("ada");
    let wish = [
        ("subject_token", token.as_str()),
        ("resource", scene.world.resource.as_str()),
        ("scope", "orders:read"),
    ];
    let held = scene.world.token(&sts, &wish).await;
    assert_eq!(held.status, 401, "{}", held.text);
    let (id, secret) = (
        text(&held.body, "challenge_id"),
        text(&held.body, "challenge_secret"),
    );
    assert!(Hands::of(&scene.stack, &scene.world).satisfy(&id).await);
    scene.stack.freeze(Service::Relay, 0);
    let drawn: i64 = scene.cut(Way::User, None).await.parse().expect("an epoch");
    let mut retry = wish.to_vec();
    retry.extend([("challenge_id", id.as_str()), ("challenge_response", &secret)]);
    let opened = scene.world.token(&sts, &retry).await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    let epoch = claims(opened.member("access_token"))["epoch"].as_i64();
    assert!(epoch.is_some_and(|epoch| epoch >= drawn), "{epoch:?} {drawn}");
    let twice = scene.world.token(&sts, &retry).await;
    assert_eq!(twice.member("reason"), "challenge_used", "{}", twice.text);
    scene.stack.thaw(Service::Relay, 0);
}
