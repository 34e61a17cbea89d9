use super::ledger::{Event, write};
use super::{Zone, alone};
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

/// Says what its input tells it to say, and fails where that is two things at once.
const OBEDIENT: &str = r#"package caracal.authz

import rego.v1

result := {"decision": input.say, "determining_policies": ["obedient"]} if input.say in {"allow", "deny"}

result := {"decision": "deny", "diagnostics": [{"step_up_required": "mfa"}]} if input.say == "proof"

result := {"decision": "allow"} if input.say == "both"

result := {"decision": "deny", "determining_policies": ["both"]} if input.say == "both"
"#;

/// A question as the STS keeps it, with what the one policy of then said.
fn question(say: &str) -> Value {
    let version = "0198c0de-0000-7000-8000-00000000000a";
    let said = match say {
        "allow" | "deny" => {
            json!({"policy_version_id": version, "decision": say, "evaluation_status": "complete",
            "determining_policies": ["obedient"], "diagnostics": []})
        }
        "proof" => json!({"policy_version_id": version, "decision": "deny", "evaluation_status": "complete",
            "determining_policies": [], "diagnostics": [{"step_up_required": "mfa"}]}),
        "busy" => json!({"policy_version_id": version, "error": "policy_busy"}),
        _ => json!({"policy_version_id": version, "decision": null}),
    };
    json!({"policies": [said], "input": {"schema_version": "2026-03-16", "say": say}})
}

fn delegated(caller: &str, delegator: Option<&str>) -> Value {
    let mut metadata = question(caller);
    metadata["delegation_edge_id"] = json!("0198c0de-0000-7000-8000-00000000000b");
    if let Some(delegator) = delegator {
        metadata["delegator"] = question(delegator);
    }
    metadata
}

/// A ledger of these decisions; a refusal has a reason.
async fn recorded(stack: &Stack, zone: &Zone, decisions: Vec<(Value, Option<&str>)>) {
    for (at, (metadata, reason)) in (1..).zip(decisions) {
        let decision = if reason.is_some() { "deny" } else { "allow" };
        let event = Event {
            decision,
            reason,
            metadata,
            at,
            ..Event::default()
        };
        write(stack, zone, &event).await;
    }
}

/// A set of one policy, and its version.
async fn made_of(zone: &Zone, name: &str, rego: &str) -> [String; 2] {
    let policy = zone
        .post("policies", &json!({"name": name, "content": rego}))
        .await;
    assert_eq!(policy.status, 201, "{}", policy.text);
    zone.set_of(name, policy.member("version_id")).await
}

async fn report(zone: &Zone, [set, version]: &[String; 2]) -> Value {
    let body = json!({"version_id": version, "since": "2026-01-01T00:00:00Z"});
    zone.post(&format!("policy-sets/{set}/replay"), &body)
        .await
        .expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_policies_change_nothing_whatever_became_of_the_request() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Same").await;
    let same = made_of(&zone, "obedient", OBEDIENT).await;
    let decisions = vec![
        (question("allow"), None),
        (question("deny"), Some("policy_deny")),
        (question("nothing"), Some("policy_deny")),
        (question("proof"), Some("step_up_required")),
        // Allowed by itself, and held with another resource of the same request.
        (question("allow"), Some("step_up_required")),
        (delegated("allow", Some("allow")), None),
        (delegated("allow", Some("deny")), Some("delegator_not_authorized")),
        (
            delegated("allow", Some("proof")),
            Some("delegator_not_authorized"),
        ),
        (delegated("deny", None), Some("policy_deny")),
        (delegated("proof", None), Some("step_up_required")),
    ];
    let count = decisions.len();
    recorded(&stack, &zone, decisions).await;
    let report = report(&zone, &same).await;
    assert_eq!(
        (&report["total"], &report["replayed"], &report["unreplayable"]),
        (&json!(count), &json!(count), &json!({})),
        "{report}"
    );
    assert_eq!(
        report["changes"],
        json!({"allow_to_deny": 0, "deny_to_allow": 0, "step_up": 0}),
        "{report}"
    );
    // Others change what they should: of what was allowed all three, one of them for its delegator alone.
    let denying = OBEDIENT.replace("input.say in {\"allow\", \"deny\"}", "input.say == \"deny\"");
    let denying = made_of(&zone, "denying", &denying).await;
    let report = self::report(&zone, &denying).await;
    assert_eq!(
        report["changes"],
        json!({"allow_to_deny": 3, "deny_to_allow": 0, "step_up": 0}),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_again_is_counted_by_its_reason() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Reasons").await;
    let draft = made_of(&zone, "obedient", OBEDIENT).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut metadata = question("allow");
        change(&mut metadata);
        metadata
    };
    let decisions = vec![
        (
            json!({"resource": "resource://unknown"}),
            Some("unknown_resource"),
        ),
        (
            with(&|it| it["input"]["schema_version"] = json!("2020-01-01")),
            None,
        ),
        (
            with(&|it| it["input"]["claims"] = json!([{"key": "[redacted]"}])),
            None,
        ),
        (question("busy"), Some("policy_busy")),
        (delegated("allow", Some("busy")), Some("policy_busy")),
        (
            with(&|it| it["policies"] = json!([{"policy_version_id": "?"}])),
            None,
        ),
        (with(&|it| it["input"]["say"] = json!("both")), None),
        // Refused then, allowed now: whether its delegator would be is not known.
        (
            {
                let mut metadata = delegated("deny", None);
                metadata["input"]["say"] = json!("allow");
                metadata
            },
            Some("policy_deny"),
        ),
        (question("allow"), None),
    ];
    recorded(&stack, &zone, decisions).await;
    let report = report(&zone, &draft).await;
    assert_eq!(
        report["unreplayable"],
        json!({
            "policy_not_asked": 1, "other_schema": 1, "input_redacted": 1, "policy_failed_then": 2,
            "record_unreadable": 1, "policy_failed": 1, "delegator_not_asked": 1,
        }),
        "{report}"
    );
    assert_eq!((&report["total"], &report["replayed"]), (&json!(9), &json!(1)));
    let archived = zone
        .admin
        .delete(&zone.at(&format!("policy-sets/{}", draft[0])))
        .await;
    assert_eq!(archived.status, 204);
    let body = json!({"version_id": draft[1], "since": "2026-01-01T00:00:00Z"});
    let absent = zone
        .post(&format!("policy-sets/{}/replay", draft[0]), &body)
        .await;
    assert_eq!(
        (absent.status, absent.member("error")),
        (404, "policy_set_not_found")
    );
}
