//! Token requests and discovery at somebody else's authorization server: small answers, soon or not at all.

use crate::body::{Body, empty, full};
use crate::error::EgressError;
use crate::upstreams::Upstreams;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use caracal_domain::upstream_oauth::{Discovery, TokenAnswer, TokenRequest, UnusableAnswer, token_error};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Limited};
use std::time::Duration;
use url::form_urlencoded;

/// How long such an answer may take, and how long it may be (architecture, "Everything that leaves the house").
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 256 * 1024;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Nobody answered, or may be asked.
    #[error("asking the provider")]
    Egress(#[from] EgressError),
    /// The server refused; its own `error`, if it gave one.
    #[error("the provider answered {status} {}", .error.as_deref().unwrap_or("without a reason"))]
    Refused {
        /// The status.
        status: u16,
        /// `error` (RFC 6749 §5.2).
        error: Option<String>,
    },
    /// The answer cannot be used.
    #[error("reading the provider's answer")]
    Unusable(#[from] UnusableAnswer),
}

impl Upstreams {
    /// Sends a request and reads the whole answer: at most 256 KiB within five seconds.
    ///
    /// # Errors
    /// [`EgressError`].
    pub async fn fetch(&self, request: Request<Body>) -> Result<Response<Bytes>, EgressError> {
        let fetched = async {
            let (head, body) = self.send(request).await?.into_parts();
            let body = Limited::new(body, MAX_BYTES).collect().await;
            let body = body.map_err(EgressError::Unreachable)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        match tokio::time::timeout(PATIENCE, fetched).await {
            Ok(answer) => answer,
            Err(_) => Err(EgressError::Timeout),
        }
    }

    /// Whether anybody answers at an address, whatever the answer: its status.
    ///
    /// # Errors
    /// [`EgressError`].
    pub async fn probe(&self, url: &str) -> Result<u16, EgressError> {
        let request = Request::get(url).body(empty());
        let request = request.map_err(|error| EgressError::Unreachable(error.into()))?;
        match tokio::time::timeout(PATIENCE, self.send(request)).await {
            Ok(answer) => Ok(answer?.status().as_u16()),
            Err(_) => Err(EgressError::Timeout),
        }
    }

    /// Asks a token endpoint.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn token(&self, request: &TokenRequest) -> Result<TokenAnswer, TokenError> {
        let answer = self.fetch(post(request)?).await?;
        if answer.status().is_success() {
            return Ok(TokenAnswer::parse(answer.body())?);
        }
        Err(TokenError::Refused {
            status: answer.status().as_u16(),
            error: token_error(answer.body()),
        })
    }

    /// Gives a token back; every 2xx means that it is gone (RFC 7009 §2.2).
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn revoke(&self, request: &TokenRequest) -> Result<(), TokenError> {
        let answer = self.fetch(post(request)?).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(TokenError::Refused {
            status: answer.status().as_u16(),
            error: token_error(answer.body()),
        })
    }

    /// Reads the discovery document of an issuer.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn discover(&self, issuer: &str) -> Result<Discovery, TokenError> {
        let request = Request::get(Discovery::address(issuer))
            .header(ACCEPT, "application/json")
            .body(empty())
            .map_err(|error| EgressError::Unreachable(error.into()))?;
        let answer = self.fetch(request).await?;
        if !answer.status().is_success() {
            return Err(TokenError::Refused {
                status: answer.status().as_u16(),
                error: None,
            });
        }
        Ok(Discovery::parse(answer.body(), issuer)?)
    }
}

fn post(request: &TokenRequest) -> Result<Request<Body>, EgressError> {
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&request.form)
        .finish();
    let mut builder = Request::post(request.endpoint.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json");
    if let Some((name, secret)) = &request.basic {
        builder = builder.header(AUTHORIZATION, basic(name, secret)?);
    }
    builder
        .body(full(form))
        .map_err(|error| EgressError::Unreachable(error.into()))
}

/// Name and secret are form-encoded first (RFC 6749 §2.3.1).
fn basic(name: &str, secret: &str) -> Result<HeaderValue, EgressError> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encoded(name), encoded(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {pair}"))
        .map_err(|error| EgressError::Unreachable(error.into()))?;
    value.set_sensitive(true);
    Ok(value)
}
