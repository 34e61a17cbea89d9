//! A real MCP server behind the same gateway, and a client that knows nothing of Caracal: both made with the published
//! Python SDK, which `make demo` installs where it can.

use crate::caracal::{Answer, send};
use crate::scene::Scene;
use crate::settings::Settings;
use crate::tale::{Tale, exchange, say};
use anyhow::{Context, Result, bail};
use reqwest::Client;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

const SERVER: &str = include_str!("../mcp/stock.py");
const CLIENT: &str = include_str!("../mcp/client.py");
const KEY: &str = "stock-key-0001";
/// The one operation of the stock's resource is to talk MCP.
const SCOPE: &str = "stock:read";

/// The MCP server, starting or running; it ends with the story.
#[derive(Debug)]
pub(crate) struct Stock {
    _server: Child,
}

impl Stock {
    /// Starts it where the SDK is at hand, without waiting: Python takes its time.
    pub(crate) fn start(settings: &Settings) -> Result<Option<Self>> {
        let Some(python) = &settings.mcp_python else {
            return Ok(None);
        };
        let url = reqwest::Url::parse(&settings.mcp).context("CARACAL_DEMO_MCP_URL")?;
        let port = url.port().context("CARACAL_DEMO_MCP_URL has a port")?;
        // Python would say it too, but nobody waits for what Python says.
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!(
                "port {port} (the demo's MCP server) is taken by another program: stop that, or choose other ports: \
                 PORT_BASE=20000 make demo"
            )
        })?;
        let port = port.to_string();
        let server = script(python, SERVER, &[&port])
            .env("API_KEY", KEY)
            .kill_on_drop(true)
            .spawn()
            .context("the MCP server does not start")?;
        Ok(Some(Self { _server: server }))
    }

    /// The step of the story: the client's tools and calls pass the gateway by nothing but an address and a token.
    pub(crate) async fn tell(
        &self,
        tale: &mut Tale,
        scene: &Scene,
        settings: &Settings,
        http: &Client,
        session: &str,
    ) -> Result<()> {
        tale.step("An unmodified MCP client (Python's published SDK) wants a tool of an MCP server that asks for a key.");
        let url = format!("{}/mcp", settings.mcp);
        let direct = asked_directly(http, &url).await?;
        exchange(&format!("POST {url}"), direct.status, &direct.body);
        tale.check("directly, the MCP server refuses it", direct.status == 401)?;

        let resource = resource(scene, settings).await?;
        let address = format!("{}/r/{}/{resource}/mcp", settings.gateway, scene.zone_id);
        let told = self.ask(settings, &address, session).await?;
        say(&format!(
            "client.py {address} lamp, with the session token as its bearer:"
        ));
        say(&told.to_string());
        tale.check(
            "through the gateway it lists the tools",
            told.get("tools") == Some(&json!(["in_stock"])),
        )?;
        tale.check(
            "and calls one, each message admitted by policy and with the key put in",
            told.pointer("/answer/result") == Some(&json!(12)),
        )
    }

    async fn ask(&self, settings: &Settings, address: &str, session: &str) -> Result<Value> {
        let python = settings.mcp_python.as_deref().context("a Python with the SDK")?;
        let output = script(python, CLIENT, &[address, "lamp"])
            .env("TOKEN", session)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .await?;
        if !output.status.success() {
            bail!("the MCP client: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("the MCP client prints JSON")
    }
}

/// The answer to a message without a key, as soon as the server takes calls.
async fn asked_directly(http: &Client, url: &str) -> Result<Answer> {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for _ in 0..400 {
        if let Ok(answer) = send(http.post(url).json(&hello)).await {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    bail!("the MCP server does not answer")
}

/// Registers the MCP server as a resource whose key only the gateway gets, and answers its id.
async fn resource(scene: &Scene, settings: &Settings) -> Result<String> {
    let provider = json!({
        "identifier": "stock-key", "kind": "apikey",
        "config_json": {"location": "header", "name": "X-API-Key"}, "secret_config": {"api_key": KEY},
    });
    let provider = scene.admin.post(&scene.path("providers"), &provider, 201).await?;
    let operations =
        ["POST", "GET", "DELETE"].map(|method| json!({"method": method, "path": "/mcp", "scope": SCOPE}));
    let resource = json!({
        "identifier": "resource://stock", "scopes": [SCOPE], "upstream_url": settings.mcp,
        "credential_provider_id": provider.member("id"), "operations": operations,
    });
    let resource = scene.admin.post(&scene.path("resources"), &resource, 201).await?;
    exchange("POST …/resources", resource.status, &resource.body);
    Ok(resource.member("id").to_owned())
}

fn script(python: &Path, code: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", code]).args(arguments).stdin(Stdio::null());
    command
}
