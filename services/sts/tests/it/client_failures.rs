//! The sixty-first failure within a minute (contract §2, "Client authentication").

use caracal_testkit::{Answer, Client, Stack, World};
use std::time::{Duration, Instant};

const A_MINUTE: u64 = 60;

async fn guess(sts: &Client, world: &World) -> Answer {
    let wrong = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", "guess"),
    ];
    sts.form("/oauth/2/token", &wrong).await
}

/// So many guesses, each of which is just wrong.
async fn fail(sts: &Client, world: &World, times: usize) {
    for n in 0..times {
        let answer = guess(sts, world).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (401, "invalid_client"),
            "{n}: {}",
            answer.text
        );
    }
}

/// How long it says to wait.
fn waits(answer: &Answer) -> u64 {
    let got = (answer.status, answer.member("error"), answer.member("reason"));
    assert_eq!(got, (429, "slow_down", "client_throttled"), "{}", answer.text);
    answer.header("Retry-After").parse().expect("seconds")
}

#[tokio::test]
async fn the_sixty_first_failure_in_a_minute_waits_until_the_first_is_a_minute_old() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let began = Instant::now();
    fail(&sts, &world, 30).await;
    let first_half = Instant::now();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let second = Instant::now();
    fail(&sts, &world, 30).await;
    let (asked, sixty_first) = (began.elapsed(), guess(&sts, &world).await);
    assert!(
        began.elapsed().as_secs() < A_MINUTE,
        "this machine is too slow for the test"
    );
    let wait = waits(&sixty_first);
    let left = A_MINUTE - asked.as_secs();
    assert!(
        (left.saturating_sub(2)..=left + 1).contains(&wait),
        "{wait} after {asked:?}"
    );
    waits(&world.token(&sts, &[]).await);
    assert_eq!(other.token(&sts, &[]).await.status, 200, "another application");

    // The window slides: what began it leaves it, and what came later still counts.
    let first_half_gone = first_half + Duration::from_millis(A_MINUTE * 1000 + 500);
    tokio::time::sleep_until(first_half_gone.into()).await;
    fail(&sts, &world, 30).await;
    let still = second + Duration::from_secs(A_MINUTE);
    assert!(Instant::now() < still, "this machine is too slow for the test");
    let wait = waits(&guess(&sts, &world).await);
    assert!(wait <= 13, "until the second half leaves: {wait}");
}
