use super::{ALLOW, Zone, alone};
use caracal_testkit::eventually;
use caracal_testkit::stack::{Service, Stack};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use url::Url;

#[tokio::test(flavor = "multi_thread")]
async fn parallel_versions_number_themselves_without_a_gap() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Versions").await;
    let [policy, _, set, _] = zone.drafted().await;
    let source = |n: usize| format!("{ALLOW}# {n}\n");
    let at = format!("policies/{policy}/versions");
    let bodies: Vec<_> = (0..6).map(|n| json!({"content": source(n)})).collect();
    let made = join_all(bodies.iter().map(|body| zone.post(&at, body))).await;
    let mut numbers: Vec<_> = made
        .iter()
        .map(|answer| answer.body["version"].as_i64())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (2..=7).map(Some).collect::<Vec<_>>());
    let versions: Vec<_> = made
        .iter()
        .map(|answer| json!({"manifest": [{"policy_version_id": answer.member("id")}]}))
        .collect();
    let at = format!("policy-sets/{set}/versions");
    let made = join_all(versions.iter().chain(&versions).map(|body| zone.post(&at, body))).await;
    let mut numbers: Vec<_> = made
        .iter()
        .map(|answer| answer.body["version"].as_i64())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (2..=13).map(Some).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_activations_leave_one_active_and_the_last_epoch_is_its() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Activations").await;
    let [_, version, first, first_version] = zone.drafted().await;
    let [second, second_version] = zone.set_of("other", &version).await;
    let pairs = [(&first, &first_version), (&second, &second_version)];
    let calls = (0..12).map(|n| {
        let (set, version) = pairs[n % 2];
        let zone = &zone;
        async move { zone.activate(set, version).await }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
    let epoch = |answer: &caracal_testkit::Answer| answer.epoch().parse::<i64>().unwrap_or_default();
    let last = answers
        .iter()
        .max_by_key(|answer| epoch(answer))
        .expect("answers");
    let sets = zone.get("policy-sets").await.expect(200);
    let active: Vec<&Value> = sets
        .as_array()
        .expect("a list")
        .iter()
        .map(|set| &set["active_version_id"])
        .filter(|id| !id.is_null())
        .collect();
    assert_eq!(active, [&last.body["version_id"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn activating_another_set_is_a_visible_change_of_both() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Etags").await;
    let [_, version, first, first_version] = zone.drafted().await;
    let [second, second_version] = zone.set_of("other", &version).await;
    assert_eq!(zone.activate(&first, &first_version).await.status, 202);
    let etag = async || {
        zone.get(&format!("policy-sets/{first}"))
            .await
            .header("etag")
            .to_owned()
    };
    let before = etag().await;
    assert_eq!(zone.activate(&second, &second_version).await.status, 202);
    assert_ne!(etag().await, before);
    let stale = zone
        .admin
        .clone()
        .with("If-Match", &before)
        .delete(&zone.at(&format!("policy-sets/{first}")))
        .await;
    assert_eq!((stale.status, stale.member("error")), (412, "version_conflict"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_registrations_cannot_exceed_the_limit() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Registrations").await;
    assert_eq!(
        zone.admin
            .patch(&format!("/v1/zones/{}", zone.id), &json!({"dcr_enabled": true}))
            .await
            .status,
        200
    );
    let crowd = format!(
        "INSERT INTO applications (zone_id, id, name, registration_method, credential_type, consent, expires_at, created_at)
         SELECT '{}', gen_random_uuid(), 'a' || n, 'dcr', 'public', 'implicit', now() + interval '1 hour', now() - interval '1 minute'
         FROM generate_series(1, 996) n",
        zone.id
    );
    stack
        .database()
        .connect()
        .await
        .batch_execute(&crowd)
        .await
        .expect("a crowd");
    let bodies: Vec<_> = (0..10).map(|n| json!({"name": format!("new {n}")})).collect();
    let made = join_all(bodies.iter().map(|body| zone.post("applications/dcr", body))).await;
    let count = |status: u16, code: &str| {
        made.iter()
            .filter(|a| a.status == status && a.member("error") == code)
            .count()
    };
    assert_eq!((count(201, ""), count(429, "dcr_limit_exceeded")), (4, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_the_active_policy_names_keeps_its_credential() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Referenced").await;
    let new =
        |name: &str| json!({"name": name, "registration_method": "managed", "credential_type": "token"});
    let named = zone
        .post("applications", &new("named"))
        .await
        .member("id")
        .to_owned();
    let other = zone
        .post("applications", &new("other"))
        .await
        .member("id")
        .to_owned();
    let content = format!(
        "package caracal.authz\n\nresult := {{\"decision\": \"allow\", \"determining_policies\": [\"x\"]}} if input.principal.id == \"{named}\"\n"
    );
    let policy = zone
        .post("policies", &json!({"name": "p", "content": content}))
        .await;
    assert_eq!(policy.status, 201, "{}", policy.text);
    let [set, version] = zone.set_of("s", policy.member("version_id")).await;
    assert_eq!(zone.activate(&set, &version).await.status, 202);
    let public = json!({"credential_type": "public"});
    let refused = zone
        .admin
        .patch(&zone.at(&format!("applications/{named}")), &public)
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (409, "app_referenced_by_active_policy")
    );
    assert_eq!(
        zone.admin
            .patch(&zone.at(&format!("applications/{other}")), &public)
            .await
            .status,
        200
    );
    let same = json!({"credential_type": "token", "name": "renamed"});
    let kept = zone
        .admin
        .patch(&zone.at(&format!("applications/{named}")), &same)
        .await;
    assert_eq!(
        (kept.status, kept.member("client_secret")),
        (200, ""),
        "the secret it has stays"
    );
}

/// Sends a request, with more headers if any, and waits for no answer.
pub(super) async fn sent(stack: &Stack, path: &str, body: &Value, headers: &str) -> TcpStream {
    let url: Url = stack.url(Service::Api, 0).parse().expect("a URL");
    let address = (url.host_str().expect("a host"), url.port().expect("a port"));
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let (body, token) = (body.to_string(), caracal_testkit::settings::ADMIN_TOKEN);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.expect("sent");
    connection
}

/// Ends a connection so that the other side hears of it at once.
pub(super) fn reset(connection: TcpStream) {
    connection.set_zero_linger().expect("a reset");
    drop(connection);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_resets_leaves_nothing_half_written() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Resets").await;
    for n in 0..30 {
        let body = json!({"identifier": format!("resource://{n}"), "scopes": ["read"]});
        let connection = sent(&stack, &zone.at("resources"), &body, "").await;
        tokio::time::sleep(Duration::from_micros(n * 200)).await;
        reset(connection);
        let body = json!({"name": format!("p{n}"), "content": format!("{ALLOW}# {n}\n")});
        if n % 10 == 0 {
            let connection = sent(&stack, &zone.at("policies"), &body, "").await;
            tokio::time::sleep(Duration::from_millis(40)).await;
            reset(connection);
        }
    }
    let of = |table: &str| format!("(SELECT count(*) FROM {table} WHERE zone_id = '{}')", zone.id);
    let settled = || async {
        let running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'caracal-api' AND state <> 'idle'";
        (stack.database().count(running).await == 0).then_some(())
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    eventually("quiet", Duration::from_secs(10), settled).await;
    let told = format!(
        "SELECT {} - {} - {} - 1",
        of("outbox"),
        of("resources"),
        of("policies")
    );
    assert_eq!(
        stack.database().count(&told).await,
        0,
        "each object was told of once"
    );
    let recorded = format!("SELECT {} - {}", of("event_spool"), of("outbox"));
    assert_eq!(stack.database().count(&recorded).await, 0, "and recorded once");
    let versions = format!("SELECT {} - {}", of("policy_versions"), of("policies"));
    assert_eq!(
        stack.database().count(&versions).await,
        0,
        "and each policy has its version"
    );
    assert!(
        stack
            .database()
            .count(&format!("SELECT {}", of("resources")))
            .await
            > 0
    );
}
