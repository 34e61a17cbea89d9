//! The secrets of a test's stack. They are nobody's secrets: everything listens on loopback and ends with the test.

/// Every service there is, in the order they start.
pub const SERVICES: [&str; 5] = ["api", "relay", "audit", "sts", "gateway"];

/// The global admin token.
pub const ADMIN_TOKEN: &str = "cadm_test_5f0c3b9ae1d7428866b0f4c2d9e83a17";
/// The key-encryption key.
pub const ZONE_KEK: &str = "3b1f0a9d77c25e8846aa91c0d2f6e3b4185c7d29ef0342b6a8d15c9b70e4f3a1";
/// What signs the messages on the bus.
pub const STREAMS_HMAC_KEY: &str = "a94d2f6603be71c85d0e9f3a7714bc2682e5d0639af84b17ce5029d3618f7ab4";
/// What the gateway shows the STS.
pub const GATEWAY_STS_KEY: &str = "71d3c05e9ab84f2266e1d7930bf5a8c41c9e";

/// The password of a service's database role: those of the cluster the tests run in, which `make test` may name
/// (`CARACAL_ROLE_PASSWORDS`, as `caracal-migrate` takes it), since roles belong to the cluster and not to a database.
#[must_use]
pub fn role_password(service: &str) -> String {
    let given = std::env::var("CARACAL_ROLE_PASSWORDS").unwrap_or_default();
    let role = format!("caracal_{service}=");
    let found = given
        .split(',')
        .find_map(|pair| pair.trim().strip_prefix(&role).map(str::to_owned));
    found.unwrap_or_else(|| format!("test-{service}"))
}

/// The passwords of all roles as `caracal-migrate` takes them.
#[must_use]
pub fn role_passwords() -> String {
    SERVICES
        .map(|service| format!("caracal_{service}={}", role_password(service)))
        .join(",")
}
