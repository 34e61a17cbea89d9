//! The story: an agent gets authority, uses it without ever holding the key, loses it, and the ledger knows it all.

use crate::caracal::{self, Answer, send};
use crate::ledger;
use crate::load::{Flow, tally};
use crate::mcp::Stock;
use crate::scene::{OPEN, Scene, TIGHTENED};
use crate::settings::Settings;
use crate::tale::{Tale, exchange, say, start_of};
use crate::upstream::Running;
use anyhow::{Context, Result};
use reqwest::{Client, Method};
use serde_json::json;
use std::time::{Duration, Instant};

/// Tells it.
pub(crate) async fn tell() -> Result<()> {
    let settings = Settings::read()?;
    let http = caracal::client()?;
    let stock = Stock::start(&settings)?;
    let upstream = Running::start(&settings, &http).await?;
    let mut tale = Tale::begin(
        "Caracal: an AI agent gets authority that policy approved, uses it, loses it. Every answer below is real.",
    );
    tale.step("An administrator sets the scene: a zone, an agent's application, the order book behind its API key, a policy.");
    let tell = |request: &str, answer: &Answer| exchange(request, answer.status, &answer.body);
    let scene = Scene::set(&http, &settings, tell).await?;
    let open = OPEN.join(", ");
    tale.check(
        format!("the policy in force allows {open} and nothing else"),
        !scene.epoch.is_empty(),
    )?;

    let mut story = Story {
        tale,
        scene,
        upstream,
        settings,
        http,
    };
    story.without_authority().await?;
    let session = story.session().await?;
    let (mandate, request_id) = story.governed_call(&session).await?;
    story.beyond_its_scopes(&session).await?;
    story.replay(&mandate, &request_id).await?;
    story.tools(stock.as_ref(), &session).await?;
    story.tightened_while_calls_flow(&session).await?;
    story.revoked(&session).await?;
    story.explained(&request_id).await?;
    story.tale.end();
    Ok(())
}

struct Story {
    tale: Tale,
    scene: Scene,
    upstream: Running,
    settings: Settings,
    http: Client,
}

impl Story {
    async fn without_authority(&mut self) -> Result<()> {
        self.tale
            .step("The agent calls the order book directly. It has no API key.");
        let url = format!("{}/orders", self.settings.upstream);
        let answer = send(self.http.get(&url)).await?;
        exchange(&format!("GET {url}"), answer.status, &answer.body);
        self.tale.check("the order book refuses it", answer.status == 401)
    }

    async fn session(&mut self) -> Result<String> {
        self.tale.step(
            "The agent signs in at the STS with its own application's secret and gets a session token.",
        );
        let answer = self.scene.agent.session().await?;
        exchange("POST /oauth/2/token", answer.status, &answer.body);
        self.tale.check(
            "a session token alone carries no authority over any resource",
            answer.status == 200,
        )?;
        Ok(answer.member("access_token").to_owned())
    }

    async fn governed_call(&mut self, session: &str) -> Result<(String, String)> {
        let request_id = format!("demo:{}", self.scene.zone_id);
        self.tale.step(
            "It exchanges the session token for a mandate: this resource, this scope, 15 minutes, one use.",
        );
        let minted = self
            .scene
            .agent
            .mandate(session, "orders:read", &request_id)
            .await?;
        let request = "POST /oauth/2/token  resource=resource://order-book scope=orders:read";
        exchange(request, minted.status, &minted.body);
        self.tale.check("policy says yes", minted.status == 200)?;
        let mandate = minted.member("access_token").to_owned();

        self.tale.step(
            "It presents the mandate to the gateway, which checks it, records the use, and adds the API key.",
        );
        let answer = self.call(&mandate, &request_id).await?;
        self.tale.check(
            "the order book answers",
            answer.status == 200 && answer.body.is_array(),
        )?;
        let seen = self.upstream.seen(&self.http).await?;
        let seen = seen
            .iter()
            .find(|seen| seen.request_id == request_id)
            .context("the order book saw the call")?;
        let ending: String = seen.key_ending.clone();
        self.tale.check(
            format!("the order book saw its key (…{ending}) and request id {request_id}"),
            self.settings.upstream_key.ends_with(&ending),
        )?;
        let leaked = seen
            .headers
            .iter()
            .any(|name| name == "authorization" || name.starts_with("x-caracal"));
        self.tale
            .check("the agent's mandate stayed at the gateway", !leaked)?;
        let key = &self.settings.upstream_key;
        let headers = answer
            .headers
            .values()
            .any(|value| value.as_bytes().windows(key.len()).any(|w| w == key.as_bytes()));
        let anywhere = headers
            || [&answer.body, &minted.body]
                .iter()
                .any(|body| body.to_string().contains(key));
        self.tale
            .check("the key appears in nothing the agent ever received", !anywhere)?;
        Ok((mandate, request_id))
    }

    async fn beyond_its_scopes(&mut self, session: &str) -> Result<()> {
        self.tale
            .step("It asks for a scope that the resource has and policy does not give: orders:delete.");
        let request_id = format!("demo:{}:delete", self.scene.zone_id);
        let answer = self
            .scene
            .agent
            .mandate(session, "orders:delete", &request_id)
            .await?;
        let request = "POST /oauth/2/token  resource=resource://order-book scope=orders:delete";
        exchange(request, answer.status, &answer.body);
        let denied = answer.status == 403 && answer.member("error") == "access_denied";
        self.tale.check(
            format!("denied, and the reason is told: {}", answer.member("reason")),
            denied && !answer.member("reason").is_empty(),
        )
    }

    async fn replay(&mut self, mandate: &str, request_id: &str) -> Result<()> {
        self.tale
            .step("It presents the first mandate once more. A mandate is good for one call.");
        let answer = self.call(mandate, &format!("{request_id}:again")).await?;
        self.tale.check(
            "the replay is refused",
            answer.status == 401 && answer.member("error") == "invalid_token",
        )?;
        let seen = self.upstream.seen(&self.http).await?;
        let reached = seen
            .iter()
            .filter(|seen| seen.request_id.starts_with(request_id))
            .count();
        self.tale
            .check("the order book saw exactly one call", reached == 1)
    }

    async fn tools(&mut self, stock: Option<&Stock>, session: &str) -> Result<()> {
        let Some(stock) = stock else {
            say("");
            say(
                "(Left out: an MCP client and server behind the gateway. Their SDK could not be installed from PyPI.)",
            );
            return Ok(());
        };
        let Self {
            tale,
            scene,
            settings,
            http,
            ..
        } = self;
        stock.tell(tale, scene, settings, http, session).await
    }

    async fn tightened_while_calls_flow(&mut self, session: &str) -> Result<()> {
        self.tale.step(
            "While four callers read and write without pause, a tighter policy is activated: reading only.",
        );
        let version = self.scene.revise(&TIGHTENED).await?;
        let flow = Flow::start(&self.scene.agent, session);
        tokio::time::sleep(Duration::from_millis(800)).await;
        let activated = self.scene.activate(&version).await?;
        let (answered, epoch) = (Instant::now(), activated.header("Caracal-Zone-Epoch").to_owned());
        exchange(
            "POST …/policy-sets/{id}/activate",
            activated.status,
            &activated.body,
        );

        let body = json!({"item": "lamp", "quantity": 1});
        let next = self
            .scene
            .agent
            .request(Method::POST, "/orders", session, Some("orders:write"))
            .json(&body);
        let next = send(next.header("Caracal-Min-Epoch", &epoch)).await?;
        exchange(
            &format!("POST /orders  Caracal-Min-Epoch: {epoch}"),
            next.status,
            &next.body,
        );
        self.tale
            .check("the very next write is denied", next.status == 403)?;
        tokio::time::sleep(Duration::from_millis(800)).await;
        let calls = flow.stop().await;

        for ((kind, outcome), count) in tally(&calls) {
            say(&format!("{kind:<17} {outcome:<20} {count:>4}"));
        }
        let wrote = |outcome: &'static str| {
            calls
                .iter()
                .filter(move |call| call.kind.starts_with("write") && call.outcome == outcome)
        };
        let fine = |outcome: &str| matches!(outcome, "passed" | "403 access_denied");
        let reads = calls.iter().filter(|call| call.kind.starts_with("read"));
        self.tale.check(
            "writes flowed before and were denied after",
            wrote("passed").count() > 0 && wrote("403 access_denied").count() > 0,
        )?;
        self.tale.check(
            "no call failed in any other way",
            calls.iter().all(|call| fine(&call.outcome)),
        )?;
        self.tale.check(
            "reading was never disturbed",
            reads.clone().count() > 0 && reads.clone().all(|call| call.outcome == "passed"),
        )?;
        let last = wrote("passed")
            .map(|call| call.ended.saturating_duration_since(answered))
            .max()
            .unwrap_or_default();
        self.tale.check(
            format!(
                "the last write that passed was answered {} ms after the activation",
                last.as_millis()
            ),
            last < Duration::from_secs(2),
        )
    }

    async fn revoked(&mut self, session: &str) -> Result<()> {
        self.tale.step("The administrator revokes the session.");
        let before = self.read(session).await?;
        self.tale
            .check("until then the session still reads", before.status == 200)?;
        let id = session_id(session).context("a session token names its session")?;
        let path = self.scene.path(&format!("sessions/{id}/revoke"));
        let revoked = self
            .scene
            .admin
            .call(Method::POST, &path, Some(&json!({})))
            .await?;
        let answered = Instant::now();
        exchange(
            &format!("POST …/sessions/{id}/revoke"),
            revoked.status,
            &revoked.body,
        );
        self.tale.check(
            "the control plane has taken it back",
            (200..300).contains(&revoked.status),
        )?;
        let refused = loop {
            let answer = self.read(session).await?;
            if answer.status != 200 || answered.elapsed() > Duration::from_secs(3) {
                break answer;
            }
        };
        let took = answered.elapsed();
        exchange("GET /orders", refused.status, &refused.body);
        self.tale.check(
            format!(
                "the gateway refuses the session token {:.1} ms after the revocation was answered",
                took.as_secs_f64() * 1000.0
            ),
            refused.status == 401 && took < Duration::from_secs(2),
        )?;
        let minted = self.scene.agent.mandate(session, "orders:read", "").await?;
        exchange("POST /oauth/2/token", minted.status, &minted.body);
        self.tale.check(
            "the STS mints nothing from it",
            minted.status == 400 && minted.member("error") == "invalid_grant",
        )
    }

    async fn explained(&mut self, request_id: &str) -> Result<()> {
        self.tale.step(&format!(
            "What happened in request {request_id}? The ledger is asked."
        ));
        let events = ledger::by_request(&self.scene, request_id, 3).await?;
        for event in &events {
            let reason = if event.reason.is_empty() {
                String::new()
            } else {
                format!(" because of {}", event.reason)
            };
            say(&format!(
                "{:<17} {}{reason} {}",
                event.event_type, event.decision, event.policies
            ));
        }
        let has = |kind: &str, decision: &str| {
            events
                .iter()
                .any(|e| e.event_type == kind && e.decision == decision)
        };
        self.tale.check(
            "the STS's decision is there, with the policy that made it",
            has("token_exchange", "allow"),
        )?;
        self.tale.check(
            "the gateway's admission is there",
            has("gateway_request", "allow"),
        )?;
        self.tale
            .check("and how the call ended", has("gateway_response", "allow"))?;
        let refused = ledger::by_request(&self.scene, &format!("{request_id}:delete"), 1).await?;
        let denied = refused
            .iter()
            .find(|event| event.decision == "deny")
            .context("the refusal is in the ledger")?;
        say(&format!(
            "orders:delete: {} because of {}: {}",
            denied.decision, denied.reason, denied.diagnostics
        ));
        self.tale.check(
            "so is the refusal of orders:delete, with what the policy objected to",
            denied.event_type == "token_exchange" && denied.diagnostics.contains("orders:delete"),
        )?;
        let replayed = ledger::by_request(&self.scene, &format!("{request_id}:again"), 1).await?;
        self.tale.check(
            "so is the replay",
            replayed.iter().all(|event| event.decision == "deny"),
        )
    }

    async fn call(&self, token: &str, request_id: &str) -> Result<Answer> {
        let request = self.scene.agent.request(Method::GET, "/orders", token, None);
        let answer = send(request.header("X-Request-Id", request_id)).await?;
        let shown = format!(
            "GET /orders  Authorization: Bearer {}  X-Caracal-Resource: resource://order-book",
            start_of(token)
        );
        exchange(&shown, answer.status, &answer.body);
        Ok(answer)
    }

    async fn read(&self, session: &str) -> Result<Answer> {
        send(
            self.scene
                .agent
                .request(Method::GET, "/orders", session, Some("orders:read")),
        )
        .await
    }
}

/// The `sid` claim of a token.
fn session_id(token: &str) -> Option<String> {
    let claims = claims(token)?;
    claims.get("sid")?.as_str().map(str::to_owned)
}

/// The claims of a token, unverified: the agent reads what it was given.
fn claims(token: &str) -> Option<serde_json::Value> {
    use base64::Engine;
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(payload)
            .ok()?,
    )
    .ok()
}
