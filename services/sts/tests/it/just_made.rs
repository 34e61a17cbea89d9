//! What was made or changed a moment ago, at a replica that has not heard of it (docs/decisions, 0007): what is new can be
//! used at once, what is gone proves nobody once its epoch is carried, and neither is a way to load the database.

use crate::hands::{Hands, bounds, second};
use crate::signing::{ASSERTION_TYPE, KeyPair, application, assertion_claims, issuer, set};
use caracal_testkit::stack::Service;
use caracal_testkit::world::allowing;
use caracal_testkit::{Answer, Client, Stack, World};
use serde_json::json;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(4);

/// STS replicas that go on believing what they know for [`BOUND`] after the relay has stopped.
async fn replicas(count: usize) -> Stack {
    Stack::builder()
        .replicas(Service::Sts, count)
        .env(Service::Sts, "FEED_MAX_LAG_MS", &BOUND.as_millis().to_string())
        .start()
        .await
}

fn said(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.member("reason"))
}

#[tokio::test]
async fn a_delegation_by_an_application_that_was_just_registered_is_honoured() {
    let mut stack = replicas(1).await;
    let world = World::new(&stack).await;
    let hands = Hands::of(&stack, &world);
    let receiver = second(&stack, &world, "receiver").await;
    let sts = stack.sts(0);
    let session = receiver.token(&sts, &[]).await.member("access_token").to_owned();
    stack.freeze(Service::Relay, 0);
    let root = second(&stack, &world, "root").await;
    let (from, to) = (
        hands.agent(&root.id, 3600).await,
        hands.agent(&receiver.id, 3600).await,
    );
    let edge = hands
        .edge(
            (from, &root.id),
            (to, &receiver.id),
            None,
            bounds("orders:read", 1),
        )
        .await;
    let fields = [
        ("subject_token", session.as_str()),
        ("agent_session_id", &to.to_string()),
        ("delegation_edge_id", &edge.id.to_string()),
        ("resource", &world.resource),
    ];
    let minted = receiver.token(&sts, &fields).await;
    assert_eq!(minted.status, 200, "{}", minted.text);
}

/// A key pair's assertion, presented.
async fn present(sts: &Client, key: &KeyPair, id: &str, issuer: &str) -> Answer {
    let assertion = key.sign(&assertion_claims(id, issuer));
    let form = [
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion.as_str()),
    ];
    sts.form("/oauth/2/token", &form).await
}

#[tokio::test]
async fn a_key_that_was_taken_away_proves_nobody_and_a_new_one_is_good_at_once() {
    let mut stack = replicas(3).await;
    let world = World::new(&stack).await;
    let (old, new) = (KeyPair::new("ES256", "old"), KeyPair::new("ES256", "new"));
    let credential = json!({"credential_type": "public-key", "jwks": set(&[&old])});
    let id = application(&stack, &world, &credential).await;
    let issuer = issuer(&stack, &world).await;
    for replica in 0..3 {
        let known = present(&stack.sts(replica), &old, &id, &issuer).await;
        assert_eq!(known.status, 200, "{}", known.text);
    }
    stack.freeze(Service::Relay, 0);
    let path = world.path(&format!("applications/{id}"));
    let changed = stack.admin().patch(&path, &json!({"jwks": set(&[&new])})).await;
    let changed_at = Instant::now();
    assert_eq!(changed.status, 200, "{}", changed.text);

    let carrying = stack.sts(0).with("Caracal-Min-Epoch", &changed.epoch());
    let gone = present(&carrying, &old, &id, &issuer).await;
    assert_eq!(said(&gone), (401, "invalid_client"), "{}", gone.text);
    let at_once = present(&stack.sts(1), &new, &id, &issuer).await;
    assert_eq!(at_once.status, 200, "{}", at_once.text);
    assert!(
        changed_at.elapsed() < BOUND,
        "the replicas have heard by other ways"
    );

    tokio::time::sleep_until((changed_at + BOUND).into()).await;
    let late = present(&stack.sts(2), &old, &id, &issuer).await;
    assert_eq!(said(&late), (401, "invalid_client"), "{}", late.text);
    assert_eq!(present(&stack.sts(2), &new, &id, &issuer).await.status, 200);
}

#[tokio::test]
async fn a_rotated_secret_proves_nobody_and_the_new_one_is_good_at_once() {
    let mut stack = replicas(2).await;
    let mut world = World::new(&stack).await;
    for replica in 0..2 {
        assert_eq!(world.token(&stack.sts(replica), &[]).await.status, 200);
    }
    stack.freeze(Service::Relay, 0);
    let path = world.path(&format!("applications/{}/rotate-secret", world.application_id));
    let rotated = stack.admin().post(&path, &json!({})).await;
    let carrying = stack.sts(0).with("Caracal-Min-Epoch", &rotated.epoch());
    let old = world.token(&carrying, &[]).await;
    assert_eq!(said(&old), (401, "invalid_client"), "{}", old.text);
    world.client_secret = rotated.member("client_secret").to_owned();
    let new = world.token(&stack.sts(1), &[]).await;
    assert_eq!(new.status, 200, "{}", new.text);
}

/// A secret, a resource and an issuer of nobody's, and what is said of each.
async fn miss(world: &World, sts: &Client, session: &str, number: usize) {
    let nobody = format!("0198c0de-0000-7000-8000-{number:012}");
    let (answer, reason) = if number.is_multiple_of(2) {
        let form = [
            ("zone_id", world.zone_id.as_str()),
            ("application_id", &nobody),
            ("client_secret", "guess"),
        ];
        (sts.form("/oauth/2/token", &form).await, "invalid_client")
    } else {
        let fields = [
            ("subject_token", session),
            ("resource", &format!("resource://{nobody}")),
        ];
        (world.token(sts, &fields).await, "unknown_resource")
    };
    assert_eq!(answer.member("reason"), reason, "{}", answer.text);
}

#[tokio::test]
async fn misses_that_come_together_are_one_question_to_the_database() {
    const MISSES: usize = 60;
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let asked = || {
        let statements = stack.postgres().statements("caracal-sts");
        let epochs = statements.iter().filter(|(text, _)| text.contains("epoch"));
        epochs.map(|(_, times)| times).sum::<u64>()
    };
    let before = asked();
    // While the first question waits for its answer, everybody comes.
    let holder = stack.database().connect().await;
    let lock = "BEGIN; LOCK TABLE zones IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect("the lock");
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        holder.batch_execute("ROLLBACK").await.expect("released");
    };
    let crowd = futures::future::join_all((0..MISSES).map(|number| miss(&world, &sts, &session, number)));
    tokio::join!(crowd, release);
    let asked = asked() - before;
    println!("{MISSES} misses, {asked} questions");
    // And a few of the STS's own.
    assert!(asked <= 15, "{asked} questions");
}

#[tokio::test]
async fn whatever_misses_came_before_what_was_just_made_is_found_at_once() {
    let mut stack = replicas(1).await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    stack.freeze(Service::Relay, 0);
    for round in 0..3 {
        futures::future::join_all((0..80).map(|number| miss(&world, &sts, &session, round * 80 + number)))
            .await;
        let identifier = format!("resource://made/{round}");
        let body = json!({"identifier": identifier, "scopes": ["orders:read"]});
        let made = stack.admin().post(&world.path("resources"), &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let fields = [
            ("subject_token", session.as_str()),
            ("resource", &identifier),
            ("scope", "orders:read"),
        ];
        let minted = world.token(&sts, &fields).await;
        assert_eq!(minted.status, 200, "{}", minted.text);
        let application = second(&stack, &world, &format!("made-{round}")).await;
        let opened = application.token(&sts, &[]).await;
        assert_eq!(opened.status, 200, "{}", opened.text);
    }
    let issuer = crate::users::Issuer::register(&stack, &world, "idp|", false).await;
    let token = issuer.id_token("ada");
    let signed_in = world.token(&sts, &[("subject_token", &token)]).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text);
}

/// Somebody names a zone or an application that nobody has; always told so plainly.
async fn name_nobody(sts: &Client, number: u64) {
    let nobody = format!("0198c0de-0001-7000-8000-{number:012}");
    let form = [("application_id", nobody.as_str()), ("client_secret", "guess")];
    let (answer, expected) = match number % 4 {
        0 => (
            sts.get(&format!("/zones/{nobody}/.well-known/jwks.json")).await,
            404,
        ),
        1 => {
            let path = format!("/.well-known/oauth-authorization-server/zones/{nobody}");
            (sts.get(&path).await, 404)
        }
        2 => (sts.form("/oauth/2/token", &form).await, 401),
        _ => {
            let path = format!("/zones/{nobody}/oauth/2/token");
            (sts.form(&path, &form).await, 401)
        }
    };
    assert_eq!(answer.status, expected, "{}", answer.text);
}

#[tokio::test]
async fn nobody_is_refused_for_the_names_that_others_at_its_address_make_up() {
    const AT_ONCE: u64 = 16;
    let stack = Stack::start().await;
    let sts = stack.sts(0);
    let over = tokio::sync::watch::channel(false).0;
    let flood = futures::future::join_all((0..AT_ONCE).map(|one| {
        let (sts, over) = (&sts, &over);
        async move {
            let mut named = 0;
            while !*over.borrow() {
                name_nobody(sts, one + AT_ONCE * named).await;
                named += 1;
            }
            named
        }
    }));
    let known = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..4 {
            let world = World::new(&stack).await;
            let form = [
                ("client_id", world.application_id.as_str()),
                ("client_secret", &world.client_secret),
            ];
            let opened = sts.form("/oauth/2/token", &form).await;
            assert_eq!(opened.status, 200, "{}", opened.text);
            let keys = sts
                .get(&format!("/zones/{}/.well-known/jwks.json", world.zone_id))
                .await;
            assert_eq!(keys.status, 200, "{}", keys.text);
        }
        over.send_replace(true);
    };
    let (named, ()) = tokio::join!(flood, known);
    let named: u64 = named.iter().sum();
    println!("{named} names of nobody");
    assert!(named > 100, "no flood at all: {named}");

    let asked = || {
        let statements = stack.postgres().statements("caracal-sts");
        let looked = statements
            .iter()
            .filter(|(text, _)| text.contains("epoch") || text.contains("FROM \"applications\""));
        looked.map(|(_, times)| times).sum::<u64>()
    };
    let (before, nobody) = (asked(), "0198c0de-0002-7000-8000-000000000000");
    for _ in 0..20 {
        let keys = sts.get(&format!("/zones/{nobody}/.well-known/jwks.json")).await;
        assert_eq!(keys.status, 404, "{}", keys.text);
    }
    let again = asked() - before;
    assert!(
        again < 10,
        "the same name is not asked for again at once: {again}"
    );
}

#[tokio::test]
async fn a_key_made_by_emergencies_that_this_replica_has_not_heard_of_is_good_at_once() {
    let mut stack = replicas(2).await;
    let world = World::new(&stack).await;
    for replica in 0..2 {
        world.session(&stack.sts(replica)).await;
    }
    stack.freeze(Service::Relay, 0);
    let mut epoch = String::new();
    // After the first one the key is the next one, which was published before; after the second one nobody knows it.
    for _ in 0..2 {
        let path = world.path("signing-keys/rotate");
        let rotated = stack.admin().post(&path, &json!({"mode": "emergency"})).await;
        assert_eq!(rotated.status, 200, "{}", rotated.text);
        epoch = rotated.epoch();
    }
    let session = world
        .session(&stack.sts(0).with("Caracal-Min-Epoch", &epoch))
        .await;
    let minted = world.mandate(&stack.sts(1), &session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
}

#[tokio::test]
async fn a_token_of_a_key_just_made_is_told_good_and_can_be_given_back_where_it_is_unknown() {
    let mut stack = replicas(3).await;
    let world = World::new(&stack).await;
    for replica in 0..3 {
        world.session(&stack.sts(replica)).await;
    }
    stack.freeze(Service::Relay, 0);
    let mut epoch = String::new();
    for _ in 0..2 {
        let path = world.path("signing-keys/rotate");
        let rotated = stack.admin().post(&path, &json!({"mode": "emergency"})).await;
        epoch = rotated.epoch();
    }
    let session = world
        .session(&stack.sts(0).with("Caracal-Min-Epoch", &epoch))
        .await;
    let form = [
        ("client_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", &session),
    ];
    let told = stack.sts(1).form("/oauth/2/introspect", &form).await.expect(200);
    assert_eq!(told["active"], json!(true));
    let revoked = stack.sts(2).form("/oauth/2/revoke", &form).await;
    assert_eq!(revoked.status, 200);
    let later = stack.sts(2).with("Caracal-Min-Epoch", &revoked.epoch());
    let refused = world.mandate(&later, &session, "orders:read").await;
    assert_eq!(said(&refused), (400, "session_revoked"), "{}", refused.text);
}

#[tokio::test]
async fn a_first_policy_that_cannot_be_loaded_yet_is_not_the_same_as_none() {
    let mut stack = replicas(1).await;
    let mut world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let archived = stack
        .admin()
        .delete(&world.path(&format!("policy-sets/{}", world.policy_set_id)))
        .await;
    let emptied = sts.clone().with("Caracal-Min-Epoch", &archived.epoch());
    let refused = world.mandate(&emptied, &session, "orders:read").await;
    assert_eq!(said(&refused), (403, "no_active_policy_set"), "{}", refused.text);

    stack.freeze(Service::Relay, 0);
    let made = stack
        .admin()
        .post(&world.path("policy-sets"), &json!({"name": "next"}))
        .await;
    made.member("id").clone_into(&mut world.policy_set_id);
    let database = stack.database().connect().await;
    let hide = "REVOKE SELECT ON policy_modules FROM caracal_sts";
    database.batch_execute(hide).await.expect("hidden");
    world
        .adopt(&format!("{}# another\n", allowing(&["orders:read"])))
        .await;
    let waiting = world.mandate(&sts, &session, "orders:read").await;
    let show = "GRANT SELECT ON policy_modules TO caracal_sts";
    database.batch_execute(show).await.expect("shown");
    assert_eq!(said(&waiting), (503, "stale_state"), "{}", waiting.text);
    let minted = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
}
