//! The settings that every service has.

use crate::config::env::Env;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// Whether this is a development stack or the real thing (`CARACAL_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Weak keys, plain HTTP and private upstreams are accepted.
    Dev,
    /// None of them is. The default.
    Production,
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "dev" => Ok(Self::Dev),
            "production" => Ok(Self::Production),
            _ => Err("must be dev or production"),
        }
    }
}

/// The settings that every service has.
#[derive(Debug, Clone)]
pub struct Common {
    /// Where to listen (`HOST`).
    pub host: IpAddr,
    /// The port to listen on (`PORT`).
    pub port: u16,
    /// `dev` or `production` (`CARACAL_MODE`).
    pub mode: Mode,
    /// A filter such as `info` or `info,caracal_sts=debug` (`LOG_LEVEL`).
    pub log_level: String,
    /// Where traces go; without it they are only passed on (`OTEL_EXPORTER_OTLP_ENDPOINT`).
    pub otel_endpoint: Option<Url>,
    /// How many threads answer HTTP (`WORKERS`).
    pub workers: usize,
    /// How long `/ready` says `draining` before the listener closes, at least (`DRAIN_GRACE_MS`).
    pub drain_grace: Duration,
    /// How long requests in flight may take to finish, at most (`DRAIN_TIMEOUT_MS`).
    pub drain_timeout: Duration,
    /// How far this process's clock is ahead, in milliseconds; in development only (`CLOCK_OFFSET_MS`).
    pub clock_offset_ms: i32,
}

impl Common {
    /// Reads them; every one has a default.
    pub fn read(env: &mut Env, default_port: u16) -> Self {
        Self {
            host: env.or("HOST", IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: env.or("PORT", default_port),
            mode: env.mode(),
            log_level: env.parse_or("LOG_LEVEL", "info".to_owned(), |text| {
                tracing_subscriber::EnvFilter::try_new(text).map(|_| text.to_owned())
            }),
            otel_endpoint: env.optional_http_url("OTEL_EXPORTER_OTLP_ENDPOINT"),
            workers: env.parse_or("WORKERS", 2, |text| match text.parse() {
                Ok(count @ 1..=256) => Ok(count),
                _ => Err("must be a number from 1 to 256"),
            }),
            drain_grace: env.millis("DRAIN_GRACE_MS", Duration::from_millis(200), Duration::ZERO),
            drain_timeout: env.millis("DRAIN_TIMEOUT_MS", Duration::from_secs(25), Duration::ZERO),
            clock_offset_ms: clock_offset(env),
        }
    }
}

fn clock_offset(env: &mut Env) -> i32 {
    let offset = env.or("CLOCK_OFFSET_MS", 0);
    if offset != 0 && env.mode() == Mode::Production {
        env.mistake("CLOCK_OFFSET_MS", "is for development only");
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_development_stack_may_have_a_wrong_clock() {
        for (mode, offset, accepted) in [
            ("dev", "-60000", true),
            ("production", "0", true),
            ("production", "1", false),
            ("dev", "soon", false),
        ] {
            let mut env = Env::from_pairs([("CARACAL_MODE", mode), ("CLOCK_OFFSET_MS", offset)]);
            Common::read(&mut env, 1);
            assert_eq!(env.finish().is_ok(), accepted, "{mode} {offset}");
        }
    }
}
