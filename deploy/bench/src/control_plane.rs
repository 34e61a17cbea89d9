//! The control plane: zones read and written over eight kept connections, and policies made one after the other.

use crate::Options;
use crate::http::request;
use crate::load::{Found, Target, closed, closed_with};
use crate::report::line;
use crate::scene::{Admin, Scene};
use crate::settings::Settings;
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

const CONNECTIONS: u32 = 8;
/// Policies made: each is checked and compiled by OPA.
const POLICIES: u32 = 20;

/// The name of the next zone.
type Name = Arc<dyn Fn() -> String + Send + Sync>;

/// Measures and prints. The zones written stay: `make down CLEAN=1` forgets them.
pub(crate) async fn measure(stack: &Settings, scene: &Scene, options: &Options) -> Result<()> {
    let target = Target {
        address: stack.api.clone(),
        pid: stack.pid("api")?,
    };
    let headers = format!("Authorization: Bearer {}\r\n", stack.admin_token);
    let list = request("GET", "/v1/zones", "application/json", &headers, "");
    closed(&target, CONNECTIONS, 1, list.clone()).await?;
    let read = closed(&target, CONNECTIONS, options.seconds, list.clone()).await?;
    line("GET /v1/zones, 8 connections", &read)?;

    let run = std::process::id();
    let number = AtomicU32::new(0);
    let named = format!("Load {run}");
    let another: Name = Arc::new(move || format!("Load {run} {}", number.fetch_add(1, Ordering::Relaxed)));
    let one: Name = Arc::new(move || named.clone());
    for (what, name) in [
        ("POST /v1/zones, 8 connections", another),
        ("the same, all of one name", one),
    ] {
        let headers = headers.clone();
        let make = move || {
            let body = serde_json::json!({ "name": name() }).to_string();
            request("POST", "/v1/zones", "application/json", &headers, &body).into()
        };
        let written = closed_with(&target, CONNECTIONS, options.seconds, 201, make).await?;
        line(what, &written)?;
    }
    let read = closed(&target, CONNECTIONS, options.seconds, list).await?;
    line("GET /v1/zones, a page of 200", &read)?;

    let (mut admin, mut made) = (Admin::connect(stack).await?, Found::default());
    let began = Instant::now();
    for number in 0..POLICIES {
        let content = format!(
            "package caracal.authz\n\nresult := {{\"decision\": \"deny\", \"diagnostics\": [{number}]}}\n"
        );
        let started = Instant::now();
        scene
            .add_policy(&mut admin, &format!("made {number}"), &content)
            .await?;
        made.times.push(started.elapsed());
    }
    made.took = began.elapsed();
    made.times.sort_unstable();
    line("POST of a policy, compiled by OPA", &made)
}
