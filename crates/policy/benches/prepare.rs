//! What both benchmarks start from.

use caracal_domain::id::{PolicySetId, PolicySetVersionId, PolicyVersionId};
use caracal_domain::zone::{Manifest, ManifestEntry};
use caracal_policy::{Compiler, locate};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The compiler that `OPA_BIN` or `PATH` names.
pub(crate) fn compiler() -> Compiler {
    #[expect(
        clippy::disallowed_methods,
        reason = "a benchmark has no configuration of its own"
    )]
    let (named, path) = (
        std::env::var_os("OPA_BIN"),
        std::env::var_os("PATH").unwrap_or_default(),
    );
    Compiler::new(named.map_or_else(|| locate(Path::new("opa"), &path), PathBuf::from))
}

/// A manifest of these modules.
pub(crate) fn manifest(modules: &[&str]) -> Manifest {
    let entry = |module: &&str| ManifestEntry {
        policy_version_id: PolicyVersionId::from(Uuid::nil()),
        module: (*module).to_owned(),
    };
    Manifest {
        policy_set_id: PolicySetId::from(Uuid::nil()),
        version_id: PolicySetVersionId::from(Uuid::nil()),
        sha256: String::new(),
        policies: modules.iter().map(entry).collect(),
    }
}
