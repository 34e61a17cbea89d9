use super::{ALLOW, Zone, alone};
use caracal_testkit::stack::Service;
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const GUARD: &str = "package caracal.authz\n\nimport rego.v1\n\nresult := {\"decision\": \"deny\", \"determining_policies\": [\"guard\"], \"diagnostics\": [{\"why\": \"no\"}]} if input.blocked\n";
const LOOP: &str = "package caracal.authz\n\nimport rego.v1\n\nresult := {\"decision\": \"allow\", \"diagnostics\": [count([1 | some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j == -1])]} if input.slow\n";

async fn set_of(zone: &Zone, name: &str, sources: &[&str]) -> (String, String) {
    let mut manifest = Vec::new();
    for (n, content) in sources.iter().enumerate() {
        let made = zone
            .post(
                "policies",
                &json!({"name": format!("{name}-{n}"), "content": content}),
            )
            .await;
        assert_eq!(made.status, 201, "{}", made.text);
        manifest.push(json!({"policy_version_id": made.member("version_id")}));
    }
    let set = zone
        .post("policy-sets", &json!({"name": name}))
        .await
        .member("id")
        .to_owned();
    let version = zone
        .post(
            &format!("policy-sets/{set}/versions"),
            &json!({"manifest": manifest}),
        )
        .await;
    assert_eq!(version.status, 201, "{}", version.text);
    (set, version.member("id").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_answers_as_the_sts_would_and_stores_nothing() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Simulated").await;
    let (set, version) = set_of(&zone, "main", &[ALLOW, GUARD]).await;
    let path = format!("policy-sets/{set}/simulate");
    let spooled = async || stack.database().count("SELECT count(*) FROM event_spool").await;
    let before = spooled().await;
    let allowed = zone
        .post(&path, &json!({"version_id": version, "input": {}}))
        .await
        .expect(200);
    assert_eq!(
        (
            &allowed["decision"],
            &allowed["evaluation_status"],
            &allowed["determining_policies"]
        ),
        (&json!("allow"), &json!("complete"), &json!(["all"]))
    );
    assert_eq!(allowed["policies"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        allowed["policies"][1]["decision"],
        Value::Null,
        "an undefined result is no opinion"
    );
    let denied = zone
        .post(&path, &json!({"input": {"blocked": true}}))
        .await
        .expect(200);
    assert_eq!(
        (
            &denied["decision"],
            &denied["determining_policies"],
            &denied["diagnostics"]
        ),
        (&json!("deny"), &json!(["guard"]), &json!([{"why": "no"}])),
        "without a version the newest is asked, and an explicit deny beats the allow"
    );
    assert_eq!(spooled().await, before, "nothing is stored");

    // The active version is asked in preference to the newest.
    let activated = zone.activate(&set, &version).await;
    assert_eq!(activated.status, 202);
    let only_guard = zone
        .get(&format!("policy-sets/{set}/versions/{version}"))
        .await
        .expect(200)["manifest"][1]
        .clone();
    let newer = zone
        .post(
            &format!("policy-sets/{set}/versions"),
            &json!({"manifest": [only_guard]}),
        )
        .await;
    let by_active = zone.post(&path, &json!({"input": {}})).await.expect(200);
    assert_eq!(by_active["decision"], json!("allow"));
    let by_newer = zone
        .post(&path, &json!({"version_id": newer.member("id"), "input": {}}))
        .await
        .expect(200);
    assert_eq!(
        (&by_newer["decision"], &by_newer["diagnostics"]),
        (&json!("deny"), &json!([]))
    );

    let versions = zone.get(&format!("policy-sets/{set}/versions")).await.expect(200);
    assert_eq!(versions.as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_overruns_denies_and_says_so() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Slow").await;
    let (set, _) = set_of(&zone, "slow", &[LOOP]).await;
    let path = format!("policy-sets/{set}/simulate");
    let slow = zone
        .post(&path, &json!({"input": {"slow": true}}))
        .await
        .expect(200);
    assert_eq!(slow["decision"], json!("deny"), "{slow}");
    let status = slow["evaluation_status"].as_str().expect("a status");
    assert!(["policy_deadline", "policy_memory"].contains(&status), "{slow}");
    assert_eq!(
        slow["policies"][0]["evaluation_status"],
        slow["evaluation_status"]
    );
    let quick = zone.post(&path, &json!({"input": {}})).await.expect(200);
    assert_eq!(
        quick["evaluation_status"],
        json!("complete"),
        "the next one is not harmed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_tokens_simulate_and_foreign_sets_are_absent() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Other").await);
    let (set, version) = set_of(&zone, "main", &[ALLOW]).await;
    let (_, foreign) = set_of(&other, "main", &[ALLOW]).await;
    let (_, of_another_set) = set_of(&zone, "another", &[ALLOW]).await;
    let reader = zone
        .admin
        .post(
            "/v1/admin-tokens",
            &json!({"scope": "zone", "zone_id": zone.id, "read_only": true}),
        )
        .await;
    let reader = stack.anonymous(Service::Api, 0).bearer(reader.member("token"));
    let since = "2026-01-01T00:00:00Z";
    for (verb, body) in [
        ("simulate", json!({"input": {}})),
        ("replay", json!({"version_id": version, "since": since})),
    ] {
        let path = format!("policy-sets/{set}/{verb}");
        assert_eq!(reader.post(&zone.at(&path), &body).await.status, 200, "{verb}");
        let refused = reader.post(&other.at(&path), &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (403, "admin_token_zone_mismatch")
        );
        let absent = other.post(&path, &body).await;
        assert_eq!(
            (absent.status, absent.member("error")),
            (404, "policy_set_not_found"),
            "{verb}"
        );
        for elsewhere in [&foreign, &of_another_set] {
            let mut wrong = body.clone();
            wrong["version_id"] = json!(elsewhere);
            let absent = zone.post(&path, &wrong).await;
            assert_eq!(
                (absent.status, absent.member("error")),
                (404, "version_not_found"),
                "{verb} {elsewhere}"
            );
        }
    }
    for (path, body) in [
        ("simulate", json!({})),
        ("simulate", json!({"input": []})),
        ("simulate", json!({"input": {}, "color": 1})),
        ("simulate", json!({"input": {}, "version_id": "x"})),
        ("replay", json!({"version_id": version})),
        ("replay", json!({"since": since})),
        ("replay", json!({"version_id": version, "since": "yesterday"})),
    ] {
        let refused = zone.post(&format!("policy-sets/{set}/{path}"), &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{path} {body}"
        );
    }
    let empty = zone
        .post("policy-sets", &json!({"name": "empty"}))
        .await
        .member("id")
        .to_owned();
    let none = zone
        .post(&format!("policy-sets/{empty}/simulate"), &json!({"input": {}}))
        .await;
    assert_eq!((none.status, none.member("error")), (404, "version_not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_asked_by_too_many_at_once_says_so_and_not_that_it_denies() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Busy").await;
    let slow = "package caracal.authz\n\nimport rego.v1\n\nresult := {\"decision\": \"allow\", \"diagnostics\": [count([1 | some i in input.xs; some j in input.xs; some k in input.xs; k == \"no\"])]} if input.slow\n";
    let (set, _) = set_of(&zone, "slow", &[slow]).await;
    let texts: Vec<_> = (0..300).map(|n| format!("a{n}")).collect();
    let (path, body) = (
        format!("policy-sets/{set}/simulate"),
        json!({"input": {"slow": true, "xs": texts}}),
    );
    let mut gate = stack.database().connect().await;
    // What all read before they ask is locked until all have come; as often as it takes.
    for _ in 0..20 {
        let closed = gate.transaction().await.expect("a transaction");
        let lock = "LOCK TABLE zone_activations IN ACCESS EXCLUSIVE MODE";
        closed.batch_execute(lock).await.expect("a lock");
        let asking = join_all((0..100).map(|_| zone.post(&path, &body)));
        let opening = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            closed.rollback().await.expect("unlocked");
        };
        let (answers, ()) = tokio::join!(asking, opening);
        let asked = answers.iter().filter(|answer| answer.status == 200);
        assert!(
            asked
                .clone()
                .all(|answer| answer.member("evaluation_status") != "policy_busy")
        );
        let busy: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
        for answer in &busy {
            assert_eq!(
                (answer.status, answer.member("error")),
                (503, "temporarily_unavailable"),
                "{}",
                answer.text
            );
        }
        if !busy.is_empty() {
            return;
        }
    }
    panic!("so many at once, and each was asked");
}
