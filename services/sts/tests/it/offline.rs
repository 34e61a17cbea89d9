//! A decision is decided again by somebody else: with what `explain` answers, the policies' sources as the API shows them,
//! and OPA itself. Nothing of ours takes part.

use crate::hands::{Hands, bounds, second};
use caracal_testkit::world::SCHEMA_VERSION;
use caracal_testkit::{Stack, World, binaries, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Reading is allowed to all, writing to whoever proves itself, and nobody deletes.
const RULES: &str = r#"package caracal.authz
import rego.v1

asked(scope) if scope in input.context.requested_scopes

result := {"decision": "allow", "determining_policies": ["readers"], "diagnostics": [sprintf("%s reads", [input.principal.name])]} if {
  asked("orders:read")
  not held
}

result := {"decision": "allow", "determining_policies": ["writers"]} if {
  asked("orders:write")
  not held
}

result := {"decision": "deny", "determining_policies": ["proof"], "diagnostics": [{"step_up_required": "mfa"}]} if held

held if {
  asked("orders:write")
  contains(input.resource.identifier, "/held/")
  not input.context.challenge_resolved
}
"#;
const GUARD: &str = r#"package caracal.authz
import rego.v1
result := {"decision": "deny", "determining_policies": ["no-deletes"]} if "orders:delete" in input.context.requested_scopes
"#;

/// What OPA says of `result`; `None` when it is undefined.
fn opa(source: &str, input: &Value) -> Option<Value> {
    let dir = tempfile::tempdir().expect("a directory");
    let policy = dir.path().join("policy.rego");
    std::fs::write(&policy, source).expect("written");
    let mut asked = Command::new(binaries::outside("opa", "OPA_BIN"))
        .args(["eval", "--format", "json", "--stdin-input", "--data"])
        .arg(&policy)
        .arg("data.caracal.authz.result")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("opa runs");
    let mut stdin = asked.stdin.take().expect("a pipe");
    stdin.write_all(input.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let said = asked.wait_with_output().expect("it ends").stdout;
    let said: Value = serde_json::from_slice(&said).expect("JSON");
    said["result"][0]["expressions"][0].get("value").cloned()
}

/// Every policy version's source by its id, as the control plane shows them.
async fn sources(stack: &Stack, world: &World) -> BTreeMap<String, String> {
    let admin = stack.admin();
    let mut sources = BTreeMap::new();
    let policies = admin.get(&world.path("policies")).await;
    for policy in policies.expect(200).as_array().expect("a list") {
        let id = policy["id"].as_str().expect("an id");
        let versions = admin.get(&world.path(&format!("policies/{id}/versions"))).await;
        for version in versions.expect(200).as_array().expect("a list") {
            let text = |member: &str| version[member].as_str().expect("text").to_owned();
            sources.insert(text("id"), text("content"));
        }
    }
    sources
}

/// Decides what one input was decided to again; whether all of them together allow it.
fn again(sources: &BTreeMap<String, String>, asked: &Value) -> bool {
    let (mut allows, mut denies) = (false, false);
    for policy in asked["policies"].as_array().expect("each policy's own answer") {
        let id = policy["policy_version_id"].as_str().expect("an id");
        let said = opa(&sources[id], &asked["input"]);
        let member = |name: &str| said.as_ref().map_or(Value::Null, |said| said[name].clone());
        assert_eq!(member("decision"), policy["decision"], "{policy}");
        for list in ["determining_policies", "diagnostics"] {
            let ours = policy.get(list).cloned().unwrap_or_default();
            let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
            let theirs = member(list);
            assert!(
                ours == theirs || (empty(&ours) && empty(&theirs)),
                "{policy} {said:?}"
            );
        }
        allows |= policy["decision"] == "allow";
        denies |= policy["decision"] == "deny";
    }
    allows && !denies
}

async fn explained(stack: &Stack, world: &World, id: &str, decisions: usize) -> Vec<Value> {
    let path = world.path(&format!("audit/by-request/{id}/explain"));
    eventually("an explanation", Duration::from_secs(10), || async {
        let answer = stack.admin().get(&path).await;
        let events = answer.body.get("events")?.as_array()?.clone();
        let decided: Vec<Value> = events
            .into_iter()
            .filter(|event| event["event_type"] == "token_exchange")
            .collect();
        (answer.status == 200 && decided.len() == decisions).then_some(decided)
    })
    .await
}

async fn with_rules(stack: &Stack) -> (World, String) {
    let world = World::new(stack).await;
    let admin = stack.admin();
    let mut manifest = Vec::new();
    for (name, content) in [("rules", RULES), ("guard", GUARD)] {
        let body = json!({"name": name, "content": content});
        let made = admin.post(&world.path("policies"), &body).await;
        manifest.push(json!({"policy_version_id": made.expect(201)["version_id"]}));
    }
    let set = world.path(&format!("policy-sets/{}", world.policy_set_id));
    let body = json!({"manifest": manifest, "schema_version": SCHEMA_VERSION});
    let version = admin.post(&format!("{set}/versions"), &body).await;
    let body = json!({"version_id": version.expect(201)["id"]});
    let activated = admin.post(&format!("{set}/activate"), &body).await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    let body = json!({"identifier": "resource://held/order-book", "scopes": ["orders:read", "orders:write"]});
    let resource = admin.post(&world.path("resources"), &body).await;
    assert_eq!(resource.status, 201, "{}", resource.text);
    let epoch = resource.epoch();
    (world, epoch)
}

#[tokio::test]
async fn opa_itself_decides_again_what_was_allowed_denied_delegated_and_held() {
    let stack = Stack::start().await;
    let (world, epoch) = with_rules(&stack).await;
    let hands = Hands::of(&stack, &world);
    let sts = |id: &str| {
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
        sts.with("X-Request-Id", id)
    };
    let session = world.session(&sts("session")).await;
    let book = "resource://held/order-book";
    let held = [
        ("subject_token", session.as_str()),
        ("resource", book),
        ("resource", world.resource.as_str()),
        ("scope", "orders:write"),
    ];
    for (id, scope, status) in [("allow", "orders:read", 200), ("deny", "orders:delete", 403)] {
        let answer = world.mandate(&sts(id), &session, scope).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let challenge = world.token(&sts("held"), &held).await;
    assert_eq!(challenge.status, 401, "{}", challenge.text);
    let (id, secret) = (
        challenge.member("challenge_id"),
        challenge.member("challenge_secret"),
    );
    assert!(hands.satisfy(id).await);
    let mut retry = held.to_vec();
    retry.extend([("challenge_id", id), ("challenge_response", secret)]);
    let proved = world.token(&sts("proved"), &retry).await;
    assert_eq!(proved.status, 200, "{}", proved.text);

    let receiver = second(&stack, &world, "receiver").await;
    let root = hands.agent(&world.application_id, 3600).await;
    let agent = hands.agent(&receiver.id, 3600).await;
    let from = (root, world.application_id.as_str());
    let edge = hands
        .edge(from, (agent, &receiver.id), None, bounds("orders:read", 1))
        .await;
    let theirs = receiver.token(&stack.sts(0), &[]).await;
    let (agent, edge) = (agent.to_string(), edge.id.to_string());
    let redeeming = [
        ("subject_token", theirs.member("access_token")),
        ("agent_session_id", &agent),
        ("delegation_edge_id", &edge),
        ("resource", &world.resource),
    ];
    let delegated = receiver.token(&sts("delegated"), &redeeming).await;
    assert_eq!(delegated.status, 200, "{}", delegated.text);

    let sources = sources(&stack, &world).await;
    for (id, allowed) in [
        ("allow", vec![true]),
        ("deny", vec![false]),
        ("held", vec![false, true]),
        ("proved", vec![true, true]),
        ("delegated", vec![true]),
    ] {
        let mut said = Vec::new();
        for event in explained(&stack, &world, id, allowed.len()).await {
            let about = &event["metadata_json"];
            assert!(
                event["manifest_sha"].is_string() && about["epoch"].is_number(),
                "{event}"
            );
            let once = again(&sources, about);
            if id == "delegated" {
                assert!(again(&sources, &about["delegator"]), "its root too: {event}");
            }
            // What is held with the rest was allowed by itself.
            let decided = event["decision"] == "allow" || (id == "held" && once);
            assert_eq!(once, decided, "{event}");
            said.push(once);
        }
        said.sort_unstable();
        assert_eq!(said, allowed, "{id}");
    }
}
