//! What was made or changed a moment ago, at a replica that has not heard of it (docs/decisions, 0007): what is new can be
//! used at once, what is gone proves nobody once its epoch is carried, and neither is a way to load the database.

use crate::hands::{Hands, bounds, second};
use crate::signing::{ASSERTION_TYPE, KeyPair, application, assertion_claims, issuer, set};
use caracal_testkit::stack::Service;
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

#[tokio::test]
async fn misses_are_not_a_way_to_load_the_database() {
    const MISSES: u64 = 300;
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let asked = || {
        let statements = stack.postgres().statements("caracal-sts");
        let epochs = statements.iter().filter(|(text, _)| text.contains("epoch"));
        epochs.map(|(_, times)| times).sum::<u64>()
    };
    for stranger in [true, false] {
        let (before, started) = (asked(), Instant::now());
        for number in 0..MISSES {
            let nobody = format!("0198c0de-0000-7000-8000-{number:012}");
            let answer = if stranger {
                let form = [
                    ("zone_id", world.zone_id.as_str()),
                    ("application_id", &nobody),
                    ("client_secret", "guess"),
                ];
                sts.form("/oauth/2/token", &form).await
            } else {
                let fields = [
                    ("subject_token", session.as_str()),
                    ("resource", &format!("resource://{nobody}")),
                ];
                world.token(&sts, &fields).await
            };
            let reason = if stranger {
                "invalid_client"
            } else {
                "unknown_resource"
            };
            assert_eq!(answer.member("reason"), reason, "{}", answer.text);
        }
        let (asked, took) = (asked() - before, started.elapsed());
        println!("{MISSES} misses in {took:?}, {asked} questions");
        // Twenty a second, twenty at once, and a few of the STS's own.
        assert!(
            asked <= 20 * (took.as_secs() + 2) + 10,
            "{asked} questions in {took:?}"
        );
        assert!(asked < MISSES / 2, "{asked} questions in {took:?}");
    }
}

#[tokio::test]
async fn what_nobody_has_is_not_asked_for_at_the_rate_of_strangers() {
    const MISSES: u64 = 200;
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    assert_eq!(world.token(&sts, &[]).await.status, 200);
    // Reads of a zone's epoch, and of an application's zone.
    let asked = || {
        let statements = stack.postgres().statements("caracal-sts");
        let looked = statements
            .iter()
            .filter(|(text, _)| text.contains("epoch") || text.contains("FROM \"applications\""));
        looked.map(|(_, times)| times).sum::<u64>()
    };
    for what in ["zone", "application", "keys", "metadata"] {
        let (before, started) = (asked(), Instant::now());
        let mut rested = 0;
        for number in 0..MISSES {
            let nobody = format!("0198c0de-0001-7000-8000-{number:012}");
            let form = [("application_id", nobody.as_str()), ("client_secret", "guess")];
            let (answer, missing) = match what {
                "keys" => (
                    sts.get(&format!("/zones/{nobody}/.well-known/jwks.json")).await,
                    404,
                ),
                "metadata" => (
                    sts.get(&format!("/.well-known/oauth-authorization-server/zones/{nobody}"))
                        .await,
                    404,
                ),
                "application" => (sts.form("/oauth/2/token", &form).await, 401),
                _ => (
                    sts.form(&format!("/zones/{nobody}/oauth/2/token"), &form).await,
                    401,
                ),
            };
            if answer.status == 429 {
                rested += 1;
                let told = (answer.member("error"), answer.header("Retry-After"));
                assert!(told.0 == "slow_down" && !told.1.is_empty(), "{}", answer.text);
            } else {
                assert_eq!(answer.status, missing, "{what}: {}", answer.text);
            }
        }
        let (asked, took) = (asked() - before, started.elapsed());
        println!("{what}: {MISSES} misses in {took:?}, {asked} questions, {rested} told to wait");
        assert!(rested > 0, "{what}");
        assert!(
            asked <= 21 * (took.as_secs() + 2) + 10,
            "{what}: {asked} questions in {took:?}"
        );
    }
    // Nobody who is known is held up by it.
    assert_eq!(world.token(&sts, &[]).await.status, 200);
    tokio::time::sleep(Duration::from_secs(2)).await;
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
