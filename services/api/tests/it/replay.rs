use caracal_testkit::eventually;
use caracal_testkit::stack::Stack;
use caracal_testkit::world::{World, allowing};
use serde_json::{Value, json};
use std::time::Duration;

const STEP_UP: &str = "package caracal.authz\n\nresult := {\"decision\": \"deny\", \"diagnostics\": [{\"step_up_required\": \"mfa\"}]}\n";

/// A version of the world's set made of one new policy version.
async fn draft(stack: &Stack, world: &World, rego: &str) -> String {
    let admin = stack.admin();
    let path = world.path(&format!("policies/{}/versions", world.policy_id));
    let policy = admin.post(&path, &json!({"content": rego})).await;
    let path = world.path(&format!("policy-sets/{}/versions", world.policy_set_id));
    let manifest = json!({"manifest": [{"policy_version_id": policy.member("id")}]});
    admin.post(&path, &manifest).await.member("id").to_owned()
}

async fn replayed(stack: &Stack, world: &World, version: &str, since: &str) -> Value {
    let path = world.path(&format!("policy-sets/{}/replay", world.policy_set_id));
    let body = json!({"version_id": version, "since": since});
    stack.admin().post(&path, &body).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_decisions_are_made_again_under_a_draft() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    for _ in 0..3 {
        assert_eq!(world.mandate(&sts, &session, "orders:read").await.status, 200);
    }
    for _ in 0..2 {
        assert_eq!(world.mandate(&sts, &session, "orders:delete").await.status, 403);
    }
    // Refused before policy is asked: there is nothing to decide again.
    assert_eq!(world.mandate(&sts, &session, "orders:burn").await.status, 400);
    let epoch = "2026-01-01T00:00:00Z";
    let swapped = draft(&stack, &world, &allowing(&["orders:delete"])).await;
    let report = eventually("all six decisions", Duration::from_secs(20), || async {
        let report = replayed(&stack, &world, &swapped, epoch).await;
        (report["total"] == json!(6)).then_some(report)
    })
    .await;
    assert_eq!(report["replayed"], json!(5), "{report}");
    assert_eq!(report["unreplayable"], json!({"policy_not_asked": 1}));
    assert_eq!(
        report["changes"],
        json!({"allow_to_deny": 3, "deny_to_allow": 2, "step_up": 0})
    );
    assert_eq!(report["examples"].as_array().map(Vec::len), Some(5));
    let example = &report["examples"][0];
    assert!(
        example["event_id"].is_string() && example["before"] != example["after"],
        "{example}"
    );

    let proof = draft(&stack, &world, STEP_UP).await;
    let report = replayed(&stack, &world, &proof, epoch).await;
    assert_eq!(
        report["changes"],
        json!({"allow_to_deny": 0, "deny_to_allow": 0, "step_up": 5})
    );
    assert_eq!(report["examples"][0]["after"], json!("step_up"));

    let same = draft(&stack, &world, &allowing(&["orders:read", "orders:write"])).await;
    let report = replayed(&stack, &world, &same, epoch).await;
    assert_eq!(
        report["changes"],
        json!({"allow_to_deny": 0, "deny_to_allow": 0, "step_up": 0}),
        "{report}"
    );
    assert_eq!(report["examples"], json!([]));
    let report = replayed(&stack, &world, &same, "2099-01-01T00:00:00Z").await;
    assert_eq!(
        (&report["total"], &report["since"]),
        (&json!(0), &json!("2099-01-01T00:00:00Z"))
    );
}
