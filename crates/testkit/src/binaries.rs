//! Where the programs are.

use std::path::{Path, PathBuf};

/// One of our own binaries, from the target directory that this test was built in.
#[must_use]
pub fn ours(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/<profile>/deps");
    let binary = profile.join(name);
    assert!(
        binary.exists(),
        "{} is missing: run `cargo build --workspace --bins` first",
        binary.display()
    );
    binary
}

/// An outside program: from the variable that names it, else the tools that `make tools` installs, else `PATH`.
#[must_use]
pub fn outside(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let tools = std::env::var_os("CARACAL_TOOLS").map_or_else(|| root().join(".caracal"), PathBuf::from);
    let installed = tools.join("bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join(name));
    std::iter::once(installed)
        .chain(on_path)
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("no {name}: run `make tools`, or set {variable}"))
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("crates/testkit lies two folders down").to_owned()
}
