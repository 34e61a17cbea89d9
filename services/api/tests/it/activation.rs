use super::given::{rows, sql};
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
        assert_eq!(
            (&replica["version_id"], &replica["epoch"]),
            (&first["version_id"], &first["epoch"])
        );
        assert!(replica["instance"].is_string() && replica["loaded_at"].is_string());
    }
    stack.kill9(Service::Sts, 1);
    world.adopt(&world::allowing(&["orders:read"])).await;
    becomes(&stack, &world, "loaded", 1).await;
    let second = status(&stack, &world).await;
    assert_eq!(
        second["replicas"][0]["epoch"].to_string(),
        world.epoch,
        "{second}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_goes_takes_itself_off_and_one_that_comes_lacks_nothing() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    becomes(&stack, &world, "loaded", 1).await;
    stack.terminate(Service::Sts, 0);
    let gone = status(&stack, &world).await;
    assert_eq!(
        (&gone["propagation_status"], &gone["replicas"]),
        (&json!("pending"), &json!([])),
        "nobody is there: {gone}"
    );
    stack.restart(Service::Sts, 0).await;
    // It has not been asked about the zone; when it is, it reads what is active.
    let come = eventually("its first beat", Duration::from_secs(5), || async {
        let come = status(&stack, &world).await;
        (come["propagation_status"] == json!("loaded")).then_some(come)
    })
    .await;
    assert_eq!(come["replicas"], json!([]), "{come}");
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

/// What a replica would say of a version it should have loaded.
async fn told(stack: &Stack, zone: &Zone, version: &str, epoch: &str, failure: Option<&str>) {
    let (status, detail) = failure.map_or(("loaded", "NULL".to_owned()), |why| {
        ("failed", format!("'{why}'"))
    });
    sql(
        stack,
        &format!(
            "INSERT INTO sts_replicas (instance) VALUES ('sts-1') ON CONFLICT DO NOTHING;
             INSERT INTO activation_loads (zone_id, instance, version_id, epoch, status, detail)
               VALUES ('{}', 'sts-1', '{version}', {epoch}, '{status}', {detail})
             ON CONFLICT (zone_id, instance) DO UPDATE
               SET version_id = excluded.version_id, epoch = excluded.epoch, status = excluded.status,
                 detail = excluded.detail",
            zone.id
        ),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_could_not_load_shows_as_failed_and_a_set_that_is_not_active_has_nothing_to_show() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Failed").await;
    let [_, version, set, set_version] = zone.drafted().await;
    let [other, _] = zone.set_of("other", &version).await;
    let activated = zone.activate(&set, &set_version).await;
    assert_eq!(activated.status, 202);
    let status = async |set: &str| {
        zone.get(&format!("policy-sets/{set}/activation-status"))
            .await
            .expect(200)
    };
    told(
        &stack,
        &zone,
        &set_version,
        &activated.epoch(),
        Some("a module is missing"),
    )
    .await;
    let failed = status(&set).await;
    assert_eq!(failed["propagation_status"], json!("failed"), "{failed}");
    assert_eq!(failed["replicas"][0]["instance"], json!("sts-1"));
    told(&stack, &zone, &set_version, &activated.epoch(), None).await;
    let loaded = status(&set).await;
    assert_eq!(loaded["propagation_status"], json!("loaded"), "{loaded}");
    assert_eq!(loaded["outbox_id"], json!(activated.member("outbox_id")));
    let idle = status(&other).await;
    assert_eq!(
        (
            &idle["version_id"],
            &idle["outbox_id"],
            &idle["epoch"],
            &idle["propagation_status"]
        ),
        (&Value::Null, &Value::Null, &Value::Null, &json!("pending")),
        "{idle}"
    );
    assert_eq!(
        idle["replicas"],
        json!([]),
        "a replica serves another set's version"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_is_announced_and_leaves_nothing_active_or_observed_of_any_other_set() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Replaced").await;
    let [_, version, first, first_version] = zone.drafted().await;
    let [second, second_version] = zone.set_of("second", &version).await;
    let refused = zone.activate(&first, &second_version).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (404, "version_not_found"),
        "a version of another set"
    );

    let manifest = json!({"manifest": [{"policy_version_id": version}]});
    let observed = zone
        .post(&format!("policy-sets/{first}/versions"), &manifest)
        .await;
    let observed = observed.member("id");
    let observing = json!({"version_id": first_version, "shadow_version_id": observed});
    let activated = zone
        .post(&format!("policy-sets/{first}/activate"), &observing)
        .await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    let message = format!(
        "id = '{}' AND subject = 'caracal.policy.invalidate'",
        activated.member("outbox_id")
    );
    assert_eq!(rows(&stack, "outbox", &zone, &message).await, 1, "{message}");
    let shown = async |set: &str| {
        let shown = zone.get(&format!("policy-sets/{set}")).await.expect(200);
        [
            shown["active_version_id"].clone(),
            shown["shadow_version_id"].clone(),
        ]
    };
    assert_eq!(shown(&first).await, [json!(first_version), json!(observed)]);

    let replaced = zone.activate(&second, &second_version).await;
    assert_eq!(replaced.status, 202, "{}", replaced.text);
    assert_eq!(shown(&second).await, [json!(second_version), Value::Null]);
    assert_eq!(shown(&first).await, [Value::Null, Value::Null]);
}
