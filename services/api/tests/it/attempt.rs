use super::{ALLOW, Zone, alone};
use caracal_testkit::eventually;
use caracal_testkit::stack::{Service, Stack};
use serde_json::json;
use std::time::Duration;

/// How many events of this type and reason wait for the ledger of a zone; the payload is protobuf, its texts plain.
async fn noted(stack: &Stack, zone: &str, what: &str, reason: &str) -> i64 {
    let query = format!(
        "SELECT count(*) FROM event_spool WHERE zone_id = '{zone}'
         AND encode(payload, 'escape') LIKE '%admin.{what}%' AND encode(payload, 'escape') LIKE '%{reason}%'"
    );
    stack.database().count(&query).await
}

async fn comes(stack: &Stack, zone: &str, what: &str, reason: &str) {
    let seen = || async { (noted(stack, zone, what, reason).await == 1).then_some(()) };
    eventually(&format!("{what} {reason}"), Duration::from_secs(5), seen).await;
}

async fn system_zone(stack: &Stack) -> String {
    let row = stack
        .database()
        .connect()
        .await
        .query_one("SELECT id::text FROM zones WHERE slug = 'caracal-sys'", &[])
        .await;
    row.expect("the system zone").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refused_attempt_is_in_the_ledger_with_its_actor() {
    let stack = alone().start().await;
    let (mine, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Other").await);
    let body = json!({"scope": "zone", "zone_id": mine.id});
    let token = mine.admin.post("/v1/admin-tokens", &body).await;
    let caller = stack.anonymous(Service::Api, 0).bearer(token.member("token"));
    let resource = json!({"identifier": "resource://a", "scopes": ["read"]});
    let made = caller.post(&mine.at("resources"), &resource).await;
    let item = mine.at(&format!("resources/{}", made.member("id")));

    caller.post(&mine.at("resources"), &resource).await;
    comes(&stack, &mine.id, "resource.create", "resource_already_exists").await;
    caller
        .post(&mine.at("resources"), &json!({"identifier": 7}))
        .await;
    comes(&stack, &mine.id, "resource.create", "invalid_body").await;
    caller
        .clone()
        .with("If-Match", "\"99\"")
        .patch(&item, &json!({"name": "x"}))
        .await;
    comes(&stack, &mine.id, "resource.update", "version_conflict").await;
    caller.delete(&mine.at(&format!("resources/{}", mine.id))).await;
    comes(&stack, &mine.id, "resource.archive", "resource_not_found").await;
    // Of another's zone its own ledger tells, so that nobody can flood a stranger's.
    caller.post(&other.at("resources"), &resource).await;
    comes(&stack, &mine.id, "resource.create", "admin_token_zone_mismatch").await;
    caller.get("/v1/zones").await;
    comes(&stack, &mine.id, "zone.list", "admin_token_zone_mismatch").await;
    assert_eq!(noted(&stack, &other.id, "resource.create", "").await, 0);
    let named = format!("admin-token:{}", token.member("id"));
    assert_eq!(
        noted(&stack, &mine.id, "resource.create", &named).await,
        4,
        "the actor is named"
    );
    // A global token that reaches no zone tells the system zone.
    mine.admin.post("/v1/zones", &json!({})).await;
    comes(&stack, &system_zone(&stack).await, "zone.create", "invalid_body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_noted_in_the_system_zone_but_only_so_many() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Closed").await;
    let stranger = stack.anonymous(Service::Api, 0).bearer("guess");
    for _ in 0..60 {
        assert_eq!(stranger.post(&zone.at("resources"), &json!({})).await.status, 401);
    }
    let system = system_zone(&stack).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let seen = noted(&stack, &system, "resource.create", "invalid_admin_token").await;
    assert!((10..60).contains(&seen), "{seen}");
    assert_eq!(
        noted(&stack, &zone.id, "resource.create", "invalid_admin_token").await,
        0
    );
}

fn logs(stack: &Stack) -> String {
    let files = std::fs::read_dir(stack.logs()).expect("a folder of logs");
    files
        .map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("a log"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_ledger_or_in_the_logs() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Secrets").await;
    let sent = [
        "sEcret-application-1",
        "sEcret-provider-22",
        "sEcret-apikey-333",
        "sEcret-refused-444",
        "sEcret-bearer-555",
    ];
    let application = json!({"name": "a", "registration_method": "managed", "credential_type": "token", "client_secret": sent[0]});
    let made = zone
        .admin
        .clone()
        .with("Idempotency-Key", "k")
        .post(&zone.at("applications"), &application)
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let provider = json!({"identifier": "p", "kind": "oauth2", "config_json": {"token_endpoint": "https://idp.example/token", "client_id": "c", "client_secret": sent[1]}});
    let made = zone.post("providers", &provider).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let patched = zone
        .admin
        .patch(
            &zone.at(&format!("providers/{}", made.member("id"))),
            &json!({"secret_config": {"client_secret": sent[2]}}),
        )
        .await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    zone.post("applications", &json!({"name": "b", "registration_method": "managed", "credential_type": "token", "client_secret": sent[3], "x": 1})).await;
    stack
        .anonymous(Service::Api, 0)
        .bearer(sent[4])
        .post(&zone.at("policies"), &json!({"name": "p", "content": ALLOW}))
        .await;
    let rotated = zone
        .post(
            "applications",
            &json!({"name": "c", "registration_method": "managed", "credential_type": "token"}),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let logs = logs(&stack);
    assert!(logs.contains("answered"), "the log is there");
    for secret in sent.into_iter().chain([rotated.member("client_secret")]) {
        assert!(!secret.is_empty() && !logs.contains(secret), "{secret}");
        for place in [
            "event_spool WHERE encode(payload, 'escape')",
            "outbox WHERE encode(payload, 'escape')",
            "idempotency_keys WHERE response::text",
        ] {
            let kept = format!("SELECT count(*) FROM {place} LIKE '%{secret}%'");
            assert_eq!(stack.database().count(&kept).await, 0, "{secret} in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_the_request_id_that_the_caller_chose() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Chosen").await;
    let named = |id: &str| zone.admin.clone().with("X-Request-Id", id);
    let body = json!({"name": "s"});
    let path = zone.at("policy-sets");
    let made = named("ticket:4711").post(&path, &body).await;
    assert_eq!((made.status, made.header("x-request-id")), (201, "ticket:4711"));
    assert_eq!(
        noted(&stack, &zone.id, "policy_set.create", "ticket:4711").await,
        1
    );
    let refused = named("ticket:4712").post(&path, &body).await;
    assert_eq!(
        (refused.status, refused.header("x-request-id")),
        (409, "ticket:4712")
    );
    comes(&stack, &zone.id, "policy_set.create", "ticket:4712").await;
    let odd = named("no id").post(&path, &json!({"name": "t"})).await;
    let minted = odd.header("x-request-id").to_owned();
    assert_eq!((odd.status, minted.len()), (201, 36));
    assert_eq!(noted(&stack, &zone.id, "policy_set.create", &minted).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_of_somebody_known_is_kept_before_it_is_answered() {
    let mut stack = alone().start().await;
    let (mine, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Other").await);
    let body = json!({"scope": "zone", "zone_id": mine.id});
    let token = mine.admin.post("/v1/admin-tokens", &body).await;
    let caller = stack.anonymous(Service::Api, 0).bearer(token.member("token"));
    for n in 1..=20 {
        assert_eq!(caller.post(&mine.at("resources"), &json!({})).await.status, 400);
        let kept = noted(&stack, &mine.id, "resource.create", "invalid_body").await;
        assert_eq!(kept, n, "it is there when its answer is");
    }
    // HEAD pries like GET.
    let elsewhere = other.at("policies");
    let head = caller.send(reqwest::Method::HEAD, &elsewhere, |request| request);
    assert_eq!(head.await.expect("an answer").status, 403);
    let pried = noted(&stack, &mine.id, "policy.list", "admin_token_zone_mismatch").await;
    assert_eq!(pried, 1);
    let absent = mine.at("resources/nonsense");
    assert_eq!(caller.delete(&absent).await.status, 404);
    stack.kill9(Service::Api, 0);
    assert_eq!(
        noted(&stack, &mine.id, "resource.archive", "resource_not_found").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_place_of_an_id_is_not_in_the_ledger() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Misplaced").await;
    let invitation = json!({"email": "ada@example.com", "role": "admin"});
    let made = zone.post("invitations", &invitation).await;
    let secret = made.member("token");
    for path in [
        zone.at(&format!("invitations/{secret}")),
        zone.at(&format!("nonsense/{secret}")),
        format!("/v1/admin-tokens/{secret}"),
        format!("/v1/{secret}"),
    ] {
        let refused = zone.admin.delete(&path).await;
        assert_eq!(refused.status, 404, "{path}: {}", refused.text);
    }
    let path = zone.at("invitations/[redacted]");
    comes(&stack, &zone.id, "invitation.revoke", &path.replace('[', "%")).await;
    let held = format!("SELECT count(*) FROM event_spool WHERE position('{secret}'::bytea in payload) > 0");
    assert_eq!(stack.database().count(&held).await, 0);
    assert!(!logs(&stack).contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_what_would_have_changed() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Wanted").await;
    let token = json!({"scope": "zone", "zone_id": zone.id});
    let token = zone.admin.post("/v1/admin-tokens", &token).await;
    let caller = stack.anonymous(Service::Api, 0).bearer(token.member("token"));
    let wish = json!({"mint_rate_per_minute": 5, "name": "Mine", "login_flow": {"secret": "hunter2"}});
    let refused = caller.patch(&format!("/v1/zones/{}", zone.id), &wish).await;
    assert_eq!(refused.member("error"), "admin_token_zone_mismatch");
    let told = stack
        .database()
        .connect()
        .await
        .query_one(
            "SELECT encode(payload, 'escape') FROM event_spool
             WHERE position('admin_token_zone_mismatch'::bytea in payload) > 0",
            &[],
        )
        .await;
    let told: String = told.expect("one record").get(0);
    for part in [
        r#""mint_rate_per_minute":{"to":5}"#,
        r#""name":{"to":"Mine"}"#,
        r#""login_flow":{"to":{"bytes":"#,
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
}
