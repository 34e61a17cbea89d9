//! A database that falls silent without going away, as a suspended machine does: nobody waits long for it, and nothing is
//! half done.

use super::{Zone, alone};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

/// Longer than anybody may be kept waiting, and what a busy machine takes on top.
const PATIENCE: Duration = Duration::from_secs(4);

fn signal(name: &str, backends: &[i32]) {
    let backends = backends.iter().map(ToString::to_string);
    let sent = Command::new("kill").arg(name).args(backends).status();
    assert!(sent.expect("kill").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fell_silent_a_moment_ago_keeps_nobody_waiting() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Silent").await;
    let watcher = stack.database().connect().await;
    let backends = "SELECT pid FROM pg_stat_activity \
                    WHERE application_name = 'caracal-api' AND datname = current_database()";
    let rows = watcher.query(backends, &[]).await.expect("the backends");
    let backends: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert!(!backends.is_empty());
    // Each connection has just answered, so none is asked again before it is used.
    let listed = zone.admin.get(&zone.at("resources")).await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    signal("-STOP", &backends);
    let written = zone
        .admin
        .post(&zone.at("policy-sets"), &json!({"name": "unheard"}))
        .await;
    let read = zone.admin.get(&zone.at("policy-sets")).await;
    signal("-CONT", &backends);
    for answer in [&written, &read] {
        assert!(answer.took < PATIENCE, "{:?}", answer.took);
    }
    assert_eq!(
        (written.status, written.member("error")),
        (503, "temporarily_unavailable"),
        "{}",
        written.text
    );
    let after = zone.admin.get(&zone.at("policy-sets")).await;
    assert_eq!(after.body, json!([]), "nothing was begun");
}
