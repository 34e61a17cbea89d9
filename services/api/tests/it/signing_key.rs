use super::given::{all_invalid, deeds, rows, sql, tally, viewer};
use super::{Zone, alone};
use caracal_testkit::eventually;
use caracal_testkit::stack::Stack;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const GRACEFUL: &str = "graceful";
const EMERGENCY: &str = "emergency";

async fn rotate(zone: &Zone, mode: &str) -> caracal_testkit::Answer {
    zone.post("signing-keys/rotate", &json!({"mode": mode})).await
}

fn kids(keys: &Value, status: &str) -> Vec<String> {
    let keys = keys.as_array().expect("a list").iter();
    keys.filter(|key| key["status"] == status)
        .filter_map(|key| key["kid"].as_str().map(str::to_owned))
        .collect()
}

async fn let_the_next_key_age(stack: &Stack, seconds: u32) {
    let aged = format!(
        "UPDATE signing_keys SET created_at = created_at - interval '{seconds} seconds' WHERE status = 'next'"
    );
    sql(stack, &aged).await;
}

fn time(key: &Value, name: &str) -> DateTime<Utc> {
    key[name].as_str().expect("a text").parse().expect("a time")
}

/// Of each key it is known when it leaves, if it signs no more, and only then.
fn check_ends(keys: &Value) {
    for key in keys.as_array().expect("a list") {
        let over = key["status"] == "retiring" || key["status"] == "retired";
        assert_eq!(key.get("retires_at").map(Value::is_string), Some(over), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_rotation_signs_with_a_key_everyone_has() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Graceful").await;
    let before = zone.get("signing-keys").await.expect(200);
    let (active, next) = (kids(&before, "active"), kids(&before, "next"));
    assert_eq!((active.len(), next.len()), (1, 1), "{before}");
    check_ends(&before);
    for key in before.as_array().expect("a list") {
        let age = Utc::now() - time(key, "created_at");
        assert!(age.abs() < TimeDelta::minutes(1), "{key}");
    }
    // A minute more than a verifier may use what it has (300 s), and a second.
    let_the_next_key_age(&stack, 361).await;
    let rotated = rotate(&zone, GRACEFUL).await;
    assert!(!rotated.epoch().is_empty());
    let after = rotated.expect(200);
    assert_eq!(
        (kids(&after, "active"), kids(&after, "retiring")),
        (next, active.clone())
    );
    assert_eq!(kids(&after, "next").len(), 1, "always a new next");
    check_ends(&after);
    let mut leaving = after.as_array().expect("a list").iter();
    let leaving = leaving
        .find(|key| key["status"] == "retiring")
        .expect("the old key");
    assert!(
        time(leaving, "retires_at") > Utc::now() + TimeDelta::hours(1),
        "not before its last session token has expired: {leaving}"
    );
    assert_eq!(zone.get("signing-keys").await.expect(200), after);
    assert!(!after.to_string().contains("private"));
    assert_eq!(rows(&stack, "anchors", &zone, "kind = 'kid'").await, 0);
    assert_eq!(
        rows(&stack, "outbox", &zone, "subject = 'caracal.keys.invalidate'").await,
        1
    );
    assert_eq!(deeds(&stack, &zone, "signing_key.rotate").await, 1);

    let over = "UPDATE signing_keys SET retires_at = now() - interval '1 second' WHERE status = 'retiring'";
    sql(&stack, over).await;
    let retired = eventually("the old key leaves", Duration::from_secs(20), || async {
        let keys = zone.get("signing-keys").await.body;
        (kids(&keys, "retired") == active).then_some(keys)
    })
    .await;
    assert_eq!(kids(&retired, "retiring").len(), 0);
    check_ends(&retired);
    assert_eq!(deeds(&stack, &zone, "signing_key.retire").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_rotation_waits_for_the_caches_and_nobody_starts_another_meanwhile() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Waits").await;
    let_the_next_key_age(&stack, 340).await;
    let before = zone.get("signing-keys").await.expect(200);
    let waiting = rotate(&zone, GRACEFUL).await.expect(202);
    assert_eq!(
        kids(&waiting, "active"),
        kids(&before, "active"),
        "nothing changed yet"
    );
    let next = waiting
        .as_array()
        .expect("a list")
        .iter()
        .find(|key| key["status"] == "next");
    let next = next.expect("a next key");
    assert_eq!(
        time(next, "activates_at") - time(next, "created_at"),
        TimeDelta::seconds(360),
        "{next}"
    );
    let again = rotate(&zone, GRACEFUL).await;
    assert_eq!(
        (again.status, again.member("error")),
        (409, "rotation_in_progress")
    );

    sql(
        &stack,
        "UPDATE signing_keys SET activates_at = now() - interval '1 second' WHERE status = 'next'",
    )
    .await;
    let after = eventually("the next key signs", Duration::from_secs(20), || async {
        let keys = zone.get("signing-keys").await.body;
        (kids(&keys, "active") == kids(&before, "next")).then_some(keys)
    })
    .await;
    assert_eq!(kids(&after, "retiring"), kids(&before, "active"));
    assert_eq!(kids(&after, "next").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_rotation_signs_at_once_and_names_the_old_keys() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Emergency").await;
    let_the_next_key_age(&stack, 361).await;
    let before = rotate(&zone, GRACEFUL).await.expect(200);
    assert_eq!(rotate(&zone, GRACEFUL).await.status, 202);
    let after = rotate(&zone, EMERGENCY).await.expect(200);
    assert_eq!(
        kids(&after, "active"),
        kids(&before, "next"),
        "a waiting rotation is no obstacle"
    );
    assert_eq!(
        (kids(&after, "next").len(), kids(&after, "retiring").len()),
        (1, 0)
    );
    check_ends(&after);
    let mut dropped = [kids(&before, "active"), kids(&before, "retiring")].concat();
    let mut retired = kids(&after, "retired");
    dropped.sort_unstable();
    retired.sort_unstable();
    assert_eq!(retired, dropped);
    for kid in &retired {
        let anchor = format!("kind = 'kid' AND value = '{kid}'");
        assert_eq!(rows(&stack, "anchors", &zone, &anchor).await, 1, "{kid}");
    }
    assert_eq!(deeds(&stack, &zone, "signing_key.rotate").await, 3);
    let graceful = rotate(&zone, GRACEFUL).await;
    assert_eq!(
        graceful.status, 202,
        "the new next key has no date yet: {}",
        graceful.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_rotations_leave_one_active_and_one_next_key() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Race").await;
    let answers = join_all((0..50).map(|_| rotate(&zone, GRACEFUL))).await;
    assert_eq!(
        (
            tally(&answers, 202, ""),
            answers
                .iter()
                .filter(|a| a.member("error") == "rotation_in_progress")
                .count()
        ),
        (1, 49)
    );
    let answers = join_all((0..20).map(|_| rotate(&zone, EMERGENCY))).await;
    assert_eq!(tally(&answers, 200, ""), 20);
    let keys = zone.get("signing-keys").await.expect(200);
    assert_eq!(
        (
            kids(&keys, "active").len(),
            kids(&keys, "next").len(),
            kids(&keys, "retired").len()
        ),
        (1, 1, 20)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_rotate_and_how() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Bad").await;
    all_invalid(
        &zone,
        "signing-keys/rotate",
        &[
            json!({}),
            json!({"mode": "soon"}),
            json!({"mode": GRACEFUL, "x": 1}),
        ],
    )
    .await;
    let viewer = viewer(&stack, &zone).await;
    let refused = viewer
        .post(&zone.at("signing-keys/rotate"), &json!({"mode": EMERGENCY}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_read_only")
    );
    assert_eq!(viewer.get(&zone.at("signing-keys")).await.status, 200);
}
