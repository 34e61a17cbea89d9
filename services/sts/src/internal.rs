//! `POST /internal/directives` and `POST /internal/credentials`: where a resource's calls go, and with which credential.
//! Gateways only.

use crate::app::Sts;
use crate::credential::{Credential, Holder};
use crate::directive::Directive;
use crate::error::{Failure, OAuthError};
use crate::view::ZoneView;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::zone::Resource;
use caracal_domain::{Epoch, Refusal, ResourceIdentifier};
use caracal_web::{CurrentRequestId, MinEpoch, NO_STORE, bearer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
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

/// Answers the directive of a resource the caller has seen a token for.
///
/// # Errors
/// The OAuth error that is the answer.
pub async fn directive(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    epoch: MinEpoch,
    body: Bytes,
) -> Result<HttpResponse, OAuthError> {
    let found = find(&sts, &request, epoch, &body).await;
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
    body: Bytes,
) -> Result<HttpResponse, OAuthError> {
    let had = Box::pin(have(&sts, &request, epoch, &body)).await;
    Ok(private(&had.map_err(|failure| failure.answering(id.0))?))
}

fn private(body: &impl Serialize) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    for header in NO_STORE {
        answer.insert_header(header);
    }
    answer.json(body)
}

async fn find(sts: &Sts, request: &HttpRequest, epoch: MinEpoch, body: &[u8]) -> Result<Directive, Failure> {
    let asked: DirectiveRequest = read(sts, request, body)?;
    let about = (asked.zone_id, asked.application_id, &asked.resource);
    let (view, resource) = known(sts, about, epoch).await?;
    Ok(Directive::of(&view, &asked.resource, &resource)?)
}

async fn have(
    sts: &Sts,
    request: &HttpRequest,
    epoch: MinEpoch,
    body: &[u8],
) -> Result<CredentialAnswer, Failure> {
    let asked: CredentialRequest = read(sts, request, body)?;
    let about = (asked.zone_id, asked.application_id, &asked.resource);
    let (view, resource) = known(sts, about, epoch).await?;
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

fn read<T: DeserializeOwned>(sts: &Sts, request: &HttpRequest, body: &[u8]) -> Result<T, Failure> {
    let key = bearer(request).ok_or(Refusal::InvalidClient)?;
    sts.gateway(&key.to_owned().into())?;
    Ok(serde_json::from_slice(body).map_err(|_| Refusal::MalformedForm)?)
}

async fn known(
    sts: &Sts,
    (zone, application, resource): (ZoneId, ApplicationId, &ResourceIdentifier),
    epoch: MinEpoch,
) -> Result<(Arc<ZoneView>, Arc<Resource>), Failure> {
    let at_least = epoch.get().map_err(|_| Refusal::MalformedEpoch)?;
    let view = sts.zones.view(zone, at_least).await?;
    let view = view.ok_or(Refusal::ResourceUnknownHere)?;
    sts.live(&view, application).ok_or(Refusal::BearerRevoked)?;
    let resource = sts.resource(&view, resource);
    Ok((view, resource.ok_or(Refusal::ResourceUnknownHere)?))
}
