//! `POST /oauth/2/token`: wire in, wire out.

use crate::app::Sts;
use crate::authenticate::{Known, Presented};
use crate::directive::Directive;
use crate::error::{Failure, OAuthError};
use crate::exchange::{Exchange, Granted, Issued};
use crate::form::TokenRequest;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::id::ZoneId;
use caracal_domain::zone::AuthMode;
use caracal_domain::{Epoch, Refusal, RequestId, ResourceIdentifier};
use caracal_jose::Unverified;
use caracal_web::{CurrentRequestId, MinEpoch, NO_STORE, source_address, to_completion, zone_epoch};
use futures::StreamExt;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
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
        let mut exchange = Exchange::new(form, request_id, self.clock.now());
        let served = self
            .serve_known(&mut exchange, headers, source, epoch, named)
            .await;
        let outcome = served.as_ref().map_or_else(Failure::reason, |_| "issued");
        self.metrics.exchanged(outcome);
        served
    }

    /// First the client, then what it asks for. What is refused to it before it is known is noted among strangers, and the
    /// rest in its own zone.
    async fn serve_known(
        &self,
        exchange: &mut Exchange,
        headers: &HeaderMap,
        source: IpAddr,
        epoch: MinEpoch,
        named: Value,
    ) -> Result<Issued, Failure> {
        let client = self.client(&mut exchange.request, headers, source, epoch).await;
        let (known, at_least) = client.inspect_err(|failure| {
            self.note_stranger(source, &exchange.request_id, failure.reason(), named.clone());
        })?;
        let (view, who, is_gateway) = (Arc::clone(&known.view), known.who(), known.is_gateway());
        let served = if is_gateway && exchange.request.lacks_a_call() {
            Err(Refusal::CallMissing.into())
        } else {
            match self.let_in(known, at_least).await {
                Ok(client) => self.exchange(client, exchange).await,
                Err(failure) if failure.is_of_client() => {
                    self.note_stranger(source, &exchange.request_id, failure.reason(), named);
                    return Err(failure);
                }
                Err(failure) => Err(failure),
            }
        };
        if let Err(failure) = &served
            && !matches!(failure, Failure::Denied { .. } | Failure::Held(_))
        {
            let token = exchange.request.subject_token.as_ref();
            if is_gateway && !self.is_of_zone(Arc::clone(&view), token).await {
                let who = serde_json::json!({"caller": "gateway", "source": source});
                self.note_stranger(source, &exchange.request_id, failure.reason(), who);
            } else {
                self.note_refused_exchange(&view, exchange, failure.reason(), &who);
            }
        }
        served
    }

    async fn client(
        &self,
        form: &mut TokenRequest,
        headers: &HeaderMap,
        source: IpAddr,
        epoch: MinEpoch,
    ) -> Result<(Known, Option<Epoch>), Failure> {
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
        let known = self.authenticate(presented, zone, source).await?;
        Ok((known, at_least))
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
