//! `POST /internal/directives`: where a resource's calls go and with which credential. Gateways only.

use crate::app::Sts;
use crate::directive::Directive;
use crate::error::{Failure, OAuthError};
use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::{Refusal, ResourceIdentifier};
use caracal_web::{CurrentRequestId, MinEpoch, NO_STORE, bearer};
use serde::Deserialize;

/// What a gateway holds a mandate for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DirectiveRequest {
    zone_id: ZoneId,
    application_id: ApplicationId,
    resource: ResourceIdentifier,
}

/// Answers the directive of a resource the caller has seen a mandate for.
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
    let found = find(&sts, &request, epoch, &body)
        .await
        .map_err(|failure| failure.answering(id.0))?;
    let mut answer = HttpResponse::Ok();
    for header in NO_STORE {
        answer.insert_header(header);
    }
    Ok(answer.json(found))
}

async fn find(sts: &Sts, request: &HttpRequest, epoch: MinEpoch, body: &[u8]) -> Result<Directive, Failure> {
    let key = bearer(request).ok_or(Refusal::InvalidClient)?;
    sts.gateway(&key.to_owned().into())?;
    let asked: DirectiveRequest = serde_json::from_slice(body).map_err(|_| Refusal::MalformedForm)?;
    let at_least = epoch.get().map_err(|_| Refusal::MalformedEpoch)?;
    let view = sts
        .zones
        .view(asked.zone_id, at_least)
        .await?
        .ok_or(Refusal::ResourceUnknownHere)?;
    sts.live(&view, asked.application_id)
        .ok_or(Refusal::BearerRevoked)?;
    let resource = sts
        .resource(&view, &asked.resource)
        .ok_or(Refusal::ResourceUnknownHere)?;
    sts.directive(&view, &asked.resource, &resource)
}
