//! The STS's settings, read once (contract §7).

use caracal_bus::StreamKeys;
use caracal_egress::EgressPolicy;
use caracal_jose::Kek;
use caracal_lifecycle::Env;
use ipnet::IpNet;
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// See the module.
#[derive(Debug)]
pub struct Config {
    /// PostgreSQL, as the role `caracal_sts` (`DATABASE_URL`).
    pub database_url: SecretString,
    /// NATS (`NATS_URL`).
    pub nats_url: SecretString,
    /// The base of every issuer (`ISSUER_URL`).
    pub issuer_url: Url,
    /// The gateways' public base, which makes aliases of resources (`GATEWAY_PUBLIC_URL`).
    pub gateway_public_url: Url,
    /// Key-encryption keys (`ZONE_KEK`).
    pub kek: Kek,
    /// Keys that sign messages (`STREAMS_HMAC_KEY`).
    pub stream_keys: StreamKeys,
    /// What gateways prove themselves with (`GATEWAY_STS_KEY`).
    pub gateway_key: SecretString,
    /// Proxies whose `X-Forwarded-For` counts (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// Where key sets may be fetched from (`ALLOW_PRIVATE_UPSTREAMS`, `UPSTREAM_HOST_ALLOWLIST`).
    pub egress: EgressPolicy,
    /// Further listeners of ours that no fetched document may come from, `host:port` (`INTERNAL_ADDRESSES`).
    pub internal_addresses: Vec<String>,
    /// The bound on staleness (`FEED_MAX_LAG_MS`).
    pub max_lag: Duration,
    /// Where compiled policies survive a restart (`POLICY_CACHE_DIR`).
    pub policy_cache_dir: Option<PathBuf>,
    /// Memory for compiled policies (`POLICY_MEMORY_MB`).
    pub policy_memory_bytes: usize,
    /// Zones kept in memory (`ZONES_IN_MEMORY`).
    pub zones_in_memory: u64,
    /// How often the count of what strangers did and was not written is written (`STRANGERS_SUMMARY_MS`).
    pub strangers_summary: Duration,
}

impl Config {
    /// Reads every setting; mistakes stay with `env`.
    pub fn read(env: &mut Env) -> Option<Self> {
        let database_url = env.address("DATABASE_URL", caracal_storage::check_url);
        let nats_url = env.address("NATS_URL", caracal_bus::check_url);
        let issuer_url = env.http_url("ISSUER_URL");
        let gateway_public_url = env.http_url("GATEWAY_PUBLIC_URL");
        let kek = env.keys("ZONE_KEK", Kek::parse);
        let stream_keys = env.keys("STREAMS_HMAC_KEY", StreamKeys::parse);
        let gateway_key = env.shared_secret("GATEWAY_STS_KEY");
        let trusted_proxies = env.list("TRUSTED_PROXIES");
        let egress = env.upstreams().into();
        let internal_addresses = env.places("INTERNAL_ADDRESSES");
        let max_lag = env.millis(
            "FEED_MAX_LAG_MS",
            Duration::from_secs(2),
            Duration::from_millis(500),
        );
        let policy_cache_dir = env.optional("POLICY_CACHE_DIR");
        let megabytes: usize = env.or("POLICY_MEMORY_MB", 512);
        let zones_in_memory = env.or("ZONES_IN_MEMORY", 20_000);
        let strangers_summary = env.millis(
            "STRANGERS_SUMMARY_MS",
            Duration::from_mins(1),
            Duration::from_millis(100),
        );
        Some(Self {
            database_url: database_url?,
            nats_url: nats_url?,
            issuer_url: issuer_url?,
            gateway_public_url: gateway_public_url?,
            kek: kek?,
            stream_keys: stream_keys?,
            gateway_key: gateway_key?,
            trusted_proxies,
            egress,
            internal_addresses,
            max_lag,
            policy_cache_dir,
            policy_memory_bytes: megabytes.saturating_mul(1 << 20),
            zones_in_memory,
            strangers_summary,
        })
    }
}
