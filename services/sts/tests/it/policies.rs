//! The policy engine as callers feel it: its limits, each with its own reason; who pays for a policy that runs wild; and
//! how the policies of a set compose (contract §2; architecture, "Policy").

use caracal_testkit::world::SCHEMA_VERSION;
use caracal_testkit::{Answer, Service, Stack, World, eventually};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A way to break a limit for each scope. What never ends takes no memory: a search that fails late, half a million times.
const BROKEN: &str = r#"package caracal.authz
import rego.v1

asked(scope) if input.context.requested_scopes == [scope]

a := "xxxxxxxxxxxxxxxx"
b := concat("", [a, a, a, a, a, a, a, a])
c := concat("", [b, b, b, b, b, b, b, b])
d := concat("", [c, c, c, c, c, c, c, c])
e := concat("", [d, d, d, d, d, d, d, d])
f := concat("", [e, e, e, e, e, e, e, e])
g := concat("", [f, f, f, f, f, f, f, f])

result := {"decision": "allow"} if {
  asked("orders:read")
  contains(f, concat("", [e, "y"]))
}

result := {"decision": "allow", "diagnostics": [count(concat("", [g, g, g, g, g, g, g, g]))]} if asked("orders:write")

result := {"decision": "allow"} if {
  asked("orders:delete")
  semver.compare("nonsense", "1.0.0") == 0
}

result := {"decision": "allow"} if {
  count(input.context.requested_scopes) == 2
  crypto.sha256(f) != ""
}
"#;

fn refused(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.member("error"), answer.member("reason"))
}

#[tokio::test]
async fn each_limit_refuses_with_its_own_reason_which_the_ledger_keeps() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let epoch = world.adopt(BROKEN).await;
    let sts = |id: &str| {
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
        sts.with("X-Request-Id", id)
    };
    let session = world.session(&sts("session")).await;
    for (id, scope, reason) in [
        ("endless", "orders:read", "policy_deadline"),
        ("hungry", "orders:write", "policy_memory"),
        ("aborting", "orders:delete", "policy_error"),
        ("handing-over", "orders:read orders:write", "policy_builtin_input"),
    ] {
        let answer = world.mandate(&sts(id), &session, scope).await;
        assert_eq!(
            refused(&answer),
            (503, "temporarily_unavailable", reason),
            "{}",
            answer.text
        );
        let event = eventually("the recorded refusal", Duration::from_secs(10), || async {
            world.events(id).await.into_iter().next()
        })
        .await;
        assert_eq!(
            (&event["decision"], &event["reason"]),
            (&json!("deny"), &json!(reason)),
            "{event}"
        );
    }
}

/// A policy's 50 ms go by the clock: a machine that is busy with other tests may not give its thread a turn in them.
fn is_preempted(answer: &Answer) -> bool {
    refused(answer) == (503, "temporarily_unavailable", "policy_deadline")
}

/// Asks for what is refused with this status, 32 at a time, until told otherwise; how often it was refused why.
async fn flood(
    stack: &Stack,
    (world, session): (&World, &str),
    (scope, status): (&str, u16),
    until: Instant,
) -> BTreeMap<String, usize> {
    let mut said = BTreeMap::new();
    let endless = std::iter::from_fn(|| (Instant::now() < until).then_some(()));
    let asking = futures::stream::iter(endless).map(|()| async {
        let answer = world.mandate(&stack.sts(0), session, scope).await;
        if answer.took < Duration::from_millis(20) {
            // A flood, but one that leaves the processors to what is measured beside it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answer
    });
    let mut answers = std::pin::pin!(asking.buffer_unordered(32));
    while let Some(answer) = answers.next().await {
        assert!(
            answer.status == status || is_preempted(&answer),
            "{}",
            answer.text
        );
        *said.entry(answer.member("reason").to_owned()).or_default() += 1;
    }
    said
}

/// Mints one after the other; how many there were.
async fn mints(stack: &Stack, world: &World, session: &str, until: Instant) -> usize {
    let mut minted = 0;
    while Instant::now() < until {
        let answer = world.mandate(&stack.sts(0), session, "orders:read").await;
        assert!(answer.status == 200 || is_preempted(&answer), "{}", answer.text);
        minted += usize::from(answer.status == 200);
    }
    minted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_whose_policy_runs_wild_has_its_share_and_its_neighbour_mints_on() {
    let stack = Stack::start().await;
    let (mut hostile, neighbour) = (World::new(&stack).await, World::new(&stack).await);
    for world in [&hostile, &neighbour] {
        let rate = json!({"mint_rate_per_minute": 1_000_000});
        let path = format!("/v1/zones/{}", world.zone_id);
        assert_eq!(stack.admin().patch(&path, &rate).await.status, 200);
    }
    let theirs = hostile.session(&stack.sts(0)).await;
    let epoch = hostile.adopt(BROKEN).await;
    let first = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let first = hostile.mandate(&first, &theirs, "orders:read").await;
    assert_eq!(first.member("reason"), "policy_deadline", "{}", first.text);
    let session = neighbour.session(&stack.sts(0)).await;
    mints(
        &stack,
        &neighbour,
        &session,
        Instant::now() + Duration::from_millis(300),
    )
    .await;

    let lasts = Duration::from_secs(3);
    let alone = mints(&stack, &neighbour, &session, Instant::now() + lasts).await;
    let until = Instant::now() + lasts;
    let (said, beside) = tokio::join!(
        flood(&stack, (&hostile, &theirs), ("orders:read", 503), until),
        mints(&stack, &neighbour, &session, until)
    );
    println!("the neighbour minted {alone} times alone and {beside} times beside {said:?}");
    let reasons: Vec<&str> = said.keys().map(String::as_str).collect();
    assert_eq!(reasons, ["policy_busy", "policy_deadline"], "{said:?}");
    // Half of the processors is what runs wild, and the flood itself takes some; a mint that waited behind each of the 16
    // that may run wild at once would come out at a few in all.
    assert!(beside * 16 > alone, "{beside} beside it, {alone} alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allowed_goes_on_beside_a_flood_of_refusals() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let rate = json!({"mint_rate_per_minute": 1_000_000});
    let path = format!("/v1/zones/{}", world.zone_id);
    assert_eq!(stack.admin().patch(&path, &rate).await.status, 200);
    let session = world.session(&stack.sts(0)).await;
    let until = Instant::now() + Duration::from_secs(3);
    let (said, minted) = tokio::join!(
        flood(&stack, (&world, &session), ("orders:delete", 403), until),
        mints(&stack, &world, &session, until)
    );
    println!("{minted} mandates beside {said:?}");
    assert!(minted > 50, "{minted} beside {said:?}");
}

const GUARD: &str = r#"package caracal.authz
import rego.v1
result := {"decision": "deny", "determining_policies": ["no-deletes"]} if "orders:delete" in input.context.requested_scopes
"#;
const PERMIT: &str = r#"package caracal.authz
import rego.v1
result := {"decision": "allow", "determining_policies": ["readers"]} if {
  some scope in ["orders:read", "orders:delete"]
  scope in input.context.requested_scopes
}
"#;
const SILENT: &str = r#"package caracal.authz
import rego.v1
result := {"decision": "allow", "determining_policies": ["nobody"]} if input.principal.name == "nobody at all"
"#;
/// Denies with neither a determining policy nor a diagnostic: no opinion.
const SHRUG: &str = r#"package caracal.authz
result := {"decision": "deny"}
"#;

/// Activates a set of these policies together; the zone's new epoch.
async fn compose(stack: &Stack, world: &World, policies: &[(&str, &str)]) -> String {
    let admin = stack.admin();
    let mut manifest = Vec::new();
    for (name, content) in policies {
        let made = admin
            .post(
                &world.path("policies"),
                &json!({"name": name, "content": content}),
            )
            .await;
        manifest.push(json!({"policy_version_id": made.expect(201)["version_id"]}));
    }
    let set = world.path(&format!("policy-sets/{}", world.policy_set_id));
    let body = json!({"manifest": manifest, "schema_version": SCHEMA_VERSION});
    let version = admin.post(&format!("{set}/versions"), &body).await;
    let body = json!({"version_id": version.expect(201)["id"]});
    let activated = admin.post(&format!("{set}/activate"), &body).await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    let epoch = activated.epoch();
    // On a busy machine compiling may take longer than the second that a caller waits.
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    eventually("the policies", Duration::from_secs(10), || async {
        (world.token(&sts, &[]).await.status == 200).then_some(())
    })
    .await;
    epoch
}

#[tokio::test]
async fn guards_permissions_and_policies_without_an_opinion_compose() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let all = [
        ("guard", GUARD),
        ("permit", PERMIT),
        ("silent", SILENT),
        ("shrug", SHRUG),
    ];
    let epoch = compose(&stack, &world, &all).await;
    let sts = |id: &str| {
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
        sts.with("X-Request-Id", id)
    };
    let session = world.session(&sts("session")).await;
    for (id, scope, status, determining) in [
        ("allowed", "orders:read", 200, json!(["readers"])),
        ("guarded", "orders:delete", 403, json!(["no-deletes"])),
        ("nobodys", "orders:write", 403, json!([])),
    ] {
        let answer = world.mandate(&sts(id), &session, scope).await;
        assert_eq!(answer.status, status, "{scope}: {}", answer.text);
        let event = eventually("the decision", Duration::from_secs(10), || async {
            world.events(id).await.into_iter().next()
        })
        .await;
        assert_eq!(event["determining_policies_json"], determining, "{event}");
        let said: Vec<&Value> = event["metadata_json"]["policies"]
            .as_array()
            .expect("each policy's own answer")
            .iter()
            .map(|policy| &policy["decision"])
            .collect();
        assert_eq!((said.len(), said[2]), (4, &Value::Null), "{event}");
    }
    // One that fails refuses, whatever the others say.
    let broken = [("permit too", PERMIT), ("broken", BROKEN)];
    let epoch = compose(&stack, &world, &broken).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let answer = world.mandate(&sts, &session, "orders:delete").await;
    assert_eq!(answer.member("reason"), "policy_error", "{}", answer.text);
}

/// The files of compiled code, each with its inode: one that was compiled again is another file.
fn compiled(dir: &Path) -> BTreeMap<String, u64> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .filter_map(|file| Some((file.file_name().into_string().ok()?, file.metadata().ok()?.ino())))
        .filter(|(name, _)| Path::new(name).extension().is_some_and(|kind| kind == "code"))
        .collect()
}

#[tokio::test]
async fn a_policy_is_compiled_when_a_set_names_it_and_not_again_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("text");
    let mut stack = Stack::builder()
        .env(Service::Sts, "POLICY_CACHE_DIR", path)
        .start()
        .await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    assert_eq!(
        world.mandate(&stack.sts(0), &session, "orders:read").await.status,
        200
    );
    let before = compiled(dir.path());

    let admin = stack.admin();
    let versions = world.path(&format!("policies/{}/versions", world.policy_id));
    let version = admin.post(&versions, &json!({"content": PERMIT})).await;
    let body = json!({"manifest": [{"policy_version_id": version.expect(201)["id"]}], "schema_version": SCHEMA_VERSION});
    let set = world.path(&format!("policy-sets/{}", world.policy_set_id));
    let made = admin.post(&format!("{set}/versions"), &body).await;
    let warmed = eventually("a warm module", Duration::from_secs(10), || async {
        let now = compiled(dir.path());
        (now.len() == before.len() + 1).then_some(now)
    })
    .await;
    let body = json!({"version_id": made.expect(201)["id"]});
    let activated = admin.post(&format!("{set}/activate"), &body).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &activated.epoch());
    let minted = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    assert_eq!(compiled(dir.path()), warmed, "activating compiles nothing");

    stack.restart(Service::Sts, 0).await;
    let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    assert_eq!(compiled(dir.path()), warmed, "nor does a restart");
}

#[tokio::test]
async fn more_policies_than_the_memory_holds_take_turns_and_all_are_answered() {
    let stack = Stack::builder()
        .env(Service::Sts, "POLICY_MEMORY_MB", "1")
        .start()
        .await;
    let mut zones = Vec::new();
    for number in 0..4 {
        let mut world = World::new(&stack).await;
        let own = format!("{PERMIT}# the policy of zone {number}\n");
        let epoch = world
            .adopt(&own.replace("readers", &format!("readers-{number}")))
            .await;
        let session = world.session(&stack.sts(0)).await;
        zones.push((world, session, epoch));
    }
    for round in 0..3 {
        for (world, session, epoch) in &zones {
            let sts = stack.sts(0).with("Caracal-Min-Epoch", epoch);
            let minted = world.mandate(&sts, session, "orders:read").await;
            assert_eq!(minted.status, 200, "round {round}: {}", minted.text);
            let denied = world.mandate(&sts, session, "orders:write").await;
            assert_eq!(denied.member("reason"), "policy_deny", "{}", denied.text);
        }
    }
}

#[tokio::test]
async fn what_an_older_compiler_made_is_compiled_again_and_then_used() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let database = stack.database().connect().await;
    // As if an OPA of long ago had made something that no longer runs, and the control plane was upgraded since.
    stack.kill9(Service::Api, 0);
    let old = format!(
        "INSERT INTO policy_modules (name, wasm, wasm_sha256, opa_version)
           VALUES (repeat('f', 64), '\\x00', encode(sha256('\\x00'), 'hex'), '0.60.0');
         ALTER TABLE policy_versions DISABLE TRIGGER policy_versions_immutable;
         UPDATE policy_versions SET module = repeat('f', 64) WHERE zone_id = '{}'",
        world.zone_id
    );
    database.batch_execute(&old).await.expect("written");
    stack.restart(Service::Sts, 0).await;
    let broken = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(broken.member("reason"), "policy_error", "{}", broken.text);

    stack.restart(Service::Api, 0).await;
    let newer = "SELECT count(*) FROM policy_module_successors AS newer JOIN policy_modules AS module \
        ON module.name = newer.successor WHERE newer.module = repeat('f', 64) AND module.opa_version <> '0.60.0'";
    eventually("a successor", Duration::from_secs(20), || async {
        (stack.database().count(newer).await == 1).then_some(())
    })
    .await;
    stack.restart(Service::Sts, 0).await;
    let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
}
