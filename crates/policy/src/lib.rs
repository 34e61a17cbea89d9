//! Rego policies: checked and compiled to Wasm by OPA at the API ([`Compiler`]), loaded and evaluated at the STS
//! ([`Engine`]), and the templates we hand out ([`templates`]).
//!
//! This crate must never decide: it reports what each policy of a manifest answered, and `domain::combine` rules. It
//! alone names opa-wasm and wasmtime. A policy sees its input and nothing else of the house: no environment, no clock,
//! no network, no memory beyond its share, no time beyond its deadline.
//!
//! Start with [`engine`] (what happens at every exchange), then [`compiler`] (what happens once per policy version).

pub mod compiler;
pub mod engine;
pub mod template;

mod builtins;

pub use compiler::{CompileError, CompiledModule, Compiler, Issue, content_sha256, locate};
pub use engine::{
    Allowance, CodeCacheConfig, Engine, EngineConfig, EngineError, EngineMemory, Evaluation, Held,
};
pub use template::{Template, templates};

/// What every policy answers: `data.caracal.authz.result` (seed `004`).
pub(crate) const ENTRYPOINT: &str = "caracal/authz/result";
