//! Policy sets: archived, observed, as large as may be.

use super::given::sql;
use super::{ALLOW, Zone, alone};
use caracal_testkit::stack::{Service, Stack};
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// So many policies with a version each, of so many modules that differ by name alone: the ids of the versions.
async fn crowd(stack: &Stack, zone: &Zone, count: usize, modules: usize) -> Vec<String> {
    let made = zone
        .post("policies", &json!({"name": "first", "content": ALLOW}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    sql(
        stack,
        &format!(
            "INSERT INTO policy_modules (name, wasm, wasm_sha256, opa_version)
               SELECT encode(sha256(('{zone}' || n)::bytea), 'hex'), wasm, wasm_sha256, opa_version
               FROM policy_modules, generate_series(1, {modules}) n
               WHERE name = (SELECT module FROM policy_versions WHERE id = '{first}');
             CREATE TEMP TABLE crowd AS SELECT n, gen_random_uuid() AS policy, gen_random_uuid() AS version
               FROM generate_series(1, {count}) n;
             INSERT INTO policies (zone_id, id, name, created_by) SELECT '{zone}', policy, 'p' || n, 'tests' FROM crowd;
             INSERT INTO policy_versions (zone_id, id, policy_id, version, content, content_sha256, schema_version,
                 module, created_by)
               SELECT '{zone}', crowd.version, crowd.policy, 1, first.content, first.content_sha256, first.schema_version,
                 encode(sha256(('{zone}' || 1 + n % {modules})::bytea), 'hex'), first.created_by
               FROM crowd, policy_versions first WHERE first.id = '{first}';",
            zone = zone.id,
            first = made.member("version_id"),
        ),
    )
    .await;
    let client = stack.database().connect().await;
    let query = format!(
        "SELECT v.id::text FROM policy_versions v JOIN policies p ON p.zone_id = v.zone_id AND p.id = v.policy_id
         WHERE v.zone_id = '{}' AND p.created_by = 'tests'",
        zone.id
    );
    let rows = client.query(&query, &[]).await.expect("versions");
    rows.iter().map(|row| row.get(0)).collect()
}

fn manifest(versions: &[String]) -> Value {
    let entries: Vec<Value> = versions
        .iter()
        .map(|id| json!({"policy_version_id": id}))
        .collect();
    json!({"manifest": entries})
}

async fn set(zone: &Zone, name: &str) -> String {
    zone.post("policy-sets", &json!({"name": name}))
        .await
        .member("id")
        .to_owned()
}

fn refused(answer: &caracal_testkit::Answer) -> (u16, &str) {
    (answer.status, answer.member("error"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_set_is_simulated_whole_beside_another_and_one_larger_is_refused() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Large").await;
    let versions = crowd(&stack, &zone, 257, 128).await;
    assert_eq!(versions.len(), 257);
    // Of more modules than the engine keeps of itself, and no more, since each takes its time to compile.
    let set = set(&zone, "large").await;
    let at = format!("policy-sets/{set}/versions");
    let beyond = zone.post(&at, &manifest(&versions)).await;
    assert_eq!(refused(&beyond), (400, "invalid_body"));
    let http = caracal_testkit::client();
    let url = format!("{}{}", stack.url(Service::Api, 0), zone.at(&at));
    let request = http.post(url).bearer_auth(caracal_testkit::settings::ADMIN_TOKEN);
    // Each module is compiled and tried now, so that none of them is when it must serve.
    let largest = request
        .json(&manifest(&versions[..256]))
        .timeout(Duration::from_mins(5))
        .send()
        .await
        .expect("an answer");
    assert_eq!(largest.status().as_u16(), 201);
    let simulate = async || {
        let url = format!(
            "{}{}",
            stack.url(Service::Api, 0),
            zone.at(&format!("policy-sets/{set}/simulate"))
        );
        let request = http.post(url).bearer_auth(caracal_testkit::settings::ADMIN_TOKEN);
        let request = request
            .json(&json!({"input": {}}))
            .timeout(Duration::from_mins(5));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        answer.json::<Value>().await.expect("JSON")
    };
    simulate().await;
    let whole = simulate().await;
    assert_eq!(
        (&whole["evaluation_status"], &whole["decision"]),
        (&json!("complete"), &json!("allow")),
        "{}",
        whole["policies"][whole["policies"].as_array().map_or(0, Vec::len) - 1]
    );
    assert_eq!(whole["policies"].as_array().map(Vec::len), Some(256));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_waits_while_modules_are_compiled() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Pool").await;
    let versions = crowd(&stack, &zone, 60, 60).await;
    let set = set(&zone, "pool").await;
    let at = format!("policy-sets/{set}/versions");
    let bodies: Vec<Value> = versions.chunks(3).map(manifest).collect();
    let writing = join_all(bodies.iter().map(|body| zone.post(&at, body)));
    let client = stack.database().connect().await;
    let held = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'caracal-api' AND state = 'idle in transaction'
          AND state_change < now() - interval '100 milliseconds'";
    let worst = AtomicI64::new(0);
    let watching = async {
        loop {
            let row = client.query_one(held, &[]).await.expect("a count");
            worst.fetch_max(row.get(0), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        answers = writing => assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}"),
        () = watching => {}
    }
    assert!(worst.load(Ordering::Relaxed) < 5, "{worst:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_names_only_live_versions_of_its_own_schema() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Manifests").await;
    let [policy, version, set, _] = zone.drafted().await;
    let at = format!("policy-sets/{set}/versions");
    let mut unknown = manifest(std::slice::from_ref(&version));
    unknown["schema_version"] = json!("2020-01-01");
    assert_eq!(refused(&zone.post(&at, &unknown).await), (400, "invalid_body"));
    let gone = zone.admin.delete(&zone.at(&format!("policies/{policy}"))).await;
    assert_eq!(gone.status, 204);
    let archived = zone.post(&at, &manifest(&[version])).await;
    assert_eq!(refused(&archived), (404, "policy_version_not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_set_is_gone_from_everywhere_and_its_record_shows_what_the_zone_lost() {
    let stack = Stack::builder()
        .replicas(Service::Sts, 0)
        .replicas(Service::Gateway, 0)
        .start()
        .await;
    let zone = Zone::new(&stack, "Archived").await;
    let [_, _, set, version] = zone.drafted().await;
    assert_eq!(zone.activate(&set, &version).await.status, 202);
    let path = zone.at(&format!("policy-sets/{set}"));
    let archived = zone
        .admin
        .clone()
        .with("X-Request-Id", "archive")
        .delete(&path)
        .await;
    assert_eq!((archived.status, archived.epoch().is_empty()), (204, false));
    assert_eq!(
        refused(&zone.admin.get(&path).await),
        (404, "policy_set_not_found")
    );
    assert_eq!(zone.get("policy-sets").await.expect(200), json!([]));
    let activations = format!(
        "SELECT count(*) FROM zone_activations WHERE zone_id = '{}'",
        zone.id
    );
    assert_eq!(stack.database().count(&activations).await, 0, "nothing is active");
    for (verb, body) in [
        ("activate", json!({"version_id": version})),
        ("simulate", json!({"version_id": version, "input": {}})),
        ("versions", manifest(std::slice::from_ref(&version))),
    ] {
        let absent = zone.post(&format!("policy-sets/{set}/{verb}"), &body).await;
        assert_eq!(refused(&absent), (404, "policy_set_not_found"), "{verb}");
    }
    for below in ["versions", "activation-status", &format!("versions/{version}")] {
        let absent = zone.get(&format!("policy-sets/{set}/{below}")).await;
        assert_eq!(refused(&absent), (404, "policy_set_not_found"), "{below}");
    }
    assert_eq!(
        refused(&zone.admin.delete(&path).await),
        (404, "policy_set_not_found")
    );
    let event = caracal_testkit::eventually("the record", Duration::from_secs(20), || async {
        let found = zone.get("audit?request_id=archive").await.expect(200);
        found["rows"].get(0).cloned()
    })
    .await;
    assert_eq!(event["event_type"], json!("admin.policy_set.archive"));
    assert_eq!(
        event["metadata_json"]["changes"]["active_version_id"],
        json!({"from": version, "to": null}),
        "{event}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_observed_is_there_and_whole_and_ends_with_its_set() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Shadows").await;
    let [_, version, main, main_version] = zone.drafted().await;
    let second = zone
        .post(
            "policies",
            &json!({"name": "second", "content": format!("{ALLOW}# 2\n")}),
        )
        .await;
    let [_, incomplete] = zone.set_of("incomplete", second.member("version_id")).await;
    let [observed, observed_version] = zone.set_of("observed", &version).await;
    let [gone, gone_version] = zone.set_of("gone", &version).await;
    let at = format!("policy-sets/{main}/activate");
    let with = |shadow: &str| json!({"version_id": main_version, "shadow_version_id": shadow});

    let path = zone.at(&format!("policies/{}", second.member("id")));
    assert_eq!(zone.admin.delete(&path).await.status, 204);
    let missing = zone.post(&at, &with(&incomplete)).await;
    assert_eq!(refused(&missing), (409, "referenced_policy_version_missing"));
    let path = zone.at(&format!("policy-sets/{gone}"));
    assert_eq!(zone.admin.delete(&path).await.status, 204);
    let absent = zone.post(&at, &with(&gone_version)).await;
    assert_eq!(refused(&absent), (404, "shadow_version_not_found"));
    let other = Zone::new(&stack, "Other").await;
    let [_, _, _, foreign] = other.drafted().await;
    let absent = zone.post(&at, &with(&foreign)).await;
    assert_eq!(refused(&absent), (404, "shadow_version_not_found"));

    assert_eq!(zone.post(&at, &with(&observed_version)).await.status, 202);
    let before = zone.get(&format!("policy-sets/{main}")).await;
    assert_eq!(before.member("shadow_version_id"), observed_version);
    let archived = zone
        .admin
        .delete(&zone.at(&format!("policy-sets/{observed}")))
        .await;
    assert_eq!((archived.status, archived.epoch().is_empty()), (204, false));
    let after = zone.get(&format!("policy-sets/{main}")).await;
    assert_eq!(
        (&after.body["shadow_version_id"], &after.body["active_version_id"]),
        (&Value::Null, &json!(main_version))
    );
    assert_ne!(before.header("etag"), after.header("etag"), "a visible change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_keeps_its_description_and_a_version_the_hash_of_the_policies_in_their_order() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Hashes").await;
    let body = json!({"name": "described", "description": "For the night."});
    let described = zone.post("policy-sets", &body).await.expect(201);
    assert_eq!(described["description"], "For the night.");
    let plain = zone.post("policy-sets", &json!({"name": "plain"})).await;
    assert_eq!(
        plain.body.get("description"),
        Some(&Value::Null),
        "{}",
        plain.text
    );
    let shown = zone.get("policy-sets").await.expect(200);
    assert_eq!(shown[0]["description"], described["description"]);

    let policy = async |name: &str| {
        let content = format!("{ALLOW}# {name}\n");
        let made = zone
            .post("policies", &json!({"name": name, "content": content}))
            .await;
        (
            made.member("version_id").to_owned(),
            caracal_jose::sha256_hex(content.as_bytes()),
        )
    };
    let (first, second) = (policy("first").await, policy("second").await);
    let at = format!("policy-sets/{}/versions", plain.member("id"));
    let manifests = [
        vec![&first],
        vec![&first],
        vec![&first, &second],
        vec![&second, &first],
    ];
    for policies in manifests {
        let versions: Vec<String> = policies.iter().map(|policy| policy.0.clone()).collect();
        let made = zone.post(&at, &manifest(&versions)).await.expect(201);
        let hash = caracal_jose::sha256_hex(json!(policies).to_string().as_bytes());
        assert_eq!(made["manifest_sha256"], hash, "{policies:?}");
        let id = made["id"].as_str().expect("an id");
        let shown = zone.get(&format!("{at}/{id}")).await.expect(200);
        assert_eq!(shown["manifest_sha256"], hash, "{policies:?}");
    }
}
