//! Shadow evaluation, and deciding a recorded decision again.

use crate::hands::Hands;
use caracal_domain::id::PolicyVersionId;
use caracal_domain::zone::{Manifest, ManifestEntry};
use caracal_domain::{PolicyVerdict, combine};
use caracal_policy::{Engine, EngineConfig};
use caracal_storage::{modules, policies};
use caracal_testkit::world::{SCHEMA_VERSION, allowing};
use caracal_testkit::{Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

async fn set_version(stack: &Stack, world: &World, rego: &str) -> String {
    let admin = stack.admin();
    let path = world.path(&format!("policies/{}/versions", world.policy_id));
    let version = admin.post(&path, &json!({"content": rego})).await;
    let manifest =
        json!({"manifest": [{"policy_version_id": version.member("id")}], "schema_version": SCHEMA_VERSION});
    let path = world.path(&format!("policy-sets/{}/versions", world.policy_set_id));
    let made = admin.post(&path, &manifest).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.member("id").to_owned()
}

#[tokio::test]
async fn the_shadow_set_is_observed_and_decides_nothing() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let active = set_version(&stack, &world, &allowing(&["orders:read", "orders:write"])).await;
    let shadow = set_version(&stack, &world, &allowing(&["orders:write"])).await;
    let path = world.path(&format!("policy-sets/{}/activate", world.policy_set_id));
    let body = json!({"version_id": active, "shadow_version_id": shadow});
    let activated = stack.admin().post(&path, &body).await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    let sts = |id: &str| {
        stack
            .sts(0)
            .with("Caracal-Min-Epoch", &activated.epoch())
            .with("X-Request-Id", id)
    };
    let session = world.session(&sts("session")).await;
    for (id, scope, status, decision, differs) in [
        ("reads", "orders:read", 200, "deny", true),
        ("writes", "orders:write", 200, "allow", false),
        ("deletes", "orders:delete", 403, "deny", false),
    ] {
        let answer = world.mandate(&sts(id), &session, scope).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let event = eventually("the shadow's outcome", Duration::from_secs(10), || async {
            world
                .events(id)
                .await
                .into_iter()
                .find(|event| event["event_type"] == "policy_shadow")
        })
        .await;
        let said = &event["metadata_json"];
        assert_eq!(
            (&said["version_id"], &said["decision"]),
            (&json!(shadow), &json!(decision)),
            "{event}"
        );
        assert_eq!(said["differs"], json!(differs), "{event}");
        assert_eq!(
            (&said["application_id"], &said["resource"]),
            (&json!(world.application_id), &json!(world.resource)),
            "{event}"
        );
        assert!(said["session_id"].is_string(), "{event}");
    }
}

#[tokio::test]
async fn a_proof_that_only_one_of_the_two_asks_for_is_a_difference() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let active = set_version(&stack, &world, &allowing(&["orders:write"])).await;
    let shadow = set_version(&stack, &world, &crate::step_up::asking_for("mfa")).await;
    let path = world.path(&format!("policy-sets/{}/activate", world.policy_set_id));
    let body = json!({"version_id": active, "shadow_version_id": shadow});
    let activated = stack.admin().post(&path, &body).await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &activated.epoch());
    let session = world.session(&sts).await;
    let sts = sts.with("X-Request-Id", "refused");
    let denied = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(denied.member("reason"), "policy_deny", "{}", denied.text);
    let event = eventually("the shadow's outcome", Duration::from_secs(10), || async {
        let events = world.events("refused").await;
        events
            .into_iter()
            .find(|event| event["event_type"] == "policy_shadow")
    })
    .await;
    let said = &event["metadata_json"];
    assert_eq!(
        (&said["decision"], &said["step_up"], &said["differs"]),
        (&json!("deny"), &json!("mfa"), &json!(true)),
        "{event}"
    );
}

/// Runs past its deadline on one scope, answers nonsense on the others.
const FAILING: &str = r#"package caracal.authz
import rego.v1
result := {"decision": "perhaps"} if "orders:read" in input.context.requested_scopes
result := {"decision": "perhaps"} if "orders:delete" in input.context.requested_scopes
result := {"decision": "allow", "evaluation_status": "complete", "determining_policies": [], "diagnostics": [n]} if {
  "orders:write" in input.context.requested_scopes
  n := count([1 | some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j == -1])
}"#;

#[tokio::test]
async fn a_shadow_set_that_fails_or_cannot_keep_up_changes_no_answer() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let active = set_version(&stack, &world, &allowing(&["orders:read", "orders:write"])).await;
    let shadow = set_version(&stack, &world, FAILING).await;
    let path = world.path(&format!("policy-sets/{}/activate", world.policy_set_id));
    let body = json!({"version_id": active, "shadow_version_id": shadow});
    let activated = stack.admin().post(&path, &body).await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    let sts = |id: &str| {
        stack
            .sts(0)
            .with("Caracal-Min-Epoch", &activated.epoch())
            .with("X-Request-Id", id)
    };
    let session = world.session(&sts("session")).await;
    for (id, scope, status) in [
        ("nonsense", "orders:read", 200),
        ("late", "orders:write", 200),
        ("no", "orders:delete", 403),
    ] {
        let answer = world.mandate(&sts(id), &session, scope).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(
            answer.took < Duration::from_secs(1),
            "nobody waits for a shadow: {:?}",
            answer.took
        );
    }
    for id in ["nonsense", "late", "no"] {
        let event = eventually("the failure's outcome", Duration::from_secs(10), || async {
            let events = world.events(id).await;
            events
                .into_iter()
                .find(|event| event["event_type"] == "policy_shadow")
        })
        .await;
        assert_eq!(
            (&event["evaluation_status"], &event["metadata_json"]["differs"]),
            (&json!("error"), &json!(true)),
            "what fails refuses, and has decided nothing: {event}"
        );
    }
    // More than the queue holds, each of them late: what finds no place is dropped, and every answer is the same.
    let flood = (0..600).map(|_| async {
        world
            .mandate(&stack.sts(0), &session, "orders:write")
            .await
            .status
    });
    let statuses = futures::stream::StreamExt::collect::<Vec<_>>(
        futures::stream::StreamExt::buffer_unordered(futures::stream::iter(flood), 16),
    )
    .await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let text = stack.sts(0).get("/metrics").await.text;
    let dropped = text
        .lines()
        .find_map(|line| line.strip_prefix("caracal_sts_shadow_evaluations_dropped_total "))
        .and_then(|count| count.parse::<u32>().ok());
    assert!(dropped > Some(0), "what was dropped is counted: {dropped:?}");
}

#[tokio::test]
async fn a_recorded_decision_is_decided_again_offline_with_the_same_answer() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let hands = Hands::of(&stack, &world);
    let session = world.session(&stack.sts(0)).await;
    for (id, scope) in [("again-1", "orders:read"), ("again-2", "orders:delete")] {
        world
            .mandate(&stack.sts(0).with("X-Request-Id", id), &session, scope)
            .await;
        let event = eventually("the decision", Duration::from_secs(10), || async {
            world.events(id).await.into_iter().next()
        })
        .await;
        let metadata = &event["metadata_json"];
        assert!(
            metadata["evaluation_us"].is_number() && metadata["epoch"].is_number(),
            "{event}"
        );
        assert!(event["manifest_sha"].is_string());
        let recorded = metadata["policies"].as_array().expect("each policy's own answer");
        let (verdicts, decided) = decide_again(&hands, recorded, &metadata["input"]).await;
        assert_eq!(decided, event["decision"]);
        for (again, recorded) in verdicts.iter().zip(recorded) {
            let answer = again.answer.clone().expect("no fault").expect("an opinion");
            assert_eq!(json!(answer.decision), recorded["decision"]);
            assert_eq!(json!(answer.diagnostics), recorded["diagnostics"]);
        }
    }
}

async fn decide_again(hands: &Hands, recorded: &[Value], input: &Value) -> (Vec<PolicyVerdict>, Value) {
    let engine = Engine::new(EngineConfig::default()).expect("an engine");
    let mut manifest = Manifest {
        policy_set_id: uuid::Uuid::nil().into(),
        version_id: uuid::Uuid::nil().into(),
        sha256: String::new(),
        policies: vec![],
    };
    for policy in recorded {
        let id: PolicyVersionId = policy["policy_version_id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("an id");
        let mut conn = hands.conn().await;
        let version = policies::find_versions(&mut conn, hands.zone, &[id])
            .await
            .expect("read");
        let name = version.into_iter().next().expect("a version").module;
        let module = modules::get(&mut conn, &name)
            .await
            .expect("read")
            .expect("a module");
        engine
            .load(&name, module.wasm, &module.wasm_sha256)
            .await
            .expect("loaded");
        manifest.policies.push(ManifestEntry {
            policy_version_id: id,
            module: name,
        });
    }
    let said = engine.evaluate(&manifest, input).await;
    let decision = combine(&said.verdicts).expect("no fault").decision;
    (said.verdicts, json!(decision))
}
