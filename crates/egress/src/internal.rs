//! The client for our own STS, whose address the operator gave.

use crate::body::{Body, BoxError};
use crate::error::EgressError;
use crate::tls;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The largest answer it reads.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Sends requests to one base URL, fixed when it is made; nothing a caller says can lead it elsewhere.
#[derive(Debug, Clone)]
pub struct Internal {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    base: Url,
    timeout: Duration,
}

impl Internal {
    /// A client for what lies at and below `base`.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(base: Url, timeout: Duration) -> Result<Self, BoxError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls::config()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(https);
        Ok(Self {
            client,
            base,
            timeout,
        })
    }

    /// Sends a request and reads the whole answer. Of the request's URI only path and query count.
    ///
    /// # Errors
    /// [`EgressError`]: not reached, or not in time.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Bytes>, EgressError> {
        *request.uri_mut() = self
            .below(request.uri().path_and_query())
            .map_err(EgressError::Unreachable)?;
        match tokio::time::timeout(self.timeout, self.answer(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(EgressError::Timeout),
        }
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Bytes>, EgressError> {
        let (head, body) = self
            .client
            .request(request)
            .await
            .map_err(EgressError::from_chain)?
            .into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(EgressError::Unreachable)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    fn below(&self, target: Option<&PathAndQuery>) -> Result<Uri, BoxError> {
        let path = target.map_or("/", PathAndQuery::as_str);
        Ok(format!("{}{path}", self.base.as_str().trim_end_matches('/')).parse()?)
    }
}
