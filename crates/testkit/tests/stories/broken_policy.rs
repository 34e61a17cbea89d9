//! A broken policy never reaches a zone, and a missing compiler touches nobody who mints.

use caracal_testkit::stack::Service;
use caracal_testkit::{Stack, World};
use serde_json::json;

#[tokio::test]
async fn is_refused_at_the_control_plane_with_its_place() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    for (what, content) in [
        ("a syntax error", "package caracal.authz\nresult := {"),
        (
            "another package",
            "package other\nresult := {\"decision\": \"allow\"}",
        ),
        ("no result", "package caracal.authz\nallowed := true"),
        (
            "a forbidden builtin",
            "package caracal.authz\nresult := {\"decision\": \"allow\", \"x\": opa.runtime()}",
        ),
        (
            "a call home",
            "package caracal.authz\nresult := http.send({\"method\": \"get\", \"url\": \"http://x\"})",
        ),
    ] {
        let refused = stack
            .admin()
            .post(
                &world.path("policies"),
                &json!({"name": what, "content": content}),
            )
            .await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (422, "invalid_rego"),
            "{what}: {}",
            refused.text
        );
        assert!(
            refused.body["issues"]
                .as_array()
                .is_some_and(|issues| !issues.is_empty()),
            "{what}: {}",
            refused.text
        );
    }
    let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(minted.status, 200, "the policy in force goes on: {}", minted.text);
}

#[tokio::test]
async fn a_policy_that_fails_while_deciding_refuses_and_harms_nobody_else() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let epoch = world
        .adopt("package caracal.authz\n\nresult := {\"decision\": \"perhaps\", \"evaluation_status\": \"complete\", \"determining_policies\": [\"p\"], \"diagnostics\": []} if input.principal.id != \"\"\n")
        .await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let asked = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(
        (asked.status, asked.member("error")),
        (503, "temporarily_unavailable"),
        "{}",
        asked.text
    );
    assert_eq!(asked.member("reason"), "policy_result", "{}", asked.text);
    let other = World::new(&stack).await;
    let session = other.session(&stack.sts(0)).await;
    assert_eq!(
        other.mandate(&stack.sts(0), &session, "orders:read").await.status,
        200
    );
}

#[tokio::test]
async fn nobody_hides_a_decision_from_the_ledger_by_what_is_in_it() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let hiding = r#"package caracal.authz

result := {
	"decision": "allow", "evaluation_status": "complete", "determining_policies": ["a\u0000b"],
	"diagnostics": [{"c\u0000d": "e"}],
}
"#;
    let epoch = world.adopt(hiding).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let minted = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let request = minted.header("x-request-id").to_owned();
    let recorded = async || (!world.events(&request).await.is_empty()).then_some(());
    caracal_testkit::eventually("its record", std::time::Duration::from_secs(20), recorded).await;
}

#[tokio::test]
async fn a_missing_compiler_is_a_clear_503_and_minting_goes_on() {
    let mut stack = Stack::builder()
        .env(Service::Api, "OPA_BIN", "/nowhere/opa")
        .launch()
        .await;
    stack.ready(Service::Sts, 0).await;
    let zone = caracal_testkit::eventually("a control plane", std::time::Duration::from_secs(30), || async {
        let made = stack
            .anonymous(Service::Api, 0)
            .bearer(caracal_testkit::settings::ADMIN_TOKEN);
        let answer = made
            .send(reqwest::Method::POST, "/v1/zones", |request| {
                request.json(&json!({"name": "Z"}))
            })
            .await
            .ok()?;
        (answer.status == 201).then(|| answer.member("id").to_owned())
    })
    .await;
    let content = caracal_testkit::world::allowing(&["a"]);
    let path = format!("/v1/zones/{zone}/policies");
    let refused = stack
        .admin()
        .post(&path, &json!({"name": "p", "content": content}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (503, "policy_compiler_unavailable"),
        "{}",
        refused.text
    );
    assert!(stack.process(Service::Sts, 0).is_running());
}
