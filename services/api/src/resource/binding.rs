//! What a resource has of the provider it is bound to: its mode, and the header it must not forward (contract §5). Who
//! binds holds the zone's providers as they are (`providers::hold`), and who changes one is alone (`providers::lock`).

use super::{ResourcePatch, ResourceView};
use crate::app::Api;
use crate::change::{By, Deed};
use crate::error::{Failure, Refusal};
use caracal_domain::id::{ProviderId, ZoneId};
use caracal_domain::upstream_oauth::Flow;
use caracal_domain::zone::{AuthMode, ProviderKind};
use caracal_storage::providers::ProviderRow;
use caracal_storage::resources::{self, ResourceChanges, ResourceRow};
use caracal_storage::{Conn, providers};
use serde_json::Value;

impl Api {
    /// Lets the resources of a provider follow what it has become (contract §5): their mode is that of its kind, and what
    /// they forward must not carry its credential.
    pub(crate) async fn follow_provider(
        &self,
        tx: &mut Conn,
        by: &By,
        provider: &ProviderRow,
    ) -> Result<(), Failure> {
        let mode = mode_of(provider.kind);
        for before in resources::following(tx, provider.zone_id, provider.id).await? {
            if check_credential_header(Some(provider), mode, &before.forward_headers).is_err() {
                let why = format!("is the name of a header that {} forwards", before.identifier);
                return Err(Failure::field("config_json.name", why));
            }
            if before.auth_mode == mode {
                continue;
            }
            let changes = ResourceChanges {
                auth_mode: Some(mode),
                ..ResourceChanges::default()
            };
            let row = resources::update(tx, provider.zone_id, before.id, &changes).await?;
            let deed = Deed::new(provider.zone_id, "resource.update", row.id)
                .from(&ResourceView::from(&before))
                .to(&ResourceView::from(&row));
            self.record(tx, by, deed, None).await?;
        }
        Ok(())
    }
}

/// A provider that is to be used, which must be live.
pub(super) async fn live_provider(
    conn: &mut Conn,
    zone: ZoneId,
    id: ProviderId,
) -> Result<ProviderRow, Failure> {
    let row = providers::find(conn, zone, id).await?;
    Ok(row.ok_or(Refusal::ProviderNotFound)?)
}

/// The provider that a changed resource has: one that is named must be live, one that was archived since stays until
/// another is named.
pub(super) async fn provider_of(
    conn: &mut Conn,
    before: &ResourceRow,
    patch: &ResourcePatch,
) -> Result<Option<ProviderRow>, Failure> {
    match (patch.credential_provider_id, before.credential_provider_id) {
        (Some(Some(named)), _) => Ok(Some(live_provider(conn, before.zone_id, named).await?)),
        (Some(None), _) | (None, None) => Ok(None),
        (None, Some(bound)) => Ok(providers::find_even_archived(conn, before.zone_id, bound).await?),
    }
}

/// The mode that goes with the provider's kind; `none` may always be chosen (contract §5).
pub(super) fn auth_mode(provider: Option<&ProviderRow>, wish: Option<AuthMode>) -> Result<AuthMode, Failure> {
    let natural = provider.map_or(AuthMode::CaracalJwt, |provider| mode_of(provider.kind));
    match wish {
        None => Ok(natural),
        Some(wish) if wish == natural || wish == AuthMode::None => Ok(wish),
        Some(_) => Err(Failure::field(
            "auth_mode",
            "follows the provider's kind; it may only be set to none",
        )),
    }
}

/// The header that carries the provider's key is the gateway's to set (contract §5, "Forwarding").
pub(super) fn check_credential_header(
    provider: Option<&ProviderRow>,
    mode: AuthMode,
    headers: &[String],
) -> Result<(), Failure> {
    let shows = provider.filter(|_| mode == AuthMode::ProviderApikey);
    let Some(taken) = shows.and_then(key_header) else {
        return Ok(());
    };
    match headers
        .iter()
        .position(|header| header.eq_ignore_ascii_case(taken))
    {
        Some(index) => Err(Failure::field(
            &format!("forward_headers.{index}"),
            "carries the provider's credential",
        )),
        None => Ok(()),
    }
}

/// The header an API key travels in. Every other credential is in `Authorization`, which is never forwarded, or in the
/// query.
fn key_header(provider: &ProviderRow) -> Option<&str> {
    if provider.kind.flow(&provider.config_json) != Flow::ApiKey {
        return None;
    }
    let setting = |name: &str| provider.config_json.get(name).and_then(Value::as_str);
    (setting("location") != Some("query")).then(|| setting("name").unwrap_or("X-API-Key"))
}

const fn mode_of(kind: ProviderKind) -> AuthMode {
    match kind {
        ProviderKind::Apikey | ProviderKind::ApiKey | ProviderKind::BearerToken => AuthMode::ProviderApikey,
        ProviderKind::Oauth2
        | ProviderKind::Oidc
        | ProviderKind::Workload
        | ProviderKind::Oauth2AuthorizationCode
        | ProviderKind::Oauth2ClientCredentials => AuthMode::ProviderOauth,
    }
}
