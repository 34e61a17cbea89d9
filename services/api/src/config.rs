//! The API's settings, read once (contract §7).

use caracal_egress::EgressPolicy;
use caracal_jose::Kek;
use caracal_lifecycle::{Env, Mode};
use secrecy::SecretString;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use url::Url;

/// See the module.
#[derive(Debug)]
pub struct Config {
    /// PostgreSQL, as the role `caracal_api` (`DATABASE_URL`).
    pub database_url: SecretString,
    /// Key-encryption keys (`ZONE_KEK`).
    pub kek: Kek,
    /// The first administrator's token (`CARACAL_ADMIN_TOKEN`).
    pub admin_token: SecretString,
    /// The policy compiler (`OPA_BIN`, else `opa` on `PATH`).
    pub opa: PathBuf,
    /// Whether `/v1/local/bootstrap` is there (`CARACAL_LOCAL_BOOTSTRAP_ENABLED`).
    pub local_bootstrap: bool,
    /// The base of every issuer of ours (`ISSUER_URL`).
    pub issuer_url: Url,
    /// Where this service is reached from outside, as in the redirect URI of users' consents (`API_PUBLIC_URL`); its
    /// own address when it is not said.
    pub public_url: Option<Url>,
    /// Where upstreams may be (`ALLOW_PRIVATE_UPSTREAMS`, `UPSTREAM_HOST_ALLOWLIST`).
    pub egress: EgressPolicy,
    /// Listeners of ours that no provider's or issuer's address may lead to, `host:port` (`INTERNAL_ADDRESSES`).
    pub internal_addresses: Vec<String>,
}

impl Config {
    /// Reads every setting; mistakes stay with `env`.
    pub fn read(env: &mut Env) -> Option<Self> {
        let database_url = env.address("DATABASE_URL", caracal_storage::check_url);
        let kek = env.keys("ZONE_KEK", Kek::parse);
        let admin_token = env.shared_secret("CARACAL_ADMIN_TOKEN");
        let issuer_url = env.http_url("ISSUER_URL");
        let opa = env.or("OPA_BIN", PathBuf::from("opa"));
        let path = env.or("PATH", OsString::new());
        let local_bootstrap = env.flag("CARACAL_LOCAL_BOOTSTRAP_ENABLED", false);
        let egress = env.upstreams().into();
        let internal_addresses = env.places("INTERNAL_ADDRESSES");
        let public_url = env.optional("API_PUBLIC_URL");
        let public_url = public_url.and_then(|_: String| env.http_url("API_PUBLIC_URL"));
        if local_bootstrap && env.mode() == Mode::Production {
            env.mistake(
                "CARACAL_LOCAL_BOOTSTRAP_ENABLED",
                "is for development only (CARACAL_MODE=production)",
            );
        }
        Some(Self {
            database_url: database_url?,
            kek: kek?,
            admin_token: admin_token?,
            opa: caracal_policy::locate(Path::new(&opa), &path),
            local_bootstrap,
            issuer_url: issuer_url?,
            public_url,
            egress,
            internal_addresses,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let _ = Config::read(&mut env);
        env.finish()
            .err()
            .map(|m| m.0.into_iter().map(|m| m.name).collect())
            .unwrap_or_default()
    }

    #[test]
    fn production_refuses_what_is_for_development() {
        let risky = [
            ("CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true"),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
        ];
        let found = mistakes(&risky);
        for name in [
            "CARACAL_LOCAL_BOOTSTRAP_ENABLED",
            "ALLOW_PRIVATE_UPSTREAMS",
            "ZONE_KEK",
            "DATABASE_URL",
        ] {
            assert!(found.iter().any(|f| f == name), "{name} in {found:?}");
        }
    }

    #[test]
    fn development_accepts_it() {
        let key = "11".repeat(32);
        let pairs = [
            ("CARACAL_MODE", "dev"),
            ("DATABASE_URL", "postgres://x"),
            ("ZONE_KEK", &key),
            ("CARACAL_ADMIN_TOKEN", "admin"),
            ("ISSUER_URL", "http://127.0.0.1:8080"),
            ("CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true"),
            ("ALLOW_PRIVATE_UPSTREAMS", "true"),
        ];
        assert_eq!(mistakes(&pairs), Vec::<String>::new());
    }
}
