//! Which crate may name which (docs: `house-style`, "The tree"). A forbidden edge fails here, whoever adds it.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each of our crates may use of our crates. Tests may use `testkit` everywhere.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    const PURE: [&str; 3] = ["domain", "wire", "chain"];
    const ADAPTERS: [&str; 5] = ["jose", "policy", "storage", "bus", "egress"];
    const KITS: [&str; 2] = ["web", "lifecycle"];
    // What adapters and kits alike may stand on without knowing each other.
    const SHARED: [&str; 1] = ["trace"];
    const SERVICES: [&str; 5] = ["api", "sts", "gateway", "audit", "relay"];
    let mut allowed = BTreeMap::from([
        ("domain", BTreeSet::new()),
        ("wire", BTreeSet::from(["domain"])),
        ("chain", BTreeSet::from(["domain"])),
        ("trace", BTreeSet::new()),
        // The one place below the services where the bus meets the database.
        (
            "replica",
            BTreeSet::from(["domain", "bus", "storage", "lifecycle"]),
        ),
        // The one place below the services where key material meets what leaves the house.
        ("provider", BTreeSet::from(["domain", "jose", "egress"])),
        // Test and demonstration live outside the house: they see only what strangers see.
        ("testkit", BTreeSet::new()),
        ("demo", BTreeSet::new()),
        ("bench", BTreeSet::new()),
    ]);
    let adapters_use: BTreeSet<_> = PURE.into_iter().chain(SHARED).collect();
    allowed.extend(ADAPTERS.map(|name| (name, adapters_use.clone())));
    allowed.extend(KITS.map(|name| (name, BTreeSet::from(["domain", "trace"]))));
    let below: BTreeSet<_> = adapters_use
        .into_iter()
        .chain(ADAPTERS)
        .chain(KITS)
        .chain(["replica", "provider"])
        .collect();
    allowed.extend(SERVICES.map(|name| (name, below.clone())));
    allowed
}

/// Who may name each outside technology. What is not listed anyone may use.
fn owners() -> Vec<(&'static str, &'static [&'static str])> {
    const EVERYONE_IMPURE: &[&str] = &[
        "jose",
        "policy",
        "storage",
        "bus",
        "egress",
        "web",
        "lifecycle",
        "trace",
        "replica",
        "provider",
        "api",
        "sts",
        "gateway",
        "audit",
        "relay",
        "testkit",
        "demo",
        "bench",
    ];
    const HTTP_SERVERS: &[&str] = &[
        "web",
        "lifecycle",
        "api",
        "sts",
        "gateway",
        "audit",
        "relay",
        "testkit",
        "demo",
    ];
    vec![
        // The pure crates have no run time: no I/O, nothing asynchronous.
        ("tokio", EVERYONE_IMPURE),
        ("futures", EVERYONE_IMPURE),
        ("prost", &["wire"]),
        ("prost-build", &["wire"]),
        ("protox", &["wire"]),
        ("josekit", &["jose"]),
        // Besides keys and tokens: the HMAC on messages, and the hashes of the chain.
        ("ring", &["jose", "bus", "chain", "policy"]),
        ("opa-wasm", &["policy"]),
        ("wasmtime", &["policy"]),
        ("wasm-encoder", &["policy"]),
        ("wasmparser", &["policy"]),
        ("diesel", &["storage"]),
        ("diesel-async", &["storage"]),
        ("diesel_migrations", &["storage"]),
        ("tokio-postgres", &["storage", "testkit", "bench"]),
        ("async-nats", &["bus", "testkit"]),
        ("hyper", &["egress", "gateway"]),
        ("hyper-util", &["egress", "gateway"]),
        ("hyper-rustls", &["egress"]),
        ("tokio-rustls", &["storage"]),
        ("rustls-native-certs", &["storage"]),
        ("actix-web", HTTP_SERVERS),
        ("tracing-subscriber", &["lifecycle"]),
        ("opentelemetry_sdk", &["lifecycle", "trace"]),
        ("opentelemetry-otlp", &["lifecycle"]),
        ("opentelemetry-http", &["lifecycle"]),
        // HTTP and NATS carry the trace across.
        ("opentelemetry", &["lifecycle", "web", "trace"]),
        ("tracing-opentelemetry", &["lifecycle", "web", "trace"]),
        // Calls to configured addresses go through egress; this one is for telemetry and for tests.
        ("reqwest", &["lifecycle", "testkit", "demo"]),
    ]
}

fn ours(name: &str) -> Option<&str> {
    name.strip_prefix("caracal-")
}

/// A package of the workspace by its short name, as `cargo metadata` tells it.
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    for_tests: bool,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = members(&metadata, "packages").map(|package| Package {
        name: ours(&text(package, "name"))
            .expect("our packages are named caracal-<folder>")
            .to_owned(),
        dependencies: members(package, "dependencies")
            .map(|dependency| Dependency {
                name: text(dependency, "name"),
                for_tests: dependency["kind"] == "dev",
            })
            .collect(),
    });
    let packages: Vec<_> = packages.collect();
    assert!(packages.len() > 10, "the workspace has more packages than that");
    packages
}

fn members<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    of[name].as_array().expect("a list").iter()
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().expect("a text").to_owned()
}

#[test]
fn arrows_point_down_only() {
    let allowed = allowed();
    let mut forbidden = Vec::new();
    for package in packages() {
        let from = package.name;
        let Some(may_use) = allowed.get(from.as_str()) else {
            forbidden.push(format!(
                "{from} has no place in the tree: give it one in this test"
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(to) = ours(&dependency.name) else {
                continue;
            };
            // A test may use testkit, and testkit's own tests may use the kits.
            let fine = may_use.contains(to) || dependency.for_tests && (to == "testkit" || from == "testkit");
            if !fine {
                forbidden.push(format!("{from} -> {to}"));
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden edges: {forbidden:#?}");
}

#[test]
fn each_technology_has_its_wall() {
    let mut forbidden = Vec::new();
    for package in packages() {
        let from = package.name;
        for dependency in package.dependencies.iter().filter(|d| !d.for_tests) {
            let owners = owners()
                .into_iter()
                .find(|(technology, _)| *technology == dependency.name);
            if owners.is_some_and(|(_, owners)| !owners.contains(&from.as_str())) {
                forbidden.push(format!("{from} -> {}", dependency.name));
            }
        }
    }
    assert!(
        forbidden.is_empty(),
        "these belong behind another crate's wall: {forbidden:#?}"
    );
}
