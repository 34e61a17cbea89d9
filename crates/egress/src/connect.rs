//! Where the check is made: resolve once, judge every address, connect to one that was judged.

use crate::body::BoxError;
use crate::error::ConnectTimeout;
use crate::policy::{EgressPolicy, Forbidden, is_own};
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens connections to allowed addresses only.
#[derive(Debug, Clone)]
pub struct CheckedConnector(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    policy: EgressPolicy,
    own: Vec<SocketAddr>,
}

impl CheckedConnector {
    /// A connector under `policy` that never reaches `own`.
    #[must_use]
    pub fn new(policy: EgressPolicy, own: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Rules { policy, own }))
    }
}

impl tower_service::Service<Uri> for CheckedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let rules = Arc::clone(&self.0);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, rules.connect(&uri)).await {
                Ok(connected) => connected.map(TokioIo::new),
                Err(_) => Err(ConnectTimeout.into()),
            }
        })
    }
}

impl Rules {
    async fn connect(&self, uri: &Uri) -> Result<TcpStream, BoxError> {
        let mut last: BoxError = "the name has no address".into();
        for address in self.resolve(uri).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Every address of the host. A single forbidden one refuses them all: a name that also points inside is a trick.
    async fn resolve(&self, uri: &Uri) -> Result<Vec<SocketAddr>, BoxError> {
        let host = uri.host().ok_or(Forbidden::Malformed)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) {
            443
        } else {
            80
        });
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(Forbidden::UserInfo.into());
        }
        self.policy.check_host(host)?;
        let literal = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        let addresses = match literal {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => tokio::net::lookup_host((host, port)).await?.collect(),
        };
        for address in &addresses {
            self.policy.check_address(address.ip())?;
            if is_own(&self.own, *address) {
                return Err(Forbidden::OwnListener.into());
            }
        }
        Ok(addresses)
    }
}
