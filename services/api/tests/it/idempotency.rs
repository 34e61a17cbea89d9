use super::given::sql;
use super::{Zone, alone, race};
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Client, eventually};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

fn keyed(caller: &Client, key: &str) -> Client {
    caller.clone().with("Idempotency-Key", key)
}

fn resource(name: &str) -> Value {
    json!({"identifier": format!("resource://{name}"), "scopes": ["read"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_post_is_answered_as_the_first_time_and_done_once() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Again").await;
    let caller = keyed(&zone.admin, "first");
    let first = caller.post(&zone.at("resources"), &resource("a")).await;
    assert_eq!(
        (first.status, first.header("idempotency-replayed")),
        (201, ""),
        "{}",
        first.text
    );
    // The same JSON, otherwise spelt.
    let spelt = r#"{ "scopes":["read"], "identifier" : "resource:\u002f/a" }"#;
    let fill =
        |request: reqwest::RequestBuilder| request.header("content-type", "application/json").body(spelt);
    let again = caller
        .send(reqwest::Method::POST, &zone.at("resources"), fill)
        .await
        .expect("an answer");
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (201, "true"),
        "{}",
        again.text
    );
    assert_eq!(
        (again.body, again.headers.get("caracal-zone-epoch")),
        (first.body, first.headers.get("caracal-zone-epoch"))
    );
    let other = caller.post(&zone.at("resources"), &resource("b")).await;
    assert_eq!(
        (other.status, other.member("error")),
        (409, "idempotency_key_conflict")
    );
    // Another route, another zone and another actor have keys of their own.
    let elsewhere = Zone::new(&stack, "Elsewhere").await;
    assert_eq!(
        caller
            .post(&zone.at("policy-sets"), &json!({"name": "s"}))
            .await
            .status,
        201
    );
    let there = caller.post(&elsewhere.at("resources"), &resource("a")).await;
    assert_eq!((there.status, there.header("idempotency-replayed")), (201, ""));
    let token = zone
        .admin
        .post("/v1/admin-tokens", &json!({"scope": "zone", "zone_id": zone.id}))
        .await;
    let actor = keyed(
        &stack.anonymous(Service::Api, 0).bearer(token.member("token")),
        "first",
    );
    let theirs = actor.post(&zone.at("resources"), &resource("a")).await;
    assert_eq!(theirs.member("error"), "resource_already_exists");
    let kept = format!("SELECT count(*) FROM resources WHERE zone_id = '{}'", zone.id);
    assert_eq!(stack.database().count(&kept).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_answer_shows_no_secret_and_none_is_kept() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Secret").await;
    let caller = keyed(&zone.admin, "make");
    let new = json!({"name": "a", "registration_method": "managed", "credential_type": "token"});
    let made = caller.post(&zone.at("applications"), &new).await;
    let secret = made.member("client_secret").to_owned();
    assert!(secret.starts_with("ccs_"));
    let again = caller.post(&zone.at("applications"), &new).await;
    assert_eq!(
        (again.status, again.member("id"), again.member("client_secret")),
        (201, made.member("id"), "")
    );
    let rotate = zone.at(&format!("applications/{}/rotate-secret", made.member("id")));
    let rotated = caller.post(&rotate, &json!({})).await;
    assert_eq!(
        (rotated.status, rotated.member("client_secret").is_empty()),
        (200, false),
        "{}",
        rotated.text
    );
    let again = caller.post(&rotate, &json!({})).await;
    assert_eq!(
        (
            again.status,
            again.header("idempotency-replayed"),
            again.member("client_secret")
        ),
        (200, "true", "")
    );
    let token = json!({"scope": "global"});
    let made = caller.post("/v1/admin-tokens", &token).await;
    let again = caller.post("/v1/admin-tokens", &token).await;
    assert_eq!(
        (again.status, again.member("id"), again.member("token")),
        (201, made.member("id"), "")
    );
    for secret in [
        secret.as_str(),
        rotated.member("client_secret"),
        made.member("token"),
    ] {
        let kept = format!("SELECT count(*) FROM idempotency_keys WHERE response::text LIKE '%{secret}%'");
        assert_eq!(stack.database().count(&kept).await, 0);
    }
    let hashed = "SELECT count(*) FROM idempotency_keys WHERE body_hmac = sha256('{}'::bytea)";
    assert_eq!(
        stack.database().count(hashed).await,
        0,
        "the fingerprint is keyed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_may_be_tried_again_with_the_same_key() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Retry").await;
    let caller = keyed(&zone.admin, "retry");
    let wrong = json!({"identifier": "resource://a", "scopes": ["read"], "credential_provider_id": zone.id});
    for _ in 0..2 {
        let refused = caller.post(&zone.at("resources"), &wrong).await;
        assert_eq!(refused.member("error"), "provider_not_found");
    }
    assert_eq!(
        caller
            .post(&zone.at("resources"), &json!({"identifier": 7}))
            .await
            .member("error"),
        "invalid_body"
    );
    assert_eq!(
        caller.post(&zone.at("resources"), &resource("a")).await.status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_keys_are_refused_on_every_post_and_mean_nothing_elsewhere() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Keys").await;
    for key in ["", &"x".repeat(256), "caf\u{e9}", "a\tb"] {
        let refused = keyed(&zone.admin, key)
            .post(&zone.at("resources"), &resource("a"))
            .await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_idempotency_key"),
            "{key:?}"
        );
        let refused = keyed(&zone.admin, key)
            .post("/v1/policies/validate", &json!({"content": "x"}))
            .await;
        assert_eq!(refused.member("error"), "invalid_idempotency_key", "{key:?}");
    }
    let made = zone.post("resources", &resource("elsewhere")).await;
    let item = zone.at(&format!("resources/{}", made.member("id")));
    let odd = keyed(&zone.admin, "caf\u{e9}");
    assert_eq!(odd.get(&item).await.status, 200);
    assert_eq!(odd.patch(&item, &json!({"name": "x"})).await.status, 200);
    assert_eq!(odd.delete(&item).await.status, 204);
    let longest = keyed(&zone.admin, &"~".repeat(255))
        .post(&zone.at("resources"), &resource("a"))
        .await;
    assert_eq!(longest.status, 201);
    let twice = keyed(&zone.admin, "a")
        .with("Idempotency-Key", "b")
        .post(&zone.at("resources"), &resource("b"))
        .await;
    assert_eq!(twice.member("error"), "invalid_idempotency_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_done_and_a_lapsed_lease_is_free() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Race").await;
    let caller = keyed(&zone.admin, "race");
    let (path, body) = (zone.at("resources"), resource("a"));
    let answers = join_all((0..20).map(|_| caller.post(&path, &body))).await;
    let first = answers
        .iter()
        .filter(|a| a.status == 201 && a.header("idempotency-replayed").is_empty())
        .count();
    assert_eq!(first, 1, "exactly one was the first");
    for answer in &answers {
        let fine = answer.status == 201 || answer.member("error") == "idempotency_key_in_flight";
        assert!(fine, "{} {}", answer.status, answer.text);
    }
    crashed(&stack, "caller-gone", &path).await;
    let caller = keyed(&zone.admin, "caller-gone");
    let refused = caller.post(&path, &resource("b")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (409, "idempotency_key_conflict")
    );
    stack
        .database()
        .connect()
        .await
        .batch_execute("UPDATE idempotency_keys SET leased_until = now()")
        .await
        .expect("lapsed");
    assert_eq!(
        caller.post(&path, &resource("b")).await.status,
        201,
        "nothing was done under it, so it is free"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_leased_for_a_minute_and_kept_for_a_day() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Lease").await;
    let path = zone.at("policy-sets");
    let caller = keyed(&zone.admin, "held");
    // Whoever wants the name waits for this transaction to decide.
    let mut blocker = stack.database().connect().await;
    let blocking = blocker.transaction().await.expect("a transaction");
    let blocker_row = format!(
        "INSERT INTO policy_sets (zone_id, id, name, created_by) VALUES ('{}', gen_random_uuid(), 'held', 'nobody')",
        zone.id
    );
    blocking.batch_execute(&blocker_row).await.expect("a row");
    let body = json!({"name": "held"});
    let running = {
        let (caller, path, body) = (caller.clone(), path.clone(), body.clone());
        tokio::spawn(async move { caller.post(&path, &body).await })
    };
    let of = |what: &str| format!("SELECT count(*) FROM idempotency_keys WHERE key = 'held' AND {what}");
    let leased = of("status IS NULL");
    eventually("the lease", Duration::from_secs(10), || async {
        (stack.database().count(&leased).await == 1).then_some(())
    })
    .await;
    let about = "leased_until - created_at BETWEEN interval '59 s' AND interval '61 s'
        AND expires_at - created_at BETWEEN interval '1439 minutes' AND interval '1441 minutes'";
    assert_eq!(stack.database().count(&of(about)).await, 1);
    let second = caller.post(&path, &body).await;
    assert_eq!(
        (second.status, second.member("error")),
        (409, "idempotency_key_in_flight"),
        "{}",
        second.text
    );
    let other = caller.post(&path, &json!({"name": "other"})).await;
    assert_eq!(other.member("error"), "idempotency_key_conflict");
    blocking.commit().await.expect("committed");
    let first = running.await.expect("an answer");
    assert_eq!(
        (first.status, first.member("error")),
        (409, "policy_set_already_exists")
    );
    assert_eq!(
        stack.database().count(&of("true")).await,
        0,
        "what failed keeps no answer"
    );
    sql(&stack, "UPDATE policy_sets SET archived_at = now()").await;
    assert_eq!(caller.post(&path, &body).await.status, 201);
    let again = caller.post(&path, &body).await;
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (201, "true")
    );
    sql(&stack, "UPDATE idempotency_keys SET expires_at = now()").await;
    let anew = caller.post(&path, &body).await;
    assert_eq!(
        (anew.status, anew.member("error")),
        (409, "policy_set_already_exists"),
        "after a day it is done anew"
    );
}

/// Nothing is leased under this key any more, long before a lease ends by itself.
async fn comes_free(stack: &Stack, key: &str) {
    let leased = format!("SELECT count(*) FROM idempotency_keys WHERE key = '{key}'");
    eventually("the key is free", Duration::from_secs(10), || async {
        (stack.database().count(&leased).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_request_failed_with_the_database_is_free_when_that_is_back() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Away").await;
    let (path, body) = (zone.at("policy-sets"), json!({"name": "held"}));
    let caller = keyed(&zone.admin, "away");
    let (mut first, mut second) = (stack.database().connect().await, stack.database().connect().await);
    // Neither the deed can be done, nor the key given back.
    let deed = first.transaction().await.expect("a transaction");
    let locked = deed
        .batch_execute("LOCK TABLE policy_sets IN ACCESS EXCLUSIVE MODE")
        .await;
    locked.expect("locked");
    let keys = async {
        let leased = "SELECT count(*) FROM idempotency_keys WHERE key = 'away'";
        eventually("the lease", Duration::from_secs(4), || async {
            (stack.database().count(leased).await == 1).then_some(())
        })
        .await;
        let keys = second.transaction().await.expect("a transaction");
        let lock = "LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE";
        keys.batch_execute(lock).await.expect("locked");
        keys
    };
    let (failed, keys) = futures::join!(caller.post(&path, &body), keys);
    assert_eq!(
        (
            failed.status,
            failed.member("error"),
            failed.header("retry-after")
        ),
        (503, "temporarily_unavailable", "1"),
        "{}",
        failed.text
    );
    keys.commit().await.expect("committed");
    deed.commit().await.expect("committed");
    comes_free(&stack, "away").await;
    let repeated = caller.post(&path, &body).await;
    assert_eq!(
        (repeated.status, repeated.header("idempotency-replayed")),
        (201, ""),
        "{}",
        repeated.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_leaves_no_key_behind() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Gone").await;
    let (path, body) = (zone.at("policy-sets"), json!({"name": "held"}));
    let begin = async |key: &str| {
        let key = format!("Idempotency-Key: {key}\r\n");
        race::sent(&stack, &path, &body, &key).await
    };
    // While the lease is being taken.
    let mut blocker = stack.database().connect().await;
    let blocking = blocker.transaction().await.expect("a transaction");
    let lock = "LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE";
    blocking.batch_execute(lock).await.expect("locked");
    let early = begin("early").await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    eventually("the wait", Duration::from_secs(10), || async {
        (stack.database().count(waiting).await > 0).then_some(())
    })
    .await;
    race::reset(early);
    tokio::time::sleep(Duration::from_millis(300)).await;
    blocking.commit().await.expect("committed");
    // The lease that was asked for is taken first, and only then given back.
    tokio::time::sleep(Duration::from_millis(500)).await;
    comes_free(&stack, "early").await;
    assert_eq!(
        keyed(&zone.admin, "early")
            .post(&path, &json!({"name": "a"}))
            .await
            .status,
        201
    );

    // While it is being done, which is then refused.
    let blocking = blocker.transaction().await.expect("a transaction");
    let row = format!(
        "INSERT INTO policy_sets (zone_id, id, name, created_by) VALUES ('{}', gen_random_uuid(), 'held', 'nobody')",
        zone.id
    );
    blocking.batch_execute(&row).await.expect("a row");
    let late = begin("late").await;
    let leased = "SELECT count(*) FROM idempotency_keys WHERE key = 'late' AND status IS NULL";
    eventually("the lease", Duration::from_secs(10), || async {
        (stack.database().count(leased).await == 1).then_some(())
    })
    .await;
    race::reset(late);
    tokio::time::sleep(Duration::from_millis(300)).await;
    blocking.commit().await.expect("committed");
    comes_free(&stack, "late").await;
    let repaired = keyed(&zone.admin, "late")
        .post(&path, &json!({"name": "b"}))
        .await;
    assert_eq!(repaired.status, 201, "{}", repaired.text);

    // What was done for somebody who has gone is kept for them.
    let blocking = blocker.transaction().await.expect("a transaction");
    // What references the zone goes on, such as the lease; what changes it waits.
    let lock = format!("SELECT FROM zones WHERE id = '{}' FOR NO KEY UPDATE", zone.id);
    blocking.batch_execute(&lock).await.expect("locked");
    let body = json!({"identifier": "resource://done", "scopes": ["read"]});
    let key = "Idempotency-Key: done\r\n";
    let done = race::sent(&stack, &zone.at("resources"), &body, key).await;
    let leased = "SELECT count(*) FROM idempotency_keys WHERE key = 'done'";
    eventually("the lease", Duration::from_secs(10), || async {
        (stack.database().count(leased).await == 1).then_some(())
    })
    .await;
    race::reset(done);
    tokio::time::sleep(Duration::from_millis(300)).await;
    blocking.commit().await.expect("committed");
    let kept = "SELECT count(*) FROM idempotency_keys WHERE key = 'done' AND status = 201";
    eventually("the answer", Duration::from_secs(10), || async {
        (stack.database().count(kept).await == 1).then_some(())
    })
    .await;
    let again = keyed(&zone.admin, "done")
        .post(&zone.at("resources"), &body)
        .await;
    assert_eq!(
        (
            again.status,
            again.header("idempotency-replayed"),
            again.header("cache-control")
        ),
        (201, "true", "no-store")
    );
}

/// What a process leaves that dies between lease and commit.
async fn crashed(stack: &Stack, key: &str, path: &str) {
    let actor = "SELECT 'admin-token:' || id FROM admin_tokens WHERE seeded";
    let leave = format!(
        "INSERT INTO idempotency_keys (actor, route, key, body_hmac, leased_until, expires_at)
         VALUES (({actor}), 'POST {path}', '{key}', sha256('x'), now() + interval '1 minute', now() + interval '1 day')"
    );
    stack
        .database()
        .connect()
        .await
        .batch_execute(&leave)
        .await
        .expect("left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_the_same_however_its_address_is_spelt() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Spelt").await;
    let caller = keyed(&zone.admin, "spelt");
    let grown = json!({"email": "ada@example.com", "role": "viewer"});
    let first = caller.post(&zone.at("invitations"), &grown).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let (begins, rest) = zone.id.split_at(1);
    let encoded = format!("/v1/zones/%{:02x}{rest}/invitations", begins.as_bytes()[0]);
    let again = caller.post(&encoded, &grown).await;
    assert_eq!(
        (
            again.status,
            again.header("idempotency-replayed"),
            again.member("id")
        ),
        (201, "true", first.member("id")),
        "{encoded}: {}",
        again.text
    );
}
