//! What this gateway asks of the STS, and the only file that knows how: keys, introspection, directives, exchanges.

use crate::error::cause;
use bytes::Bytes;
use caracal_domain::id::{ApplicationId, ResourceId, ZoneId};
use caracal_domain::zone::{AuthMode, Operation};
use caracal_domain::{Epoch, RequestId, ResourceIdentifier, ScopeSet, Timestamp};
use caracal_egress::Internal;
use caracal_egress::body::{empty, full};
use caracal_jose::VerifyingKeys;
use caracal_lifecycle::BoxError;
use caracal_lifecycle::trace::{TRACEPARENT, current_traceparent};
use caracal_web::CARACAL_MIN_EPOCH;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Longer than the second the STS itself may wait for an epoch.
const PATIENCE: Duration = Duration::from_secs(3);

/// What `POST /internal/directives` is asked.
#[derive(Debug, Serialize)]
pub struct DirectiveRequest<'a> {
    /// The zone of the mandate.
    pub zone_id: ZoneId,
    /// The application it was issued to.
    pub application_id: ApplicationId,
    /// The resource as the call names it.
    pub resource: &'a ResourceIdentifier,
}

/// What `POST /internal/credentials` is asked.
#[derive(Debug, Serialize)]
pub struct CredentialRequest<'a> {
    /// The zone of the mandate.
    pub zone_id: ZoneId,
    /// The application it was issued to.
    pub application_id: ApplicationId,
    /// Its subject, if that is a user.
    pub user_id: Option<&'a str>,
    /// The resource as the call names it.
    pub resource: &'a ResourceIdentifier,
    /// The id of the credential that the upstream refused last time.
    pub rejected: Option<&'a str>,
}

/// What it answers.
#[derive(Debug, Deserialize)]
pub struct CredentialAnswer {
    /// The credential, in the modes that have one.
    #[serde(deserialize_with = "shared")]
    pub credential: Option<Arc<Credential>>,
    /// The epoch this shows.
    pub epoch: Epoch,
}

/// Where a resource's calls go.
#[derive(Debug, Deserialize)]
pub struct Directive {
    /// The resource.
    pub resource_id: ResourceId,
    /// The identifier asked for.
    pub identifier: ResourceIdentifier,
    /// Whether the resource covers what lies below its identifier.
    pub prefix: bool,
    /// The base of the upstream.
    pub url: Url,
    /// How to authenticate to it.
    pub auth_mode: AuthMode,
    /// With what, in the answer to an exchange and in the modes that have one.
    #[serde(default, deserialize_with = "shared")]
    pub credential: Option<Arc<Credential>>,
    /// When not empty, the only calls that pass.
    pub operations: Vec<Operation>,
    /// Request headers that pass beyond our own list.
    pub forward_headers: Vec<String>,
    /// The epoch this shows.
    pub epoch: Epoch,
}

/// A provider's credential, ready to be put in place.
#[derive(Debug, Deserialize)]
pub struct Credential {
    /// Where it goes.
    pub location: CredentialLocation,
    /// The header or parameter it goes into.
    pub name: String,
    /// What goes there.
    #[serde(deserialize_with = "secret")]
    pub value: SecretString,
    /// Which one of several it is.
    pub id: Option<String>,
    /// Until when it may be used; `None` for as long as the configuration stands.
    pub use_until: Option<Timestamp>,
}

/// Where a credential goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialLocation {
    /// Into a header.
    Header,
    /// Into a query parameter.
    Query,
}

/// What an exchange for one call answers.
#[derive(Debug, Deserialize)]
pub struct Exchanged {
    /// The mandate for this one call.
    #[serde(deserialize_with = "secret")]
    pub access_token: SecretString,
    /// The directive of the resource, by the identifier asked for.
    pub upstreams: HashMap<String, Directive>,
}

/// What an exchange for one call is asked for.
#[derive(Debug)]
pub struct ExchangeRequest<'a> {
    /// The caller's session token.
    pub subject_token: &'a SecretString,
    /// The resource as the call names it.
    pub resource: &'a ResourceIdentifier,
    /// The scopes it needs; `None` asks for what the session may have.
    pub scopes: Option<&'a ScopeSet>,
    /// The method of the call.
    pub method: &'a str,
    /// The path of the call, without its query.
    pub path: &'a str,
    /// The id of the credential that the upstream refused last time.
    pub rejected_credential: Option<&'a str>,
}

/// On whose behalf the STS is asked, and how current its answer must be.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The call.
    pub request_id: Option<&'a RequestId>,
    /// The epoch to decide at, or later.
    pub at_least: Option<Epoch>,
}

/// Why the STS gave no answer.
#[derive(Debug, Clone)]
pub enum StsError {
    /// It said no.
    Refused(Arc<StsRefusal>),
    /// It could not be reached, or answered nonsense.
    Unavailable,
}

/// A no of the STS, as it said it.
#[derive(Debug)]
pub struct StsRefusal {
    /// The status.
    pub status: StatusCode,
    /// The whole body: `error`, `error_description`, `reason`, and what a step-up adds.
    pub body: Map<String, Value>,
    /// Its challenge.
    pub www_authenticate: Option<HeaderValue>,
    /// When to come back.
    pub retry_after: Option<HeaderValue>,
}

impl StsRefusal {
    /// A member of the body that is text.
    #[must_use]
    pub fn text(&self, member: &str) -> &str {
        self.body.get(member).and_then(Value::as_str).unwrap_or_default()
    }
}

/// The STS, as this gateway may use it.
#[derive(Debug)]
pub struct StsClient {
    http: Internal,
    authorization: HeaderValue,
}

impl StsClient {
    /// A client for the STS at `base`, with the key all gateways share.
    ///
    /// # Errors
    /// TLS cannot be set up, or the key cannot stand in a header.
    pub fn new(base: Url, key: &SecretString) -> Result<Self, BoxError> {
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))?;
        authorization.set_sensitive(true);
        Ok(Self {
            http: Internal::new(base, PATIENCE)?,
            authorization,
        })
    }

    /// The public keys of a zone.
    ///
    /// # Errors
    /// [`StsError`]; a zone that does not exist is a refusal with status 404.
    pub async fn keys(&self, zone: ZoneId) -> Result<VerifyingKeys, StsError> {
        let request = Request::builder().uri(format!("/zones/{zone}/.well-known/jwks.json"));
        let answer = self
            .send(
                request,
                empty(),
                Asking {
                    request_id: None,
                    at_least: None,
                },
            )
            .await?;
        VerifyingKeys::from_jwks(&read(&answer)?).map_err(|error| {
            tracing::error!(error = cause(&error), "the STS answered no key set");
            StsError::Unavailable
        })
    }

    /// Whether a token is good, right now (RFC 7662).
    ///
    /// # Errors
    /// [`StsError`] when that cannot be known.
    pub async fn introspect(&self, token: &SecretString, asking: Asking<'_>) -> Result<bool, StsError> {
        #[derive(Deserialize)]
        struct Introspection {
            active: bool,
        }
        let answer = self
            .post_form("/oauth/2/introspect", &[("token", token.expose_secret())], asking)
            .await?;
        read::<Introspection>(&answer).map(|introspection| introspection.active)
    }

    /// The directive of a resource for the holder of a mandate.
    ///
    /// # Errors
    /// [`StsError`].
    pub async fn directive(
        &self,
        asked: &DirectiveRequest<'_>,
        asking: Asking<'_>,
    ) -> Result<Directive, StsError> {
        self.post_json("/internal/directives", asked, asking).await
    }

    /// The credential for calls of the holder of a mandate.
    ///
    /// # Errors
    /// [`StsError`].
    pub async fn credential(
        &self,
        asked: &CredentialRequest<'_>,
        asking: Asking<'_>,
    ) -> Result<CredentialAnswer, StsError> {
        self.post_json("/internal/credentials", asked, asking).await
    }

    /// Exchanges a session token for a mandate of this one call.
    ///
    /// # Errors
    /// [`StsError`].
    pub async fn exchange(
        &self,
        asked: &ExchangeRequest<'_>,
        asking: Asking<'_>,
    ) -> Result<Exchanged, StsError> {
        let scope = asked.scopes.map(ToString::to_string);
        let mut form = vec![
            ("subject_token", asked.subject_token.expose_secret()),
            ("resource", asked.resource.as_str()),
            ("method", asked.method),
            ("path", asked.path),
        ];
        if let Some(scope) = &scope {
            form.push(("scope", scope));
        }
        if let Some(id) = asked.rejected_credential {
            form.push(("rejected_credential", id));
        }
        read(&self.post_form("/oauth/2/token", &form, asking).await?)
    }

    async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        asked: &impl Serialize,
        asking: Asking<'_>,
    ) -> Result<T, StsError> {
        let body = serde_json::to_vec(asked).map_err(|_| StsError::Unavailable)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, "application/json");
        read(&self.send(request, full(body), asking).await?)
    }

    async fn post_form(
        &self,
        path: &str,
        form: &[(&str, &str)],
        asking: Asking<'_>,
    ) -> Result<Bytes, StsError> {
        let body = serde_urlencoded::to_string(form).map_err(|_| StsError::Unavailable)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, full(body), asking).await
    }

    async fn send(
        &self,
        mut request: http::request::Builder,
        body: caracal_egress::Body,
        asking: Asking<'_>,
    ) -> Result<Bytes, StsError> {
        request = request.header(AUTHORIZATION, &self.authorization);
        if let Some(id) = asking.request_id {
            request = request.header("x-request-id", id.as_str());
        }
        if let Some(epoch) = asking.at_least {
            request = request.header(CARACAL_MIN_EPOCH, epoch.get());
        }
        if let Some(traceparent) = current_traceparent() {
            request = request.header(TRACEPARENT, traceparent);
        }
        let request = request.body(body).map_err(|_| StsError::Unavailable)?;
        let answer = self.http.send(request).await.map_err(|error| {
            tracing::warn!(error = cause(&error), "the STS cannot be reached");
            StsError::Unavailable
        })?;
        if answer.status().is_success() {
            Ok(answer.into_body())
        } else {
            Err(refusal(answer))
        }
    }
}

fn refusal(answer: Response<Bytes>) -> StsError {
    let (head, body) = answer.into_parts();
    let Ok(body) = serde_json::from_slice(&body) else {
        tracing::error!(status = head.status.as_u16(), "the STS answered nonsense");
        return StsError::Unavailable;
    };
    let header = |name| head.headers.get(name).cloned();
    let (www_authenticate, retry_after) = (header(WWW_AUTHENTICATE), header(RETRY_AFTER));
    StsError::Refused(Arc::new(StsRefusal {
        status: head.status,
        body,
        www_authenticate,
        retry_after,
    }))
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, StsError> {
    serde_json::from_slice(answer).map_err(|error| {
        tracing::error!(
            line = error.line(),
            column = error.column(),
            "the STS answered something else"
        );
        StsError::Unavailable
    })
}

fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Credential>>, D::Error> {
    Ok(Option::<Credential>::deserialize(deserializer)?.map(Arc::new))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_is_read_and_its_credential_never_shown() {
        let directive: Directive = serde_json::from_value(serde_json::json!({
            "resource_id": "0198c0de-0000-7000-8000-000000000002", "identifier": "resource://orders", "prefix": false,
            "url": "http://127.0.0.1:9/", "auth_mode": "provider_apikey", "epoch": 7,
            "credential": {"location": "header", "name": "X-API-Key", "value": "s3cret"},
            "operations": [{"method": "GET", "path": "/orders", "scope": "orders:read"}], "forward_headers": ["X-Tenant"]
        }))
        .expect("a directive");
        assert_eq!(
            directive.credential.as_ref().map(|c| c.value.expose_secret()),
            Some("s3cret")
        );
        assert!(!format!("{directive:?}").contains("s3cret"));
    }
}
