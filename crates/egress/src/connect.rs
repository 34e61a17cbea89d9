//! Where the check is made: resolve once, judge every address, connect to one that was judged.

use crate::body::BoxError;
use crate::error::ConnectTimeout;
use crate::own::Own;
use crate::policy::{EgressPolicy, Forbidden};
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is remembered where a name leads, so that a busy destination is looked up once a second. What is
/// remembered is judged anew each time.
const REMEMBERED: Duration = Duration::from_secs(1);
const REMEMBERED_AT_MOST: usize = 1000;

tokio::task_local! {
    /// What was judged for the request under way: a connection that is made for it goes there and is not looked up again.
    static JUDGED: Judged;
}

/// Where a destination is: every address of it, each of them allowed.
#[derive(Debug, Clone)]
pub struct Judged(Arc<[SocketAddr]>);

impl Judged {
    /// Runs a request whose connection, if it needs one, goes to what was judged.
    pub(crate) async fn during<F: Future>(&self, request: F) -> F::Output {
        JUDGED.scope(self.clone(), request).await
    }
}

/// When a name was looked up, and where it led.
type Found = (Instant, Arc<[SocketAddr]>);

/// Opens connections to allowed addresses only.
#[derive(Debug, Clone)]
pub struct CheckedConnector(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    policy: EgressPolicy,
    own: Own,
    remembered: Mutex<HashMap<(String, u16), Found>>,
}

impl CheckedConnector {
    /// A connector under `policy` that never reaches `own`.
    #[must_use]
    pub fn new(policy: EgressPolicy, own: Own) -> Self {
        Self(Arc::new(Rules {
            policy,
            own,
            remembered: Mutex::default(),
        }))
    }

    /// Where the host of a URI is.
    pub(crate) async fn judge(&self, uri: &Uri) -> Result<Judged, BoxError> {
        in_time(self.0.judge(uri)).await
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
        // Read now, while the request that asks is being polled.
        let judged = JUDGED.try_with(Clone::clone).ok();
        Box::pin(in_time(async move {
            let judged = match judged {
                Some(judged) => judged,
                None => rules.judge(&uri).await?,
            };
            connect(&judged).await.map(TokioIo::new)
        }))
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectTimeout.into()),
    }
}

async fn connect(judged: &Judged) -> Result<TcpStream, BoxError> {
    let mut last: BoxError = "the name has no address".into();
    for address in judged.0.iter() {
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

impl Rules {
    /// Every address of the host. A single forbidden one refuses them all: a name that also points inside is a trick.
    async fn judge(&self, uri: &Uri) -> Result<Judged, BoxError> {
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
        if self.own.is_named(host, port) {
            return Err(Forbidden::OwnListener.into());
        }
        let addresses = self.addresses(host, port).await?;
        for address in addresses.iter() {
            self.policy.check_address(address.ip())?;
            if self.own.holds(*address) {
                return Err(Forbidden::OwnListener.into());
            }
        }
        Ok(Judged(addresses))
    }

    async fn addresses(&self, host: &str, port: u16) -> Result<Arc<[SocketAddr]>, BoxError> {
        let literal = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        if let Ok(ip) = literal {
            return Ok(Arc::new([SocketAddr::new(ip, port)]));
        }
        let key = (host.to_ascii_lowercase(), port);
        if let Some(known) = self.recall(&key) {
            return Ok(known);
        }
        let found: Arc<[SocketAddr]> = tokio::net::lookup_host((host, port)).await?.collect();
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_AT_MOST {
            remembered.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        }
        if remembered.len() < REMEMBERED_AT_MOST {
            remembered.insert(key, (Instant::now(), Arc::clone(&found)));
        }
        Ok(found)
    }

    fn recall(&self, key: &(String, u16)) -> Option<Arc<[SocketAddr]>> {
        let remembered = self.remembered.lock();
        let (at, addresses) = remembered.get(key)?;
        (at.elapsed() < REMEMBERED).then(|| Arc::clone(addresses))
    }
}
