//! Reading the ledger as an administrator does.

use crate::scene::Scene;
use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);

/// One event, in the words of the story.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What it is about.
    pub(crate) event_type: String,
    /// `allow`, `deny` or `partial`.
    pub(crate) decision: String,
    /// Why, if it was refused.
    pub(crate) reason: String,
    /// The policies that decided.
    pub(crate) policies: String,
    /// What they explained.
    pub(crate) diagnostics: String,
}

/// The events of a request once there are `count` of them: the ledger follows within moments.
pub(crate) async fn by_request(scene: &Scene, request_id: &str, count: usize) -> Result<Vec<Entry>> {
    let path = scene.path(&format!("audit/by-request/{request_id}"));
    let started = Instant::now();
    loop {
        let answer = scene.admin.call(Method::GET, &path, None).await?;
        let events: Vec<Entry> = answer.body.as_array().into_iter().flatten().map(entry).collect();
        if answer.status == 200 && events.len() >= count {
            return Ok(events);
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "the ledger has {} events of {request_id} instead of {count}: {}",
                events.len(),
                answer.body
            );
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn entry(event: &Value) -> Entry {
    let text = |name: &str| {
        event
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let json = |name: &str| event.get(name).map(ToString::to_string).unwrap_or_default();
    Entry {
        event_type: text("event_type"),
        decision: text("decision"),
        reason: text("reason"),
        policies: json("determining_policies_json"),
        diagnostics: json("diagnostics_json"),
    }
}
