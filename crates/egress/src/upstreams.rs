//! The client for destinations that come from configuration.

use crate::body::{Body, BoxError};
use crate::connect::{CheckedConnector, Judged};
use crate::error::EgressError;
use crate::own::Own;
use crate::policy::{EgressPolicy, Forbidden};
use crate::tls;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// A kept connection is judged again, by being made again, after this long without use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the head of an answer may take (contract §5).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

type Checked = Client<HttpsConnector<CheckedConnector>, Body>;

/// Sends requests to allowed destinations. Redirects are answers like any other, and there are no proxies.
#[derive(Debug, Clone)]
pub struct Upstreams {
    connector: CheckedConnector,
    any: Checked,
    http1: Checked,
    answer_timeout: Duration,
}

impl Upstreams {
    /// A client under `policy` that never reaches `own`, the addresses of our own listeners, PostgreSQL and NATS.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(policy: EgressPolicy, own: impl Into<Own>) -> Result<Self, BoxError> {
        let connector = CheckedConnector::new(policy, own.into());
        let tls = tls::config()?;
        let secure = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
                .enable_http1()
        };
        let any = secure().enable_http2().wrap_connector(connector.clone());
        let http1 = secure().wrap_connector(connector.clone());
        Ok(Self {
            connector,
            any: client(any),
            http1: client(http1),
            answer_timeout: ANSWER_TIMEOUT,
        })
    }

    /// The same with another patience for the head of an answer.
    #[must_use]
    pub const fn with_answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Sends a request whose URI is absolute and waits for the head of its answer; the body streams.
    ///
    /// # Errors
    /// [`EgressError`]: not allowed, not reached, or not in time.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, EgressError> {
        self.via(&self.any, request).await
    }

    /// Where a destination is, before anything is sent there.
    ///
    /// # Errors
    /// [`EgressError`]: not allowed, or its name leads nowhere.
    pub async fn judge(&self, url: &str) -> Result<Judged, EgressError> {
        let uri: Uri = url
            .parse()
            .map_err(|_| EgressError::Forbidden(Forbidden::Malformed))?;
        self.connector.judge(&uri).await.map_err(EgressError::from_cause)
    }

    /// [`Upstreams::send`] to where the destination was found to be.
    ///
    /// # Errors
    /// [`EgressError`]: not reached, or not in time.
    pub async fn send_to(
        &self,
        judged: &Judged,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, EgressError> {
        judged.during(self.via(&self.any, request)).await
    }

    /// Sends a request that asks to switch protocols, which only HTTP/1.1 can; on 101 the connection is had by
    /// `hyper::upgrade::on`.
    ///
    /// # Errors
    /// [`EgressError`]: not reached, or not in time.
    pub async fn upgrade_at(
        &self,
        judged: &Judged,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, EgressError> {
        judged.during(self.via(&self.http1, request)).await
    }

    async fn via(&self, client: &Checked, request: Request<Body>) -> Result<Response<Incoming>, EgressError> {
        match tokio::time::timeout(self.answer_timeout, client.request(request)).await {
            Ok(answer) => answer.map_err(EgressError::from_chain),
            Err(_) => Err(EgressError::Timeout),
        }
    }
}

fn client(connector: HttpsConnector<CheckedConnector>) -> Checked {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .retry_canceled_requests(false)
        .build(connector)
}
