//! `POST …/provider-connections/authorize`: where to send a user who is to consent.

use super::CALLBACK_PATH;
use crate::actor::{InZone, Write};
use crate::admin_token::sha256;
use crate::app::Api;
use crate::change::{By, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::reply;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_domain::Timestamp;
use caracal_domain::id::{ProviderId, ResourceId, ZoneId};
use caracal_jose::{Purpose, random_token};
use caracal_provider::{OauthProvider, Unasked};
use caracal_storage::connections::{self, NewState};
use caracal_storage::{providers, resources, subject_blocks};
use caracal_web::{ApiError, JsonBody, to_completion};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use url::Url;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

/// How long a user may take to consent (contract §1, "Connections").
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// The body of `POST …/provider-connections/authorize`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthorizeBody {
    /// Who is to consent.
    #[validate(length(min = 1, max = 512, message = "must be 1 to 512 characters"))]
    #[schema(min_length = 1, max_length = 512)]
    user_id: String,
    /// For which resource.
    resource_id: ResourceId,
    /// At which provider.
    provider_id: ProviderId,
    /// To what; what the provider is configured with when absent.
    #[validate(length(max = 64, message = "must hold at most 64"))]
    #[schema(max_items = 64)]
    scopes: Option<Vec<String>>,
}

/// Where to send the user.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the answer")]
pub(crate) struct Authorization {
    /// The address for the user's browser.
    #[schema(value_type = String)]
    authorization_url: Url,
    /// What the callback will bring; single use.
    state: String,
    /// Until when.
    expires_at: Timestamp,
}

/// Begins a user's consent at a provider.
///
/// Answers with the address to send the user to. State and PKCE verifier (S256) are ours.
#[utoipa::path(
    post,
    path = "/v1/zones/{zone_id}/provider-connections/authorize",
    request_body = AuthorizeBody,
    responses(
        (status = 200, description = "Where to send the user.", body = Authorization),
        (status = 400, description = "`invalid_body`: also a provider that users cannot connect to, or that is not the resource's"),
        (status = 404, description = "`resource_not_found`, `provider_not_found`"),
        (status = 409, description = "`subject_blocked`, `idempotency_key_conflict`, `idempotency_key_in_flight`"),
        (status = 502, description = "`provider_discovery_failed`"),
    )
)]
pub(crate) async fn authorize(
    api: Data<Api>,
    request: InZone<Write, JsonBody<AuthorizeBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let begun = to_completion(async move { api.authorize_connection(&by, zone.id, body).await }).await?;
    Ok(reply::written(StatusCode::OK, begun.epoch)
        .insert_header(("Cache-Control", "no-store"))
        .json(begun.value))
}

impl Api {
    async fn authorize_connection(
        &self,
        by: &By,
        zone: ZoneId,
        body: AuthorizeBody,
    ) -> Result<Written<Authorization>, ApiError> {
        check_texts(&body)?;
        let (provider, provider_version) = self.connectable(zone, &body).await?;
        let provider = self.asker.discovered(provider).await.map_err(undiscovered)?;
        let mut scopes = body.scopes.unwrap_or_else(|| provider.settings.scopes.clone());
        let mut seen = HashSet::new();
        scopes.retain(|scope| seen.insert(scope.clone()));
        let (state, verifier) = (draw()?, draw()?);
        let challenge = URL_SAFE_NO_PAD.encode(sha256(&verifier));
        let url = provider
            .settings
            .authorization_url(&self.callback_url(), &state, &challenge, &scopes);
        let url = url.map_err(|why| Failure::field("provider_id", why.to_string()))?;
        let state_sha256 = sha256(&state);
        let expires_at = self.clock.now() + PATIENCE;
        let mut tx = self.database.begin(zone).await.map_err(Failure::from)?;
        let dek = self.dek(&mut tx, zone).await?;
        let sealed = dek.seal(
            zone,
            Purpose::ConnectionToken,
            row_of(&state_sha256),
            verifier.as_bytes(),
        );
        let new = NewState {
            zone_id: zone,
            state_sha256,
            user_id: body.user_id,
            resource_id: body.resource_id,
            provider_id: body.provider_id,
            provider_version,
            scopes,
            verifier: sealed.map_err(Failure::from)?,
            created_by: by.name(),
            expires_at,
        };
        connections::insert_state(&mut tx, &new)
            .await
            .map_err(Failure::from)?;
        let begun = json!({
            "user_id": new.user_id, "resource_id": new.resource_id, "provider_id": new.provider_id,
            "scopes": new.scopes, "expires_at": new.expires_at,
        });
        let authorization = Authorization {
            authorization_url: url,
            state,
            expires_at,
        };
        // Whoever repeats the request needs the state again: it is in the address, and no use without the provider's code.
        let deed = Deed::new(zone, "connection.authorize", new.provider_id).to(&begun);
        let deed = deed.answered(StatusCode::OK, &authorization);
        let epoch = self.epoch_of(&mut tx, by, zone).await?;
        self.record(&mut tx, by, deed, Some(epoch)).await?;
        tx.commit().await.map_err(Failure::from)?;
        Ok(Written {
            value: authorization,
            epoch,
        })
    }

    /// The provider, if users can connect to it, and the version of it that this is.
    async fn connectable(&self, zone: ZoneId, body: &AuthorizeBody) -> Result<(OauthProvider, i64), Failure> {
        let mut conn = self.database.acquire(zone).await?;
        if subject_blocks::blocked_until(&mut conn, zone, &body.user_id)
            .await?
            .is_some()
        {
            return Err(Refusal::SubjectBlocked.into());
        }
        let resource = resources::find(&mut conn, zone, body.resource_id)
            .await?
            .ok_or(Refusal::ResourceNotFound)?;
        let row = providers::find(&mut conn, zone, body.provider_id).await?;
        let row = row.ok_or(Refusal::ProviderNotFound)?;
        let provider = self.oauth_provider(&mut conn, &row).await?;
        if !provider.flow.is_consented() {
            let why = "is not a provider that users connect to";
            return Err(Failure::field("provider_id", why));
        }
        if resource.credential_provider_id != Some(row.id) {
            return Err(Failure::field("resource_id", "is not bound to this provider"));
        }
        Ok((provider, row.version))
    }

    /// Where a provider sends the user back to.
    pub(crate) fn callback_url(&self) -> String {
        format!("{}{CALLBACK_PATH}", self.public_url)
    }
}

/// What a consent under way is sealed for: its state's hash is its name.
pub(super) fn row_of(state_sha256: &[u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(state_sha256)
        .for_each(|(to, from)| *to = *from);
    Uuid::from_bytes(bytes)
}

fn draw() -> Result<String, Failure> {
    Ok(random_token("")?.expose_secret().to_owned())
}

fn check_texts(body: &AuthorizeBody) -> Result<(), Failure> {
    if body.user_id.trim().is_empty() || body.user_id.chars().any(char::is_control) {
        return Err(Failure::field(
            "user_id",
            "must not be blank or hold control characters",
        ));
    }
    // RFC 6749 §3.3.
    let token = |byte: u8| byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte);
    for (place, scope) in body.scopes.iter().flatten().enumerate() {
        if !(1..=200).contains(&scope.len()) || !scope.bytes().all(token) {
            let why = "must be 1 to 200 characters of an OAuth scope";
            return Err(Failure::field(&format!("scopes.{place}"), why));
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn undiscovered(why: Unasked) -> ApiError {
    match why {
        Unasked::NotReady(why) => Failure::field("provider_id", why.to_string()).into(),
        Unasked::PrivateKey | Unasked::Asked(_) => {
            tracing::warn!(%why, "a provider could not be discovered");
            Refusal::ProviderDiscoveryFailed.into()
        }
    }
}
