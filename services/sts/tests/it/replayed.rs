//! What the control plane makes of decisions as this service records them: the same version changes nothing, whatever
//! became of the request.

use crate::hands::{Hands, bounds, second};
use caracal_testkit::{Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

/// Lets everybody write but the root, and read all but one resource, which is held for a proof.
fn rules(root: &str) -> String {
    format!(
        r#"package caracal.authz

import rego.v1

writes if "orders:write" in input.context.requested_scopes

is_root if input.principal.id == "{root}"

is_held if input.resource.identifier == "resource://held"

result := {{"decision": "allow", "determining_policies": ["all"]}} if {{
  writes
  not is_root
}}

result := {{"decision": "allow", "determining_policies": ["all"]}} if {{
  not writes
  not is_held
}}

result := {{"decision": "deny", "determining_policies": ["root"]}} if {{
  writes
  is_root
}}

result := {{"decision": "deny", "diagnostics": [{{"step_up_required": "mfa"}}]}} if {{
  not writes
  is_held
}}
"#
    )
}

async fn replayed(stack: &Stack, world: &World, version: &str) -> Value {
    let path = world.path(&format!("policy-sets/{}/replay", world.policy_set_id));
    let body = json!({"version_id": version, "since": "2026-01-01T00:00:00Z"});
    stack.admin().post(&path, &body).await.expect(200)
}

#[tokio::test]
async fn the_version_that_decided_decides_the_same_again() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let hands = Hands::of(&stack, &world);
    let receiver = second(&stack, &world, "receiver").await;
    let held = json!({"identifier": "resource://held", "scopes": ["orders:read"]});
    let held = stack.admin().post(&world.path("resources"), &held).await;
    assert_eq!(held.status, 201, "{}", held.text);
    let rules = rules(&world.application_id);
    let epoch = world.adopt(&rules).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let status = stack
        .admin()
        .get(&world.path(&format!("policy-sets/{}", world.policy_set_id)))
        .await
        .expect(200);
    let version = status["active_version_id"]
        .as_str()
        .expect("a version")
        .to_owned();

    // Alone: allowed, refused, held, and held with another.
    let session = world.session(&sts).await;
    assert_eq!(world.mandate(&sts, &session, "orders:read").await.status, 200);
    assert_eq!(world.mandate(&sts, &session, "orders:write").await.status, 403);
    let several = [
        ("subject_token", session.as_str()),
        ("scope", "orders:read"),
        ("resource", world.resource.as_str()),
        ("resource", "resource://held"),
    ];
    let both = world.token(&sts, &several).await;
    assert_eq!(both.status, 401, "{}", both.text);

    // Delegated: allowed, and refused for the sake of its root.
    let root_agent = hands.agent(&world.application_id, 3600).await;
    let agent = hands.agent(&receiver.id, 3600).await;
    let from = (root_agent, world.application_id.as_str());
    let scopes = bounds("orders:read orders:write", 1);
    let edge = hands.edge(from, (agent, &receiver.id), None, scopes).await;
    let opened = receiver.token(&sts, &[]).await;
    let (agent, edge) = (agent.to_string(), edge.id.to_string());
    for (scope, status) in [("orders:read", 200), ("orders:write", 403)] {
        let fields = [
            ("subject_token", opened.member("access_token")),
            ("agent_session_id", agent.as_str()),
            ("delegation_edge_id", edge.as_str()),
            ("resource", world.resource.as_str()),
            ("scope", scope),
        ];
        let answer = receiver.token(&sts, &fields).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if status == 403 {
            assert_eq!(
                answer.member("reason"),
                "delegator_not_authorized",
                "{}",
                answer.text
            );
        }
    }

    let report = eventually("six decisions", Duration::from_secs(20), || async {
        let report = replayed(&stack, &world, &version).await;
        (report["total"] == json!(6)).then_some(report)
    })
    .await;
    assert_eq!(
        (&report["replayed"], &report["unreplayable"]),
        (&json!(6), &json!({})),
        "{report}"
    );
    assert_eq!(
        report["changes"],
        json!({"allow_to_deny": 0, "deny_to_allow": 0, "step_up": 0}),
        "{report}"
    );
}
