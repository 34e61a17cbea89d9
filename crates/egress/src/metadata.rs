//! Small documents from outside: key sets and discovery. 256 KiB and 5 s, whatever the other side does.

use crate::body::{BoxError, empty};
use crate::error::EgressError;
use crate::policy::{EgressPolicy, check_url};
use crate::upstreams::Upstreams;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::net::SocketAddr;
use std::time::Duration;

const MAX_BYTES: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The destination is not allowed, or could not be reached in time.
    #[error("the document could not be fetched")]
    Egress(#[source] EgressError),
    /// The answer is not 200; a redirect is such an answer.
    #[error("the answer has status {0}")]
    Status(StatusCode),
    /// The document is larger than 256 KiB.
    #[error("the document is too large")]
    TooLarge,
}

/// Fetches documents from allowed destinations.
#[derive(Debug, Clone)]
pub struct Metadata {
    http: Upstreams,
    policy: EgressPolicy,
}

impl Metadata {
    /// A fetcher under `policy` that never reaches `own`, as for [`Upstreams::new`].
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(policy: EgressPolicy, own: Vec<SocketAddr>) -> Result<Self, BoxError> {
        Ok(Self {
            http: Upstreams::new(policy.clone(), own)?.with_answer_timeout(PATIENCE),
            policy,
        })
    }

    /// The document at `url`: one GET, no redirects, the whole of it within 5 s.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&self, url: &str) -> Result<Bytes, FetchError> {
        let url =
            check_url(&self.policy, url).map_err(|why| FetchError::Egress(EgressError::Forbidden(why)))?;
        match tokio::time::timeout(PATIENCE, self.get(url.as_str())).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError::Egress(EgressError::Timeout)),
        }
    }

    async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let unreachable = |error: BoxError| FetchError::Egress(EgressError::Unreachable(error));
        let request = Request::get(url)
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .body(empty())
            .map_err(|error| unreachable(error.into()))?;
        let answer = self.http.send(request).await.map_err(FetchError::Egress)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => FetchError::TooLarge,
            None => unreachable(error),
        })?;
        Ok(body.to_bytes())
    }
}
