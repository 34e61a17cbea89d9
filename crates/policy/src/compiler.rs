//! Checks a policy's source against the contract (contract §1, "Policies") and compiles it, once, to Wasm.
//!
//! OPA does the work in a subprocess that sees an empty environment and a temporary directory, has ten seconds, and
//! dies with whoever waits for it. Compiling is no part of any decision: a missing OPA stops new policies, nothing else.

mod bundle;
mod contract;
mod named;
mod opa;

use opa::{Capabilities, Opa, Workshop};
use ring::digest;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use tokio::sync::OnceCell;

/// A policy's source may be this long (contract §1).
pub const MAX_SOURCE_BYTES: usize = 262_144;

/// One mistake in a policy's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

impl Issue {
    pub(crate) fn new(line: u32, column: u32, message: impl Into<String>) -> Self {
        Self {
            line: line.max(1),
            column: column.max(1),
            message: message.into(),
        }
    }
}

/// Why there is no module.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The source is wrong; `422 invalid_rego` at the API.
    #[error("the policy has {} mistake(s)", .0.len())]
    Invalid(Vec<Issue>),
    /// OPA is missing, hung or broken; `503 policy_compiler_unavailable` at the API.
    #[error("running the policy compiler: {0}")]
    Unavailable(String),
}

/// A policy version, compiled.
#[derive(Debug, Clone)]
pub struct CompiledModule {
    /// SHA-256 over everything the module depends on, hex: equal versions anywhere share one module.
    pub name: String,
    /// The module.
    pub wasm: Vec<u8>,
    /// SHA-256 of the module, hex; whoever loads it checks it.
    pub wasm_sha256: String,
    /// Which OPA made it.
    pub opa_version: String,
    /// The texts in the source that may be an application's name or id.
    pub names: Vec<String>,
}

/// The policy compiler: an OPA executable.
#[derive(Debug)]
pub struct Compiler {
    opa: Opa,
    capabilities: OnceCell<Capabilities>,
}

impl Compiler {
    /// A compiler that runs the OPA executable at `opa`. It is not looked for until it is needed.
    #[must_use]
    pub fn new(opa: PathBuf) -> Self {
        Self {
            opa: Opa::new(opa),
            capabilities: OnceCell::new(),
        }
    }

    /// The version of OPA.
    ///
    /// # Errors
    /// [`CompileError::Unavailable`] when OPA does not answer.
    pub async fn version(&self) -> Result<String, CompileError> {
        Ok(self.capabilities().await?.opa_version.clone())
    }

    /// Checks a policy without compiling it.
    ///
    /// # Errors
    /// [`CompileError::Invalid`] with every mistake found, [`CompileError::Unavailable`] when OPA does not answer.
    pub async fn check(&self, content: &str) -> Result<(), CompileError> {
        let capabilities = self.capabilities().await?;
        let workshop = Workshop::open(content, capabilities)?;
        self.inspect(content, capabilities, &workshop).await?;
        Ok(())
    }

    /// Checks a policy and compiles it.
    ///
    /// # Errors
    /// As [`Compiler::check`].
    pub async fn compile(&self, content: &str) -> Result<CompiledModule, CompileError> {
        let capabilities = self.capabilities().await?;
        let workshop = Workshop::open(content, capabilities)?;
        let names = self.inspect(content, capabilities, &workshop).await?;
        let archive = self.opa.build(&workshop).await?;
        let wasm = bundle::policy_wasm(&archive).map_err(|e| CompileError::Unavailable(e.to_string()))?;
        Ok(CompiledModule {
            name: module_name(content, capabilities),
            wasm_sha256: sha256_hex(&wasm),
            wasm,
            opa_version: capabilities.opa_version.clone(),
            names,
        })
    }

    /// Checks a policy; the texts that may name an application.
    async fn inspect(
        &self,
        content: &str,
        known: &Capabilities,
        at: &Workshop,
    ) -> Result<Vec<String>, CompileError> {
        if content.is_empty() || content.len() > MAX_SOURCE_BYTES {
            let message = format!(
                "a policy is 1 to {MAX_SOURCE_BYTES} bytes long, this one is {}",
                content.len()
            );
            return Err(CompileError::Invalid(vec![Issue::new(1, 1, message)]));
        }
        if let Some(issue) = contract::too_deep(content) {
            return Err(CompileError::Invalid(vec![issue]));
        }
        let (ast, mut issues) = tokio::try_join!(self.opa.parse(at), self.opa.check(at, known))?;
        if let Some(ast) = &ast {
            issues.extend(contract::issues(ast, content));
        }
        if issues.is_empty() {
            Ok(ast.as_ref().map(named::names).unwrap_or_default())
        } else {
            Err(CompileError::Invalid(issues))
        }
    }

    async fn capabilities(&self) -> Result<&Capabilities, CompileError> {
        self.capabilities
            .get_or_try_init(|| self.opa.capabilities())
            .await
    }
}

/// Where the executable `name` is: itself when it is a path, else its first occurrence in `search` (a `PATH`). OPA runs
/// without an environment, so nobody else looks there for it.
#[must_use]
pub fn locate(name: &Path, search: &OsStr) -> PathBuf {
    let candidates = std::env::split_paths(search).map(|dir| dir.join(name));
    let found = (name.components().count() == 1).then(|| candidates.into_iter().find(|path| path.is_file()));
    found.flatten().unwrap_or_else(|| name.to_owned())
}

/// SHA-256 of a policy's source, hex: what the API calls `content_sha256`.
#[must_use]
pub fn content_sha256(content: &str) -> String {
    sha256_hex(content.as_bytes())
}

/// SHA-256(source ‖ OPA version ‖ entrypoint ‖ capabilities ‖ schema version), each part preceded by its length.
fn module_name(content: &str, capabilities: &Capabilities) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    let parts = [
        content,
        &capabilities.opa_version,
        crate::ENTRYPOINT,
        &capabilities.json,
        SCHEMA_VERSION,
    ];
    for part in parts {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finish())
}

const SCHEMA_VERSION: &str = caracal_domain::policy_input::SCHEMA_VERSION;

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}
