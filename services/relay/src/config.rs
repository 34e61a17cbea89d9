//! The relay's settings, read once (contract §7).

use caracal_bus::StreamKeys;
use caracal_lifecycle::Env;
use secrecy::SecretString;

/// See the module.
#[derive(Debug)]
pub struct Config {
    /// PostgreSQL, as the role `caracal_relay` (`DATABASE_URL`).
    pub database_url: SecretString,
    /// NATS (`NATS_URL`).
    pub nats_url: SecretString,
    /// Keys that sign messages (`STREAMS_HMAC_KEY`).
    pub stream_keys: StreamKeys,
}

impl Config {
    /// Reads every setting; mistakes stay with `env`.
    pub fn read(env: &mut Env) -> Option<Self> {
        let database_url = env.address("DATABASE_URL", caracal_storage::check_url);
        let nats_url = env.address("NATS_URL", caracal_bus::check_url);
        let stream_keys = env.keys("STREAMS_HMAC_KEY", StreamKeys::parse);
        Some(Self {
            database_url: database_url?,
            nats_url: nats_url?,
            stream_keys: stream_keys?,
        })
    }
}
