//! A credential that was taken away, while it is remembered as good: it ends within the bound, whatever fails.

use crate::hands::second;
use crate::signing::{ASSERTION_TYPE, KeyPair, application, assertion_claims, issuer, set};
use caracal_testkit::{Answer, Client, Service, Stack, World, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(2);
/// What a busy machine takes on top.
const SLACK: Duration = Duration::from_secs(1);

/// Waits until it is refused; never longer than the bound.
async fn ends<F: Future<Output = Answer>>(what: &str, ask: impl Fn() -> F) {
    let since = Instant::now();
    loop {
        let answer = ask().await;
        if answer.status == 401 {
            assert_eq!(answer.member("error"), "invalid_client", "{}", answer.text);
            return;
        }
        assert!(matches!(answer.status, 200 | 503), "{what}: {}", answer.text);
        assert!(since.elapsed() < BOUND + SLACK, "{what}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_remembered_secret_that_was_rotated_or_archived_ends_within_the_bound_without_the_feed() {
    let mut stack = Stack::builder().replicas(Service::Sts, 2).start().await;
    let world = World::new(&stack).await;
    let helper = second(&stack, &world, "helper").await;
    // Both replicas have derived both, and remember them.
    for sts in [stack.sts(0), stack.sts(1)] {
        for _ in 0..2 {
            assert_eq!(world.token(&sts, &[]).await.status, 200);
            assert_eq!(helper.token(&sts, &[]).await.status, 200);
        }
    }
    // From here on nothing is told to anybody.
    stack.freeze(Service::Relay, 0);
    let path = world.path(&format!("applications/{}", world.application_id));
    let rotated = stack
        .admin()
        .post(&format!("{path}/rotate-secret"), &json!({}))
        .await;
    assert!(rotated.status < 300, "{}", rotated.text);
    let path = world.path(&format!("applications/{}", helper.id));
    assert_eq!(stack.admin().delete(&path).await.status, 204);
    let (one, other) = (stack.sts(0), stack.sts(1));
    tokio::join!(
        ends("rotated, at one", || world.token(&one, &[])),
        ends("rotated, at the other", || world.token(&other, &[])),
        ends("archived, at one", || helper.token(&one, &[])),
        ends("archived, at the other", || helper.token(&other, &[])),
    );
    let fresh = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", rotated.member("client_secret")),
    ];
    for sts in [&one, &other] {
        let answer = sts.form("/oauth/2/token", &fresh).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    stack.thaw(Service::Relay, 0);
}

async fn present(sts: &Client, assertion: &str) -> Answer {
    let form = [
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    sts.form("/oauth/2/token", &form).await
}

fn reason(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.member("reason"))
}

#[tokio::test]
async fn an_assertion_ends_by_the_clock_of_the_process_and_counts_once_however_that_is_set() {
    let mut stack = Stack::start().await;
    let key = KeyPair::new("ES256", "one");
    let world = World::new(&stack).await;
    let credential = json!({"credential_type": "public-key", "jwks": set(&[&key])});
    let id = application(&stack, &world, &credential).await;
    let issuer = issuer(&stack, &world).await;
    // Good for a minute, and for the leeway of another.
    let used = key.sign(&assertion_claims(&id, &issuer));
    let [in_time, late, early] = [(); 3].map(|()| key.sign(&assertion_claims(&id, &issuer)));
    assert_eq!(present(&stack.sts(0), &used).await.status, 200);
    let replayed = (401, "client_assertion_replayed");
    let expired = (401, "client_assertion_expired");

    stack
        .restart_later(Service::Sts, 0, Duration::from_secs(100))
        .await;
    let again = present(&stack.sts(0), &used).await;
    assert_eq!(reason(&again), replayed, "{}", again.text);
    let within = present(&stack.sts(0), &in_time).await;
    assert_eq!(within.status, 200, "within the leeway: {}", within.text);

    stack
        .restart_later(Service::Sts, 0, Duration::from_secs(121))
        .await;
    for assertion in [&used, &late] {
        let after = present(&stack.sts(0), assertion).await;
        assert_eq!(reason(&after), expired, "{}", after.text);
    }

    // Set back, it would hold again: what was used is remembered, what was not is as good as new.
    stack.process(Service::Sts, 0).set("CLOCK_OFFSET_MS", "-50000");
    stack.restart(Service::Sts, 0).await;
    for assertion in [&used, &in_time] {
        let again = present(&stack.sts(0), assertion).await;
        assert_eq!(reason(&again), replayed, "{}", again.text);
    }
    eventually(
        "an STS whose clock is behind",
        Duration::from_secs(10),
        || async { (present(&stack.sts(0), &early).await.status == 200).then_some(()) },
    )
    .await;
    let again = present(&stack.sts(0), &early).await;
    assert_eq!(reason(&again), replayed, "{}", again.text);
}
