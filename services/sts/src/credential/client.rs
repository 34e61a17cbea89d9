//! Client credentials (RFC 6749 §4.4): one token for all calls of a zone through a provider.

use super::asked::{Wish, refusal};
use super::{Credential, margin};
use crate::app::Sts;
use crate::error::Failure;
use crate::view::Zone;
use caracal_domain::Clock;
use caracal_domain::Timestamp;
use caracal_domain::id::TokenId;
use caracal_domain::upstream_oauth::{Grant, TokenAnswer};
use caracal_domain::zone::Provider;
use caracal_provider::{Asker, OauthProvider};
use chrono::TimeDelta;
use std::sync::Arc;

/// How long a token is used whose server does not say how long it lives.
const UNSAID: TimeDelta = TimeDelta::minutes(1);

impl Sts {
    /// The token, kept or asked for.
    pub(super) async fn client_token(&self, wish: &Wish<'_>) -> Result<Credential, Failure> {
        let key = (wish.zone.config.id, wish.provider.id);
        let place = self.credentials.clients.get_with(key, Arc::default);
        let (zone, provider) = (Arc::clone(wish.zone), Arc::clone(wish.provider));
        let (asker, clock) = (self.credentials.asker.clone(), Arc::clone(&self.clock));
        let fetch = move || async move { fetch(&asker, &zone, &provider, &*clock).await };
        place.through(wish.need(None), fetch).await
    }
}

async fn fetch(
    asker: &Asker,
    zone: &Zone,
    provider: &Provider,
    clock: &dyn Clock,
) -> Result<Credential, Failure> {
    let opened = OauthProvider::open(&zone.dek, zone.config.id, provider)?;
    let asked_at = clock.now();
    let answer = asker.token(&opened, &Grant::ClientCredentials).await;
    let answer = answer.map_err(|why| refusal(provider, &why))?;
    let id = TokenId::mint(clock).to_string();
    Ok(Credential::bearer(
        &answer.access_token,
        Some(id),
        Some(use_until(asked_at, &answer)),
    ))
}

fn use_until(asked_at: Timestamp, answer: &TokenAnswer) -> Timestamp {
    let lifetime = answer.expires_in.map(TimeDelta::seconds);
    asked_at + lifetime.map_or(UNSAID, |lifetime| lifetime - margin(lifetime))
}
