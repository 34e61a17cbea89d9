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

/// Answers the directive of a resource the caller has seen a token for.
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
    let found = find(&sts, &request, epoch, body).await;
    Ok(private(
        &found.map_err(|stopped| stopped.noted(&sts, &request, id.0))?,
    ))
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
    let had = Box::pin(have(&sts, &request, epoch, body)).await;
    Ok(private(
        &had.map_err(|stopped| stopped.noted(&sts, &request, id.0))?,
    ))
}

fn private(body: &impl Serialize) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    for header in NO_STORE {
        answer.insert_header(header);
    }
    answer.json(body)
}

/// Why a gateway is not answered, and in which zone it asked, once there is one.
struct Stopped {
    failure: Failure,
    zone: Option<ZoneId>,
}

impl Stopped {
    fn anywhere(failure: impl Into<Failure>) -> Self {
        Self {
            failure: failure.into(),
            zone: None,
        }
    }

    fn of(view: &ZoneView) -> impl Fn(Failure) -> Self {
        let zone = view.zone.config.id;
        move |failure| Self {
            failure,
            zone: Some(zone),
        }
    }

    /// As the answer, with a word in the ledger.
    fn noted(self, sts: &Sts, request: &HttpRequest, id: RequestId) -> OAuthError {
        let (reason, endpoint) = (self.failure.reason(), request.path());
        let source = source_address(request, &sts.trusted_proxies);
        let metadata = json!({"source": source, "endpoint": endpoint});
        match self.zone {
            Some(zone) => sts.note_refused(zone, &id, reason, metadata),
            None => sts.note_stranger(source, &id, reason, metadata),
        }
        self.failure.answering(id)
    }
}

async fn find(
    sts: &Sts,
    request: &HttpRequest,
    epoch: MinEpoch,
    body: Payload,
) -> Result<Directive, Stopped> {
    let asked: DirectiveRequest = read(sts, request, body).await.map_err(Stopped::anywhere)?;
    let view = view(sts, asked.zone_id, epoch).await.map_err(Stopped::anywhere)?;
    let known = known(sts, &view, asked.application_id, &asked.resource);
    let directive = known.and_then(|resource| Directive::of(&view, &asked.resource, &resource));
    directive.map_err(Failure::from).map_err(Stopped::of(&view))
}

async fn have(
    sts: &Sts,
    request: &HttpRequest,
    epoch: MinEpoch,
    body: Payload,
) -> Result<CredentialAnswer, Stopped> {
    let asked: CredentialRequest = read(sts, request, body).await.map_err(Stopped::anywhere)?;
    let view = view(sts, asked.zone_id, epoch).await.map_err(Stopped::anywhere)?;
    let resource = known(sts, &view, asked.application_id, &asked.resource);
    let resource = resource.map_err(Failure::from).map_err(Stopped::of(&view))?;
    let holder = Holder {
        application: asked.application_id,
        user: asked.user_id.as_deref(),
        rejected: asked.rejected.as_deref(),
        now: sts.clock.now(),
    };
    let credential = sts.credential(&view, &resource, holder).await;
    Ok(CredentialAnswer {
        credential: credential.map_err(Stopped::of(&view))?,
        epoch: view.epoch,
    })
}

async fn read<T: DeserializeOwned>(sts: &Sts, request: &HttpRequest, body: Payload) -> Result<T, Failure> {
    let key = bearer(request).ok_or(Refusal::InvalidClient)?;
    sts.gateway(&key.to_owned().into())?;
    let body = limited(body).await?;
    Ok(serde_json::from_slice(&body).map_err(|_| Refusal::MalformedForm)?)
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
