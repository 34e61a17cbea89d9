//! Calls that flow while something changes.

use crate::caracal::{Agent, send};
use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often each caller calls.
const PACE: Duration = Duration::from_millis(25);

/// One call and how it ended.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// What was called: `read by session`, `write by mandate`, …
    pub(crate) kind: &'static str,
    /// When its answer was there.
    pub(crate) ended: Instant,
    /// `200`, `403 access_denied`, or what went wrong.
    pub(crate) outcome: String,
}

/// Callers that go on until they are told to stop.
#[derive(Debug)]
pub(crate) struct Flow {
    callers: JoinSet<Vec<Call>>,
    stop: Arc<AtomicBool>,
}

impl Flow {
    /// Starts reading and writing, each by session token and by mandate.
    pub(crate) fn start(agent: &Agent, session: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for kind in [
            "read by session",
            "write by session",
            "read by mandate",
            "write by mandate",
        ] {
            let (agent, session, stop) = (agent.clone(), session.to_owned(), Arc::clone(&stop));
            callers.spawn(async move {
                let mut calls = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let outcome = call(&agent, &session, kind)
                        .await
                        .unwrap_or_else(|error| format!("{error:#}"));
                    calls.push(Call {
                        kind,
                        ended: Instant::now(),
                        outcome,
                    });
                    tokio::time::sleep(PACE).await;
                }
                calls
            });
        }
        Self { callers, stop }
    }

    /// Stops them and answers every call they made.
    pub(crate) async fn stop(self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

/// How many calls ended how, by kind.
pub(crate) fn tally(calls: &[Call]) -> BTreeMap<(&'static str, String), usize> {
    let mut tally = BTreeMap::new();
    for call in calls {
        *tally.entry((call.kind, call.outcome.clone())).or_default() += 1;
    }
    tally
}

async fn call(agent: &Agent, session: &str, kind: &str) -> Result<String> {
    let (method, scope) = if kind.starts_with("read") {
        (Method::GET, "orders:read")
    } else {
        (Method::POST, "orders:write")
    };
    let mandate;
    let (token, named) = if kind.ends_with("by session") {
        (session, Some(scope))
    } else {
        let minted = agent.mandate(session, scope, "").await?;
        if minted.status != 200 {
            return Ok(format!("{} {}", minted.status, minted.member("error")));
        }
        mandate = minted.member("access_token").to_owned();
        (mandate.as_str(), None)
    };
    let request = agent.request(method.clone(), "/orders", token, named);
    let request = if method == Method::POST {
        request.json(&json!({"item": "lamp", "quantity": 1}))
    } else {
        request
    };
    let answer = send(request).await?;
    Ok(match answer.status {
        200 | 201 => "passed".to_owned(),
        status => format!("{status} {}", answer.member("error")),
    })
}
