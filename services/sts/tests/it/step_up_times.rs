//! When a challenge ends, how long a poll waits for it and how long it rests, all by the clock of the process (contract
//! §2, "Step-up"). Minutes pass by starting the STS again with its clock ahead.

use crate::step_up::{Scene, reason};
use caracal_testkit::{Answer, Service, Stack};
use chrono::{DateTime, Utc};
use serde_json::json;
use std::time::Duration;

const FIVE_MINUTES: Duration = Duration::from_mins(5);
/// What it may take from an answer until the STS has started again.
const MEANWHILE: Duration = Duration::from_secs(8);
/// Twice as much before five minutes are over.
const BEFORE_FIVE_MINUTES: Duration = Duration::from_secs(5 * 60 - 16);

fn secret_of(held: &Answer) -> (&str, &str) {
    (held.member("challenge_id"), held.member("challenge_secret"))
}

/// How long a challenge lives, as far as its answer tells.
fn lifetime(held: &Answer) -> Duration {
    let ends: DateTime<Utc> = held.member("challenge_expires_at").parse().expect("a time");
    (ends - Utc::now()).to_std().expect("a time to come")
}

async fn poll(stack: &Stack, held: &Answer, wait: u32) -> Answer {
    let (id, _) = secret_of(held);
    stack.sts(0).get(&format!("/step-up/{id}?wait={wait}")).await
}

#[tokio::test]
async fn a_poll_waits_25_seconds_and_no_longer() {
    let stack = Stack::start().await;
    let held = Scene::asking(&stack, "mfa").await.hold().await;
    // Far more than a caller of this test waits for any answer.
    let polled = poll(&stack, &held, 3600).await;
    assert_eq!(polled.clone().expect(200)["satisfied"], json!(false));
    let seconds = polled.took.as_secs_f32();
    assert!((25.0..29.0).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_poll_ends_with_its_challenge() {
    let mut stack = Stack::start().await;
    let scene = Scene::asking(&stack, "mfa").await;
    let held = scene.hold().await;
    let left = lifetime(&held).saturating_sub(MEANWHILE);
    stack.restart_later(Service::Sts, 0, left).await;
    let polled = poll(&stack, &held, 25).await;
    assert_eq!(polled.clone().expect(200)["satisfied"], json!(false));
    // Half a second until it looks again, and what a busy machine takes.
    assert!(
        polled.took < MEANWHILE + Duration::from_secs(2),
        "{:?}",
        polled.took
    );
    let over = poll(&stack, &held, 25).await;
    assert!(over.took < Duration::from_secs(2), "{:?}", over.took);
}

#[tokio::test]
async fn a_challenge_ends_after_five_minutes_and_a_persons_after_thirty_by_the_clock_of_the_process() {
    let minute = Duration::from_mins(1);
    let mut stack = Stack::builder()
        .env(Service::Sts, "CLOCK_OFFSET_MS", "60000")
        .start()
        .await;
    let quick = Scene::asking(&stack, "mfa").await;
    let person = Scene::asking(&stack, "human_approval").await;
    let (first, second) = (quick.hold().await, person.hold().await);
    // The tests' clock is right, the process's a minute ahead.
    for (held, minutes) in [(&first, 6), (&second, 31)] {
        let least = minute * (minutes - 1) + Duration::from_secs(50);
        let lives = lifetime(held);
        assert!((least..=minute * minutes).contains(&lives), "{lives:?}");
    }
    for (scene, held) in [(&quick, &first), (&person, &second)] {
        assert!(scene.hands.satisfy(secret_of(held).0).await);
    }

    stack
        .restart_later(Service::Sts, 0, minute + BEFORE_FIVE_MINUTES)
        .await;
    // A moment before its end it is as good as ever, but for another request.
    let other = quick.retry(secret_of(&first), "orders:write").await;
    assert_eq!(reason(&other), (400, "challenge_mismatch"), "{}", other.text);

    stack.restart_later(Service::Sts, 0, minute + FIVE_MINUTES).await;
    let late = quick.retry(secret_of(&first), "orders:read").await;
    assert_eq!(reason(&late), (400, "challenge_expired"), "{}", late.text);
    let polled = poll(&stack, &first, 0).await.expect(200);
    assert_eq!(
        (&polled["satisfied"], &polled["consumed"]),
        (&json!(true), &json!(false))
    );
    let in_time = person.retry(secret_of(&second), "orders:read").await;
    assert_eq!(in_time.status, 200, "{}", in_time.text);
}

#[tokio::test]
async fn a_challenge_that_rests_is_as_good_as_before_after_five_minutes() {
    let mut stack = Stack::start().await;
    // One that outlives its rest.
    let scene = Scene::asking(&stack, "human_approval").await;
    let held = scene.hold().await;
    let (id, secret) = secret_of(&held);
    assert!(scene.hands.satisfy(id).await);
    for _ in 0..5 {
        let wrong = scene.retry((id, "guess"), "orders:read").await;
        assert_eq!(reason(&wrong), (400, "challenge_invalid"), "{}", wrong.text);
    }
    let wait = |answer: &Answer| {
        assert_eq!(reason(answer), (429, "step_up_cooldown"), "{}", answer.text);
        answer.header("Retry-After").parse::<u64>().expect("seconds")
    };
    let first = wait(&scene.retry((id, secret), "orders:read").await);
    assert!((290..=301).contains(&first), "{first}");

    stack.restart_later(Service::Sts, 0, BEFORE_FIVE_MINUTES).await;
    let still = wait(&scene.retry((id, secret), "orders:read").await);
    assert!((1..=17).contains(&still), "{still}");

    stack.restart_later(Service::Sts, 0, FIVE_MINUTES).await;
    let rested = scene.retry((id, "guess"), "orders:read").await;
    assert_eq!(
        reason(&rested),
        (400, "challenge_invalid"),
        "it counts anew: {}",
        rested.text
    );
    let met = scene.retry((id, secret), "orders:read").await;
    assert_eq!(met.status, 200, "{}", met.text);
}
