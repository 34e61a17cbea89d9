//! Small documents from outside: key sets and discovery. 256 KiB and 5 s, whatever the other side does.

use crate::body::{BoxError, empty};
use crate::error::EgressError;
use crate::own::Own;
use crate::policy::{EgressPolicy, check_url};
use crate::upstreams::Upstreams;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use http_body_util::LengthLimitError;

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
    pub fn new(policy: EgressPolicy, own: impl Into<Own>) -> Result<Self, BoxError> {
        Ok(Self {
            http: Upstreams::new(policy.clone(), own)?,
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
        let request = Request::get(url.as_str())
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .body(empty())
            .map_err(|error| FetchError::Egress(EgressError::Unreachable(error.into())))?;
        let answer = self.http.fetch(request).await.map_err(|error| match error {
            EgressError::Unreachable(cause) if cause.is::<LengthLimitError>() => FetchError::TooLarge,
            error @ (EgressError::Forbidden(_) | EgressError::Unreachable(_) | EgressError::Timeout) => {
                FetchError::Egress(error)
            }
        })?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(FetchError::Status(status)),
        }
    }
}
