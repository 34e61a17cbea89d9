//! The gateway's settings, read once (contract §7).

use caracal_bus::StreamKeys;
use caracal_egress::EgressPolicy;
use caracal_lifecycle::Env;
use ipnet::IpNet;
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

/// See the module.
#[derive(Debug)]
pub struct Config {
    /// PostgreSQL, as the role `caracal_gateway` (`DATABASE_URL`).
    pub database_url: SecretString,
    /// NATS (`NATS_URL`).
    pub nats_url: SecretString,
    /// Where the STS is reached (`STS_URL`).
    pub sts_url: Url,
    /// The base of every issuer (`ISSUER_URL`).
    pub issuer_url: Url,
    /// Where callers reach this gateway (`GATEWAY_PUBLIC_URL`).
    pub public_url: Url,
    /// What this gateway proves itself with at the STS (`GATEWAY_STS_KEY`).
    pub sts_key: SecretString,
    /// Keys that sign messages (`STREAMS_HMAC_KEY`).
    pub stream_keys: StreamKeys,
    /// Which upstreams may be reached (`ALLOW_PRIVATE_UPSTREAMS`, `UPSTREAM_HOST_ALLOWLIST`).
    pub egress: EgressPolicy,
    /// Proxies whose `X-Forwarded-For` counts (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// Further listeners of ours, as `host:port`, that no resource may lead to (`INTERNAL_ADDRESSES`).
    pub internal_addresses: Vec<String>,
    /// The bound on staleness (`FEED_MAX_LAG_MS`).
    pub max_lag: Duration,
    /// How long an upstream may take to begin its answer (`UPSTREAM_FIRST_BYTE_MS`).
    pub first_byte: Duration,
    /// How often the count of what strangers did and was not written is written (`STRANGERS_SUMMARY_MS`).
    pub strangers_summary: Duration,
}

impl Config {
    /// Reads every setting; mistakes stay with `env`.
    pub fn read(env: &mut Env) -> Option<Self> {
        let database_url = env.address("DATABASE_URL", caracal_storage::check_url);
        let nats_url = env.address("NATS_URL", caracal_bus::check_url);
        let sts_url = env.http_url("STS_URL");
        let issuer_url = env.http_url("ISSUER_URL");
        let public_url = env.http_url("GATEWAY_PUBLIC_URL");
        let sts_key = env.shared_secret("GATEWAY_STS_KEY");
        let stream_keys = env.keys("STREAMS_HMAC_KEY", StreamKeys::parse);
        let egress = env.upstreams().into();
        let trusted_proxies = env.list("TRUSTED_PROXIES");
        let internal_addresses = env.places("INTERNAL_ADDRESSES");
        let max_lag = env.millis(
            "FEED_MAX_LAG_MS",
            Duration::from_secs(2),
            Duration::from_millis(500),
        );
        let first_byte = env.millis(
            "UPSTREAM_FIRST_BYTE_MS",
            Duration::from_secs(30),
            Duration::from_millis(10),
        );
        let strangers_summary = env.millis(
            "STRANGERS_SUMMARY_MS",
            Duration::from_mins(1),
            Duration::from_millis(100),
        );
        Some(Self {
            database_url: database_url?,
            nats_url: nats_url?,
            sts_url: sts_url?,
            issuer_url: issuer_url?,
            public_url: public_url?,
            sts_key: sts_key?,
            stream_keys: stream_keys?,
            egress,
            trusted_proxies,
            internal_addresses,
            max_lag,
            first_byte,
            strangers_summary,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_setting_is_named_at_once() {
        let mut env = Env::from_pairs::<&str, &str>([]);
        assert!(Config::read(&mut env).is_none());
        assert_eq!(env.finish().map_err(|mistakes| mistakes.0.len()), Err(7));
    }
}
