//! A zone that cannot be loaded: within the bound what is there serves, past it the zone is refused and no other, nobody
//! waits long, and it comes back by itself.

use caracal_testkit::world::allowing;
use caracal_testkit::{Answer, Stack, World, eventually};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(2);
/// What a caller waits at most, and what a busy machine takes on top.
const PATIENCE: Duration = Duration::from_millis(2_500);

fn is_stale(answer: &Answer) {
    let got = (answer.status, answer.member("error"), answer.member("reason"));
    assert_eq!(
        got,
        (503, "temporarily_unavailable", "stale_state"),
        "{}",
        answer.text
    );
    assert!(answer.took < PATIENCE, "{:?}", answer.took);
}

#[tokio::test]
async fn a_reload_that_is_stuck_past_the_bound_refuses_its_zone_and_no_other() {
    let stack = Stack::start().await;
    let (mut world, other) = (World::new(&stack).await, World::new(&stack).await);
    let session = world.session(&stack.sts(0)).await;
    let theirs = other.session(&stack.sts(0)).await;
    let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let minted = other.mandate(&stack.sts(0), &theirs, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);

    // A zone's epoch can be read, the rest of it cannot.
    let holder = stack.database().connect().await;
    let lock = "BEGIN; LOCK TABLE subject_issuers IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect("the lock");
    let epoch = world.adopt(&allowing(&["orders:write"])).await;
    let answered = Instant::now();
    let asked = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let named = world.mandate(&asked, &session, "orders:read").await;
    is_stale(&named);
    assert!(
        named.took > Duration::from_millis(700),
        "it waits for a second: {:?}",
        named.took
    );

    while answered.elapsed() < BOUND + Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..3 {
        is_stale(&world.mandate(&stack.sts(0), &session, "orders:read").await);
        let minted = other.mandate(&stack.sts(0), &theirs, "orders:read").await;
        assert_eq!(minted.status, 200, "{}", minted.text);
        assert!(minted.took < Duration::from_secs(1), "{:?}", minted.took);
    }
    let waiting = futures::future::join_all(
        (0..40).map(|_| async { world.mandate(&stack.sts(0), &session, "orders:read").await }),
    );
    for answer in waiting.await {
        is_stale(&answer);
    }

    holder.batch_execute("ROLLBACK").await.expect("released");
    eventually("the new policy", Duration::from_secs(5), || async {
        let answer = world.mandate(&stack.sts(0), &session, "orders:read").await;
        (answer.member("reason") == "policy_deny").then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_zone_that_cannot_be_opened_keeps_no_other_from_following() {
    let stack = Stack::start().await;
    let (broken, mut world) = (World::new(&stack).await, World::new(&stack).await);
    let theirs = broken.session(&stack.sts(0)).await;
    let session = world.session(&stack.sts(0)).await;
    let minted = broken.mandate(&stack.sts(0), &theirs, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let database = stack.database().connect().await;
    // Its keys no longer open, and the feed says nothing: only the slow poll sees that it changed.
    let spoil = format!(
        "UPDATE zone_deks SET sealed = substring(sealed FOR length(sealed) - 1) || '\\x00'::bytea WHERE zone_id = '{0}';
         UPDATE zones SET epoch = nextval('zone_epoch_seq') WHERE id = '{0}'",
        broken.zone_id
    );
    database.batch_execute(&spoil).await.expect("spoilt");
    eventually("a zone that is refused", Duration::from_secs(20), || async {
        let answer = broken.mandate(&stack.sts(0), &theirs, "orders:read").await;
        (answer.status >= 500).then_some(())
    })
    .await;
    // The same poll goes on to the others, as does the feed.
    world.adopt(&allowing(&["orders:write"])).await;
    eventually("the new policy", Duration::from_secs(3), || async {
        let answer = world.mandate(&stack.sts(0), &session, "orders:read").await;
        (answer.member("reason") == "policy_deny").then_some(())
    })
    .await;
    let quiet = format!(
        "UPDATE zones SET name = 'Renamed', epoch = nextval('zone_epoch_seq') WHERE id = '{}'",
        world.zone_id
    );
    database.batch_execute(&quiet).await.expect("changed unheard");
    let stored = format!("SELECT epoch FROM zones WHERE id = '{}'", world.zone_id);
    let epoch = stack.database().count(&stored).await;
    eventually("the poll to see it", Duration::from_secs(15), || async {
        let answer = world.mandate(&stack.sts(0), &session, "orders:write").await;
        (answer.header("Caracal-Zone-Epoch").parse::<i64>().ok()? >= epoch).then_some(())
    })
    .await;
}

/// A policy that takes its time to become machine code.
fn large(n: usize) -> String {
    let rules = (0..60).map(|rule| {
        format!(
            "matches contains {rule} if regex.match(`^r{n}-{rule}.*x$`, input.resource.identifier)\n\
             names contains sprintf(\"%s-%d\", [input.principal.name, {rule}]) if {rule} in matches\n"
        )
    });
    format!(
        "package caracal.authz\nimport rego.v1\n{}\
         result := {{\"decision\": \"allow\", \"evaluation_status\": \"complete\", \"determining_policies\": [\"{n}\"], \
         \"diagnostics\": []}} if count(names) == 0\n",
        rules.collect::<String>()
    )
}

#[tokio::test]
async fn who_needs_no_policy_waits_for_none_that_is_being_loaded() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let policies: Vec<String> = (0..16).map(large).collect();
    let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
    crate::hands::adopt_all(&stack, &world, &policies).await;
    // Up to the bound the policies of before decide, and beyond it those that are there by then; sessions go on.
    let loaded = eventually("the last policy", Duration::from_mins(1), || async {
        let opened = world.token(&stack.sts(0), &[]).await;
        assert_eq!(opened.status, 200, "{}", opened.text);
        let minted = world.mandate(&stack.sts(0), &session, "orders:delete").await;
        let said = (minted.status, minted.member("reason"));
        assert!(
            [(200, ""), (403, "policy_deny"), (503, "stale_state")].contains(&said),
            "{}",
            minted.text
        );
        (minted.status == 200).then_some(())
    });
    loaded.await;
}
