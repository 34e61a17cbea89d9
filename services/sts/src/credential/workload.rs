//! Workload identity: a short-lived assertion that the zone signs for the provider's audience, to be checked against the
//! zone's published keys. Its `typ` is `JWT`, so it is never one of our own access tokens (`at+jwt`, RFC 9068).

use super::asked::Wish;
use super::{Credential, margin};
use crate::app::Sts;
use crate::error::Failure;
use caracal_domain::Refusal;
use caracal_domain::id::TokenId;
use caracal_domain::zone::Resource;
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::json;

const DEFAULT_SECONDS: i64 = 300;
/// Longer is shortened: a key that is rotated out is published no longer than the longest token of ours lives.
const MAX_SECONDS: i64 = 3600;

#[derive(Deserialize)]
struct Config {
    audience: String,
    /// The application that calls, unless something else is configured.
    subject: Option<String>,
    ttl_seconds: Option<i64>,
}

impl Sts {
    /// Signs one.
    pub(super) fn assertion_for(&self, wish: &Wish<'_>, resource: &Resource) -> Result<Credential, Failure> {
        let config = Config::deserialize(&wish.provider.config).map_err(|_| Refusal::ProviderNotReady)?;
        let (zone, holder) = (&wish.zone, wish.holder);
        let seconds = config
            .ttl_seconds
            .unwrap_or(DEFAULT_SECONDS)
            .clamp(1, MAX_SECONDS);
        let lifetime = TimeDelta::seconds(seconds);
        let (issued, ends) = (holder.now, holder.now + lifetime);
        let claims = json!({
            "iss": self.issuer(zone.config.id),
            "sub": config.subject.unwrap_or_else(|| holder.application.to_string()),
            "aud": config.audience,
            "iat": issued.timestamp(), "nbf": issued.timestamp(), "exp": ends.timestamp(),
            "jti": TokenId::mint(&*self.clock),
            "zone_id": zone.config.id, "client_id": holder.application, "resource": resource.identifier,
        });
        let assertion = zone.signer.sign_assertion(&claims)?;
        Ok(Credential::bearer(
            &assertion,
            None,
            Some(ends - margin(lifetime)),
        ))
    }
}
