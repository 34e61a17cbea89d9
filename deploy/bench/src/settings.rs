//! Where the stack is: from the environment, else from `dev.env`, which `make up` writes.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// Where the stack is, and what an administrator shows it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `host:port` of the control plane.
    pub(crate) api: String,
    /// `host:port` of the decision point.
    pub(crate) sts: String,
    /// The global admin token.
    pub(crate) admin_token: String,
    /// PostgreSQL, as its superuser.
    pub(crate) superuser_url: String,
    /// The stack's folder.
    pub(crate) dir: PathBuf,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self> {
        let dir = PathBuf::from(variable("CARACAL_DIR").unwrap_or_else(|| ".caracal".to_owned()));
        let written = std::fs::read_to_string(dir.join("dev.env")).unwrap_or_default();
        let setting = |name: &str| {
            let line = |line: &str| {
                Some(
                    line.strip_prefix(name)?
                        .strip_prefix('=')?
                        .trim_matches('\'')
                        .to_owned(),
                )
            };
            variable(name)
                .or_else(|| written.lines().find_map(line))
                .with_context(|| format!("no {name}: run `make up` first"))
        };
        let address = |name: &str| {
            let url = setting(name)?;
            let address = url.trim_start_matches("http://").trim_end_matches('/');
            Ok::<_, anyhow::Error>(address.to_owned())
        };
        Ok(Self {
            api: address("CARACAL_API_URL")?,
            sts: address("CARACAL_STS_URL")?,
            admin_token: setting("CARACAL_ADMIN_TOKEN")?,
            superuser_url: setting("CARACAL_SUPERUSER_URL")?,
            dir,
        })
    }

    /// The process of a service, such as `sts`.
    pub(crate) fn pid(&self, service: &str) -> Result<u32> {
        let path = self.dir.join(format!("run/{service}.pid"));
        let pid = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        pid.trim()
            .parse()
            .with_context(|| format!("{} holds no number", path.display()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program's one reader of the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
