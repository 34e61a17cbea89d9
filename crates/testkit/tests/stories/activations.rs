//! What is activated is what decides: of many activations at once the last, at every replica; and what a set version names
//! is warm before it is activated.

use caracal_testkit::stack::Service;
use caracal_testkit::world::{SCHEMA_VERSION, allowing};
use caracal_testkit::{Answer, Client, Stack, World, eventually};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A version of the world's set, of a new version of its policy that allows one scope.
async fn drafted(admin: &Client, world: &World, scope: &str) -> (String, String) {
    let path = world.path(&format!("policies/{}/versions", world.policy_id));
    let policy = admin.post(&path, &json!({"content": allowing(&[scope])})).await;
    let manifest = json!({
        "manifest": [{"policy_version_id": policy.member("id")}], "schema_version": SCHEMA_VERSION,
    });
    let path = world.path(&format!("policy-sets/{}/versions", world.policy_set_id));
    let version = admin.post(&path, &manifest).await;
    assert_eq!(version.status, 201, "{}", version.text);
    (scope.to_owned(), version.member("id").to_owned())
}

/// The set version that decided.
fn deciding(event: &Value) -> String {
    event["policy_set_version_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn of_many_activations_at_once_the_last_decides_at_every_replica() {
    let stack = Stack::builder()
        .replicas(Service::Sts, 2)
        .replicas(Service::Gateway, 0)
        .start()
        .await;
    let world = World::new(&stack).await;
    let admin = stack.admin();
    let versions = [
        drafted(&admin, &world, "orders:read").await,
        drafted(&admin, &world, "orders:write").await,
        drafted(&admin, &world, "orders:delete").await,
    ];
    let sessions = [
        world.session(&stack.sts(0)).await,
        world.session(&stack.sts(1)).await,
    ];
    let path = world.path(&format!("policy-sets/{}/activate", world.policy_set_id));
    let bodies: Vec<Value> = (0..12)
        .map(|n| json!({"version_id": versions[n % 3].1}))
        .collect();
    let answers = join_all(bodies.iter().map(|body| admin.post(&path, body))).await;
    assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
    let epoch = |answer: &&Answer| answer.epoch().parse::<i64>().expect("an epoch");
    let last = answers.iter().max_by_key(epoch).expect("answers");
    let set = world.path(&format!("policy-sets/{}", world.policy_set_id));
    let active = admin.get(&set).await;
    assert_eq!(active.member("active_version_id"), last.member("version_id"));

    for (replica, session) in sessions.iter().enumerate() {
        for (scope, version) in &versions {
            let request = format!("agreed-{replica}-{scope}");
            let sts = stack
                .sts(replica)
                .with("Caracal-Min-Epoch", &last.epoch())
                .with("X-Request-Id", &request);
            let minted = world.mandate(&sts, session, scope).await;
            let wanted = if version == last.member("version_id") {
                200
            } else {
                403
            };
            assert_eq!(
                minted.status, wanted,
                "replica {replica} {scope}: {}",
                minted.text
            );
            let events = eventually("the record", PATIENCE, || async {
                let events = world.events(&request).await;
                (!events.is_empty()).then_some(events)
            })
            .await;
            assert_eq!(deciding(&events[0]), last.member("version_id"));
        }
    }
}

/// How often the replicas of the STS fetched a compiled module.
fn fetched(stack: &Stack) -> u64 {
    let asked = stack.postgres().statements("caracal-sts");
    let modules = asked.iter().filter(|(text, _)| text.contains("policy_modules"));
    modules.map(|(_, times)| times).sum()
}

#[tokio::test]
async fn a_set_version_warms_what_it_names_at_every_replica_before_it_is_activated() {
    let stack = Stack::builder()
        .replicas(Service::Sts, 2)
        .replicas(Service::Gateway, 0)
        .start()
        .await;
    let world = World::new(&stack).await;
    let admin = stack.admin();
    let sessions = [
        world.session(&stack.sts(0)).await,
        world.session(&stack.sts(1)).await,
    ];
    for (replica, session) in sessions.iter().enumerate() {
        let sts = stack.sts(replica).with("Caracal-Min-Epoch", &world.epoch);
        assert_eq!(world.mandate(&sts, session, "orders:read").await.status, 200);
    }
    let before = fetched(&stack);
    let (_, version) = drafted(&admin, &world, "orders:delete").await;
    eventually("both replicas have the module", PATIENCE, || async {
        (fetched(&stack) == before + 2).then_some(())
    })
    .await;
    let path = world.path(&format!("policy-sets/{}/activate", world.policy_set_id));
    let activated = admin.post(&path, &json!({"version_id": version})).await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    for (replica, session) in sessions.iter().enumerate() {
        let sts = stack.sts(replica).with("Caracal-Min-Epoch", &activated.epoch());
        assert_eq!(world.mandate(&sts, session, "orders:delete").await.status, 200);
    }
    assert_eq!(fetched(&stack), before + 2, "nothing was left to fetch");
}
