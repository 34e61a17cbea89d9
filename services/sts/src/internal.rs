//! `POST /internal/directives` and `POST /internal/credentials`: where a resource's calls go, and with which credential.
//! Gateways only.

use crate::app::Sts;
use crate::credential::{Credential, Holder};
use crate::directive::Directive;
use crate::error::{Failure, OAuthError};
use crate::token::limited;
use crate::view::ZoneView;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::zone::Resource;
use caracal_domain::{Epoch, Refusal, RequestId, ResourceIdentifier};
use caracal_web::{CurrentRequestId, MinEpoch, NO_STORE, bearer, source_address};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What a gateway holds a token for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DirectiveRequest {
    zone_id: ZoneId,
    application_id: ApplicationId,
    resource: ResourceIdentifier,
}

/// For whose mandate it needs a credential.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialRequest {
    zone_id: ZoneId,
    application_id: ApplicationId,
    /// The mandate's subject, if it is a user.
    user_id: Option<String>,
    resource: ResourceIdentifier,
    /// The credential that the upstream refused last time.
    rejected: Option<String>,
}

#[derive(Serialize)]
struct CredentialAnswer {
    /// `null` in modes without one.
    credential: Option<Credential>,
    /// The epoch it shows.
    epoch: Epoch,
}

/// Answers the directive of a resource the caller has seen a token for. What a gateway is refused here it records itself,
/// as the refusal of the call that it asked for.
///
/// # Errors
/// The OAuth error that is the answer.
pub async fn directive(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    epoch: MinEpoch,
    body: Payload,
) -> Result<HttpResponse, OAuthError> {
    let asked = asked(&sts, &request, &id.0, body).await?;
    let found = find(&sts, epoch, asked).await;
    Ok(private(&found.map_err(|failure| failure.answering(id.0))?))
}

/// Answers the credential for calls under a mandate that the caller has verified.
///
/// # Errors
/// The OAuth error that is the answer.
pub async fn credential(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    epoch: MinEpoch,
    body: Payload,
) -> Result<HttpResponse, OAuthError> {
    let asked = asked(&sts, &request, &id.0, body).await?;
    let had = Box::pin(have(&sts, epoch, asked)).await;
    Ok(private(&had.map_err(|failure| failure.answering(id.0))?))
}

fn private(body: &impl Serialize) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    for header in NO_STORE {
        answer.insert_header(header);
    }
    answer.json(body)
}

/// What a gateway asks. Whoever is none, or asks nothing, is a stranger.
async fn asked<T: DeserializeOwned>(
    sts: &Sts,
    request: &HttpRequest,
    id: &RequestId,
    body: Payload,
) -> Result<T, OAuthError> {
    read(sts, request, body).await.map_err(|failure| {
        let source = source_address(request, &sts.trusted_proxies);
        let metadata = json!({"source": source, "endpoint": request.path()});
        sts.note_stranger(source, id, failure.reason(), metadata);
        failure.answering(id.clone())
    })
}

async fn read<T: DeserializeOwned>(sts: &Sts, request: &HttpRequest, body: Payload) -> Result<T, Failure> {
    let key = bearer(request).ok_or(Refusal::InvalidClient)?;
    sts.gateway(&key.to_owned().into())?;
    let body = limited(body).await?;
    Ok(serde_json::from_slice(&body).map_err(|_| Refusal::MalformedForm)?)
}

async fn find(sts: &Sts, epoch: MinEpoch, asked: DirectiveRequest) -> Result<Directive, Failure> {
    let view = view(sts, asked.zone_id, epoch).await?;
    let resource = known(sts, &view, asked.application_id, &asked.resource)?;
    Ok(Directive::of(&view, &asked.resource, &resource)?)
}

async fn have(sts: &Sts, epoch: MinEpoch, asked: CredentialRequest) -> Result<CredentialAnswer, Failure> {
    let view = view(sts, asked.zone_id, epoch).await?;
    let resource = known(sts, &view, asked.application_id, &asked.resource)?;
    let holder = Holder {
        application: asked.application_id,
        user: asked.user_id.as_deref(),
        rejected: asked.rejected.as_deref(),
        now: sts.clock.now(),
    };
    Ok(CredentialAnswer {
        credential: sts.credential(&view, &resource, holder).await?,
        epoch: view.epoch,
    })
}

async fn view(sts: &Sts, zone: ZoneId, epoch: MinEpoch) -> Result<Arc<ZoneView>, Failure> {
    let at_least = epoch.get().map_err(|_| Refusal::MalformedEpoch)?;
    let view = sts.zones.view(zone, at_least).await?;
    Ok(view.ok_or(Refusal::ResourceUnknownHere)?)
}

fn known(
    sts: &Sts,
    view: &ZoneView,
    application: ApplicationId,
    resource: &ResourceIdentifier,
) -> Result<Arc<Resource>, Refusal> {
    sts.live(view, application).ok_or(Refusal::BearerRevoked)?;
    sts.resource(view, resource).ok_or(Refusal::ResourceUnknownHere)
}
