//! The OPA subprocess: what it is asked, under which limits, and how its answers are read.

use super::{CompileError, Issue};
use crate::builtins;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Semaphore;

const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Who has worked this long of it, in hundredths of a second of one processor, is not hung: the policy is too much for it.
const AT_WORK: u64 = 300;
/// How long a run may wait until others have ended: a crowd of policies takes its time, a hung OPA must not hold up for ever.
const PATIENCE: Duration = Duration::from_mins(2);
/// More at once would only take the processor from each other.
const AT_ONCE: usize = 4;

const POLICY: &str = "policy.rego";
const CAPABILITIES: &str = "capabilities.json";
const BUNDLE: &str = "bundle.tar.gz";

/// What policies may use of this OPA.
#[derive(Debug)]
pub(super) struct Capabilities {
    /// The capabilities document given to every check and build.
    pub(super) json: String,
    /// `opa version`.
    pub(super) opa_version: String,
    /// Every builtin this OPA knows, allowed or not: to tell a forbidden name from a misspelt one.
    known: HashSet<String>,
}

/// A temporary directory with a policy and the capabilities in it; gone when dropped.
pub(super) struct Workshop(TempDir);

impl Workshop {
    /// Lays out what OPA needs to look at `content`.
    pub(super) fn open(content: &str, capabilities: &Capabilities) -> Result<Self, CompileError> {
        let at = TempDir::new().map_err(|e| unavailable("making a temporary directory", &e))?;
        std::fs::write(at.path().join(POLICY), content)
            .and_then(|()| std::fs::write(at.path().join(CAPABILITIES), &capabilities.json))
            .map_err(|e| unavailable("writing the policy for opa", &e))?;
        Ok(Self(at))
    }
}

/// How to run OPA.
#[derive(Debug)]
pub(super) struct Opa {
    executable: PathBuf,
    turns: Semaphore,
}

impl Opa {
    pub(super) fn new(executable: PathBuf) -> Self {
        Self {
            executable,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Asks OPA what it can do and keeps what policies may use.
    pub(super) async fn capabilities(&self) -> Result<Capabilities, CompileError> {
        let at = TempDir::new().map_err(|e| unavailable("making a temporary directory", &e))?;
        let (version, capabilities) = tokio::try_join!(
            self.run(&at, &["version"]),
            self.run(&at, &["capabilities", "--current"])
        )?;
        let opa_version = String::from_utf8_lossy(&version.stdout)
            .lines()
            .find_map(|line| line.strip_prefix("Version: "))
            .map(str::to_owned)
            .ok_or_else(|| CompileError::Unavailable("opa did not tell its version".into()))?;
        let all: Value = serde_json::from_slice(&capabilities.stdout)
            .map_err(|e| unavailable("reading opa's capabilities", &e))?;
        let (json, known) = restrict(&all);
        Ok(Capabilities {
            json,
            opa_version,
            known,
        })
    }

    /// The syntax tree; `None` when the policy does not parse, which [`Opa::check`] explains.
    pub(super) async fn parse(&self, at: &Workshop) -> Result<Option<Value>, CompileError> {
        let output = self.run(&at.0, &["parse", "--format", "json", POLICY]).await?;
        if !output.status.success() {
            return Ok(None);
        }
        serde_json::from_slice(&output.stdout)
            .map(Some)
            .map_err(|error| unreadable(&error))
    }

    /// Every mistake OPA finds: syntax, types, unsafe variables, builtins beyond the capabilities.
    pub(super) async fn check(
        &self,
        at: &Workshop,
        allowed: &Capabilities,
    ) -> Result<Vec<Issue>, CompileError> {
        let arguments = [
            "check",
            "--format",
            "json",
            "--capabilities",
            CAPABILITIES,
            POLICY,
        ];
        let output = self.run(&at.0, &arguments).await?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        let report = if output.stdout.is_empty() {
            &output.stderr
        } else {
            &output.stdout
        };
        let report: Report =
            serde_json::from_slice(report).map_err(|e| unavailable("reading opa's findings", &e))?;
        if report.errors.is_empty() {
            return Err(CompileError::Unavailable(
                "opa refused a policy and did not say why".into(),
            ));
        }
        Ok(report
            .errors
            .into_iter()
            .map(|finding| finding.into_issue(allowed))
            .collect())
    }

    /// The bundle (tar, gzip) with the compiled policy in it.
    pub(super) async fn build(&self, at: &Workshop) -> Result<Vec<u8>, CompileError> {
        let entrypoint = crate::ENTRYPOINT;
        let arguments = [
            "build",
            "-t",
            "wasm",
            "-e",
            entrypoint,
            "--capabilities",
            CAPABILITIES,
            "-o",
            BUNDLE,
            POLICY,
        ];
        let output = self.run(&at.0, &arguments).await?;
        if !output.status.success() {
            // Checked and still refused: what OPA says here names files, not lines.
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(CompileError::Invalid(vec![Issue::new(
                1,
                1,
                said.trim().replace('\n', " "),
            )]));
        }
        let bundle = at.0.path().join(BUNDLE);
        tokio::fs::read(bundle)
            .await
            .map_err(|e| unavailable("reading opa's bundle", &e))
    }

    async fn run(&self, at: &TempDir, arguments: &[&str]) -> Result<Output, CompileError> {
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| CompileError::Unavailable("too many policies wait for opa".into()))?;
        // Its own time begins with its turn.
        let child = Command::new(&self.executable)
            .args(arguments)
            .env_clear()
            .current_dir(at.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unavailable("starting opa", &error))?;
        let process = child.id();
        // Kept beyond its time: one that is dropped is killed, and nobody could say any more what it did.
        let mut work = pin!(child.wait_with_output());
        match tokio::time::timeout(TIME_LIMIT, &mut work).await {
            Ok(Ok(output)) if output.status.code().is_some() => Ok(output),
            Ok(Ok(_)) => Err(CompileError::Unavailable("opa was killed".into())),
            Ok(Err(error)) => Err(unavailable("running opa", &error)),
            Err(_) if process.is_some_and(|id| worked(id) >= AT_WORK) => {
                let message = format!("the policy takes longer than {TIME_LIMIT:?} to compile");
                Err(CompileError::Invalid(vec![Issue::new(1, 1, message)]))
            }
            Err(_) => Err(CompileError::Unavailable(format!(
                "opa did not finish in {TIME_LIMIT:?}"
            ))),
        }
    }
}

/// How long a process has worked, in hundredths of a second (proc(5): `utime` and `stime`); nothing where that cannot be
/// known.
fn worked(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in brackets, may hold anything.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let times = after_name.split(' ').skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// OPA's own capabilities without what a policy may not use, and the names of all its builtins.
fn restrict(all: &Value) -> (String, HashSet<String>) {
    let list = |key: &str| {
        all.get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let name = |builtin: &Value| {
        builtin
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let known = list("builtins").iter().map(name).collect();
    let builtins: Vec<Value> = list("builtins")
        .into_iter()
        .filter(|b| builtins::is_allowed(&name(b)))
        .collect();
    let features: Vec<Value> = list("features")
        .into_iter()
        .filter(|f| f.as_str().is_some_and(builtins::is_allowed_feature))
        .collect();
    let versions = json!([{"version": 1, "minor_version": 1}, {"version": 1, "minor_version": 2}]);
    let allowed = json!({
        "builtins": builtins, "features": features, "future_keywords": list("future_keywords"),
        "wasm_abi_versions": versions, "allow_net": [],
    });
    (allowed.to_string(), known)
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    errors: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    message: String,
    #[serde(default)]
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    #[serde(default)]
    row: u32,
    #[serde(default)]
    col: u32,
}

impl Finding {
    fn into_issue(self, allowed: &Capabilities) -> Issue {
        let (line, column) = self.location.map_or((1, 1), |at| (at.row, at.col));
        let missing = self.message.strip_prefix("undefined function ");
        let message = match missing.filter(|name| allowed.known.contains(*name)) {
            Some(name) => format!("the builtin {name} is not available to policies"),
            None => self.message,
        };
        Issue::new(line, column, message)
    }
}

/// OPA took the policy, but its tree cannot be read: terms nest too deep, or a number is beyond what JSON's readers hold.
fn unreadable(error: &serde_json::Error) -> CompileError {
    let text = error.to_string();
    let what = text.split(" at line").next().unwrap_or_default();
    CompileError::Invalid(vec![Issue::new(
        1,
        1,
        format!("the policy cannot be read: {what}"),
    )])
}

fn unavailable(doing: &str, error: &dyn std::fmt::Display) -> CompileError {
    CompileError::Unavailable(format!("{doing}: {error}"))
}
