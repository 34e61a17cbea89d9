//! `POST /oauth/2/token`: wire in, wire out.

use crate::app::Sts;
use crate::authenticate::{Authenticated, Caller, Presented};
use crate::directive::Directive;
use crate::error::{Failure, OAuthError};
use crate::exchange::{Exchange, Granted, Issued};
use crate::form::TokenRequest;
use crate::view::ZoneView;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::id::ZoneId;
use caracal_domain::zone::AuthMode;
use caracal_domain::{Refusal, RequestId, ResourceIdentifier};
use caracal_jose::Unverified;
use caracal_web::{CurrentRequestId, MinEpoch, NO_STORE, source_address, to_completion, zone_epoch};
use futures::StreamExt;
use secrecy::ExposeSecret;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const MAX_FORM_BYTES: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Exchanges what the caller has for a narrower, shorter-lived token (RFC 8693).
///
/// # Errors
/// The OAuth error that is the answer.
pub async fn exchange(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    epoch: MinEpoch,
    body: Payload,
) -> Result<HttpResponse, OAuthError> {
    answer(sts, request, id.0, epoch, body, None).await
}

/// The same at the zone's own token endpoint.
///
/// # Errors
/// The OAuth error that is the answer.
pub async fn exchange_in_zone(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    epoch: MinEpoch,
    zone: Path<String>,
    body: Payload,
) -> Result<HttpResponse, OAuthError> {
    answer(sts, request, id.0, epoch, body, Some(&zone)).await
}

async fn answer(
    sts: Data<Sts>,
    request: HttpRequest,
    request_id: RequestId,
    epoch: MinEpoch,
    body: Payload,
    zone: Option<&str>,
) -> Result<HttpResponse, OAuthError> {
    let source = source_address(&request, &sts.trusted_proxies);
    let form = match read(&request, body, zone).await {
        Ok(form) => form,
        Err(failure) => {
            sts.note_stranger(
                source,
                &request_id,
                failure.reason(),
                serde_json::json!({"source": source}),
            );
            sts.metrics.exchanged(failure.reason());
            return Err(failure.answering(request_id));
        }
    };
    let headers = request.headers().clone();
    let id = request_id.clone();
    let issued = to_completion(async move { sts.serve(form, &headers, source, epoch, id).await }).await;
    match issued {
        Ok(issued) => Ok(success(issued)),
        Err(failure) => Err(failure.answering(request_id)),
    }
}

async fn read(request: &HttpRequest, body: Payload, zone: Option<&str>) -> Result<TokenRequest, Failure> {
    let zone: Option<ZoneId> = zone
        .map(str::parse)
        .transpose()
        .map_err(|_| Refusal::MalformedId)?;
    if !is_form(request.headers()) {
        return Err(Failure::UnsupportedMediaType);
    }
    let bytes = limited(body).await?;
    if !request.query_string().is_empty() {
        return Err(Refusal::QueryNotAllowed.into());
    }
    let mut form = TokenRequest::parse(&bytes)?;
    match (form.zone_id, zone) {
        (Some(named), Some(endpoint)) if named != endpoint => Err(Refusal::RepeatedParameter.into()),
        (named, endpoint) => {
            form.zone_id = named.or(endpoint);
            Ok(form)
        }
    }
}

/// Whether the body says it is a form.
#[must_use]
pub fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The body, up to 64 KiB, if it arrives in time.
///
/// # Errors
/// [`Failure::PayloadTooLarge`], [`Failure::BodyTimeout`], or [`Refusal::MalformedForm`] when it breaks off.
pub async fn limited(body: Payload) -> Result<Bytes, Failure> {
    let arrived = tokio::time::timeout(BODY_PATIENCE, collected(body)).await;
    arrived.unwrap_or(Err(Failure::BodyTimeout))
}

async fn collected(mut body: Payload) -> Result<Bytes, Failure> {
    let mut bytes = actix_web::web::BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Refusal::MalformedForm)?;
        if bytes.len() + chunk.len() > MAX_FORM_BYTES {
            return Err(Failure::PayloadTooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

impl Sts {
    async fn serve(
        &self,
        form: TokenRequest,
        headers: &HeaderMap,
        source: IpAddr,
        epoch: MinEpoch,
        request_id: RequestId,
    ) -> Result<Issued, Failure> {
        let named = serde_json::json!({
            "application_id": form.application_id, "zone_id": form.zone_id, "source": source,
        });
        let mut exchange = Exchange {
            request: form,
            request_id,
            now: self.clock.now(),
        };
        let client = match self.client(&mut exchange.request, headers, source, epoch).await {
            Ok(client) => client,
            Err(failure) => {
                self.note_stranger(source, &exchange.request_id, failure.reason(), named);
                self.metrics.exchanged(failure.reason());
                return Err(failure);
            }
        };
        let (view, caller) = (Arc::clone(&client.view), client.caller.clone());
        let outcome = if matches!(caller, Caller::Gateway) && exchange.request.lacks_a_call() {
            Err(Refusal::CallMissing.into())
        } else {
            self.exchange(client, &exchange).await
        };
        match &outcome {
            Ok(_) => self.metrics.exchanged("issued"),
            Err(failure) => {
                self.metrics.exchanged(failure.reason());
                if !matches!(failure, Failure::Denied { .. } | Failure::Held(_)) {
                    self.note_failed(view, &caller, &exchange, source, failure.reason())
                        .await;
                }
            }
        }
        outcome
    }

    async fn note_failed(
        &self,
        view: Arc<ZoneView>,
        caller: &Caller,
        exchange: &Exchange,
        source: IpAddr,
        reason: &str,
    ) {
        let id = &exchange.request_id;
        match caller {
            Caller::Application(application) => {
                let who = serde_json::json!({"application_id": application.id});
                self.note_refused(view.zone.config.id, id, reason, who);
            }
            Caller::Gateway => {
                let token = exchange.request.subject_token.as_ref();
                let who = serde_json::json!({"caller": "gateway", "source": source});
                self.note_of_gateway(view, token, source, id, reason, who).await;
            }
        }
    }

    async fn client(
        &self,
        form: &mut TokenRequest,
        headers: &HeaderMap,
        source: IpAddr,
        epoch: MinEpoch,
    ) -> Result<Authenticated, Failure> {
        let at_least = epoch.get().map_err(|_| Refusal::MalformedEpoch)?;
        let presented = Presented::read(headers, form)?;
        if matches!(presented, Presented::Application { .. }) && form.is_of_a_call() {
            return Err(Refusal::NotSupported.into());
        }
        let zone = match (form.zone_id, &presented, &form.subject_token) {
            (None, Presented::GatewayKey(_), Some(token)) => {
                // Only a hint of where to look the key up; the token is verified there.
                Unverified::parse(token.expose_secret())
                    .ok()
                    .map(|token| token.zone_hint())
            }
            (named, ..) => named,
        };
        self.authenticate(presented, zone, source, at_least).await
    }
}

/// RFC 8693 §2.2.1, and what Caracal adds.
#[derive(Serialize)]
struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
    issued_token_type: &'static str,
    target_resources: Vec<ResourceIdentifier>,
    upstreams: BTreeMap<String, Upstream>,
}

/// Where a resource's calls go; a credential is named to gateways only.
#[derive(Serialize)]
#[serde(untagged)]
enum Upstream {
    Directive(Box<Directive>),
    Named {
        url: Option<url::Url>,
        auth_mode: AuthMode,
    },
}

impl From<Granted> for (String, Upstream) {
    fn from(granted: Granted) -> Self {
        let upstream = match granted.directive {
            Some(directive) => Upstream::Directive(Box::new(directive)),
            None => Upstream::Named {
                url: granted.resource.upstream_url.clone(),
                auth_mode: granted.resource.auth_mode,
            },
        };
        (granted.identifier.into(), upstream)
    }
}

fn success(issued: Issued) -> HttpResponse {
    let target_resources = issued
        .targets
        .iter()
        .map(|granted| granted.identifier.clone())
        .collect();
    let mut answer = HttpResponse::Ok();
    for header in NO_STORE {
        answer.insert_header(header);
    }
    answer
        .insert_header(zone_epoch(issued.epoch))
        .json(TokenResponse {
            access_token: issued.access_token,
            token_type: "Bearer",
            expires_in: issued.expires_in,
            scope: issued.scope.to_string(),
            issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
            target_resources,
            upstreams: issued.targets.into_iter().map(Into::into).collect(),
        })
}
