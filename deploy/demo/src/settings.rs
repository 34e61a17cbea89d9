//! Where the stack is: from the environment, else from `dev.env`, which `make up` writes.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::PathBuf;

/// Where the stack is, and what an administrator shows it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The control plane.
    pub(crate) api: String,
    /// The decision point.
    pub(crate) sts: String,
    /// The enforcement point.
    pub(crate) gateway: String,
    /// The global admin token.
    pub(crate) admin_token: String,
    /// Where the order book shall listen.
    pub(crate) upstream: String,
    /// The key it shall ask for.
    pub(crate) upstream_key: String,
    /// Where the MCP server shall listen.
    pub(crate) mcp: String,
    /// A Python that has the MCP SDK.
    pub(crate) mcp_python: Option<PathBuf>,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self> {
        let file = file().join("dev.env");
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        let written: HashMap<&str, &str> = written.lines().filter_map(|line| line.split_once('=')).collect();
        let setting = |name: &str| {
            let value =
                variable(name).or_else(|| written.get(name).map(|value| value.trim_matches('\'').to_owned()));
            value.with_context(|| {
                format!(
                    "no {name}, neither set nor in {}: run `make up` first",
                    file.display()
                )
            })
        };
        Ok(Self {
            api: setting("CARACAL_API_URL")?,
            sts: setting("CARACAL_STS_URL")?,
            gateway: setting("CARACAL_GATEWAY_URL")?,
            admin_token: setting("CARACAL_ADMIN_TOKEN")?,
            upstream: setting("CARACAL_DEMO_UPSTREAM_URL")
                .unwrap_or_else(|_| "http://127.0.0.1:18080".to_owned()),
            upstream_key: setting("CARACAL_DEMO_UPSTREAM_KEY")
                .unwrap_or_else(|_| "demo-upstream-key-0001".to_owned()),
            mcp: setting("CARACAL_DEMO_MCP_URL").unwrap_or_else(|_| "http://127.0.0.1:18081".to_owned()),
            mcp_python: variable("CARACAL_DEMO_MCP_PYTHON").map(PathBuf::from),
        })
    }
}

fn file() -> PathBuf {
    PathBuf::from(variable("CARACAL_DIR").unwrap_or_else(|| ".caracal".to_owned()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program's one reader of the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
