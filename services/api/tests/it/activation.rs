use super::{Zone, alone};
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::world::World;
use caracal_testkit::{eventually, world};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);

async fn status(stack: &Stack, world: &World) -> Value {
    let path = world.path(&format!("policy-sets/{}/activation-status", world.policy_set_id));
    stack.admin().get(&path).await.expect(200)
}

async fn becomes(stack: &Stack, world: &World, wanted: &str, replicas: usize) {
    eventually(wanted, PATIENCE, || async {
        let status = status(stack, world).await;
        let live = status["replicas"].as_array().map_or(0, Vec::len);
        (status["propagation_status"] == json!(wanted) && live == replicas).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_reports_and_one_that_is_gone_does_not_hold_up() {
    let mut stack = Stack::builder().replicas(Service::Sts, 2).start().await;
    let mut world = World::new(&stack).await;
    becomes(&stack, &world, "loaded", 2).await;
    let first = status(&stack, &world).await;
    assert_eq!(first["epoch"].to_string(), world.epoch);
    for replica in first["replicas"].as_array().expect("replicas") {
        assert_eq!(replica["version_id"], first["version_id"]);
        assert!(replica["instance"].is_string() && replica["loaded_at"].is_string());
    }
    stack.kill9(Service::Sts, 1);
    world.adopt(&world::allowing(&["orders:read"])).await;
    becomes(&stack, &world, "loaded", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_whose_module_is_gone_fails_its_contract() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Contract").await;
    let [_, version, set, set_version] = zone.drafted().await;
    let sabotage = "SET session_replication_role = replica; DELETE FROM policy_modules;";
    let owner = stack.database().connect().await;
    owner
        .batch_execute(sabotage)
        .await
        .expect("the module is deleted");
    let refused = zone.activate(&set, &set_version).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (422, "invalid_policy_contract"),
        "{}",
        refused.text
    );
    assert!(
        refused.body["issues"][0]["message"]
            .as_str()
            .expect("a text")
            .contains(&version)
    );
    let other = stack
        .admin()
        .get(&zone.at(&format!("policy-sets/{set}")))
        .await
        .expect(200);
    assert_eq!(other["active_version_id"], Value::Null, "nothing was activated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_aborts_never_enters_a_set() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Aborts").await;
    // One complete rule with two values: a conflict, which aborts.
    let aborts = "package caracal.authz\n\nimport rego.v1\n\nresult := {\"decision\": \"allow\"} if input\n\nresult := {\"decision\": \"deny\"} if input\n";
    let made = zone
        .post("policies", &json!({"name": "aborts", "content": aborts}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let set = zone
        .post("policy-sets", &json!({"name": "main"}))
        .await
        .member("id")
        .to_owned();
    let manifest = json!({"manifest": [{"policy_version_id": made.member("version_id")}]});
    let answer = zone.post(&format!("policy-sets/{set}/versions"), &manifest).await;
    assert_eq!(
        (answer.status, answer.member("error")),
        (422, "invalid_policy_contract"),
        "{}",
        answer.text
    );
}
