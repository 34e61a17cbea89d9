//! Our own listeners, which nothing that comes from configuration or a fetched document may lead to. Those that were named
//! are looked up again and again: a container that is started anew has another address.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Between looks at where the names lead.
const LOOK: Duration = Duration::from_secs(5);

/// See the module. Cheap to clone; the clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Own(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    listeners: Vec<SocketAddr>,
    /// `host:port`, in lower case.
    places: Vec<String>,
    /// Where each place was found last.
    found: RwLock<HashMap<String, Vec<SocketAddr>>>,
}

impl Own {
    /// Our listeners by address, and those that are named `host:port`, found where their names lead now.
    pub async fn find(listeners: Vec<SocketAddr>, places: Vec<String>) -> Self {
        let places = places.iter().map(|place| place.to_ascii_lowercase()).collect();
        let own = Self(Arc::new(Inner {
            listeners,
            places,
            found: RwLock::default(),
        }));
        own.look().await;
        own
    }

    /// Keeps up with where the names lead, for as long as the service lives.
    pub async fn keep_up(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look().await;
        }
    }

    /// A name that leads nowhere now is believed to lead where it did.
    async fn look(&self) {
        for place in &self.0.places {
            match tokio::net::lookup_host(place.as_str()).await {
                Ok(addresses) => {
                    let addresses = addresses.collect();
                    self.0.found.write().insert(place.clone(), addresses);
                }
                Err(error) => tracing::debug!(place, %error, "one of our own addresses is not known"),
            }
        }
    }

    /// Whether a destination is named as one of ours is, wherever that leads now.
    pub(crate) fn is_named(&self, host: &str, port: u16) -> bool {
        let place = format!("{}:{port}", host.trim_end_matches('.').to_ascii_lowercase());
        self.0.places.contains(&place)
    }

    /// Whether an address is one of ours.
    pub(crate) fn holds(&self, target: SocketAddr) -> bool {
        let is_target = |listener: &SocketAddr| is_met(*listener, target);
        self.0.listeners.iter().any(is_target) || self.0.found.read().values().flatten().any(is_target)
    }
}

impl From<Vec<SocketAddr>> for Own {
    fn from(listeners: Vec<SocketAddr>) -> Self {
        Self(Arc::new(Inner {
            listeners,
            ..Inner::default()
        }))
    }
}

/// What a connection URL names (several in one text are parted by commas), as `host:port`, with its scheme's default port.
#[must_use]
pub fn places_of(text: &str, default_port: u16) -> Vec<String> {
    let urls = text.split(',').filter_map(|part| Url::parse(part.trim()).ok());
    let place = |url: Url| {
        let port = url.port_or_known_default().unwrap_or(default_port);
        Some(format!("{}:{port}", url.host_str()?))
    };
    urls.filter_map(place).collect()
}

/// Whether `target` leads to this listener. One on a loopback address is met on every loopback address, one that listens
/// everywhere on every address of this machine.
fn is_met(listener: SocketAddr, target: SocketAddr) -> bool {
    let (own, ip) = (listener.ip().to_canonical(), target.ip().to_canonical());
    listener.port() == target.port()
        && (own == ip
            || (own.is_loopback() && ip.is_loopback())
            || (own.is_unspecified() && (ip.is_loopback() || is_of_this_machine(ip))))
}

/// An address can be bound only on the machine that has it.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listeners: &[&str]) -> Own {
        let listeners: Vec<SocketAddr> = listeners.iter().map(|text| text.parse().unwrap()).collect();
        listeners.into()
    }

    /// An address of this machine that is no loopback, if it has one: no packet is sent.
    fn an_interface() -> Option<IpAddr> {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect("198.51.100.1:9").ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
    }

    #[test]
    fn our_own_listeners_are_found_on_any_loopback_address() {
        let own = own(&["0.0.0.0:5432", "10.0.0.7:4222"]);
        for met in [
            "127.0.0.1:5432",
            "127.9.9.9:5432",
            "[::1]:5432",
            "[::ffff:127.0.0.1]:5432",
            "10.0.0.7:4222",
        ] {
            assert!(own.holds(met.parse().unwrap()), "{met}");
        }
        for other in [
            "127.0.0.1:5433",
            "127.0.0.1:4222",
            "10.0.0.8:4222",
            "198.51.100.1:5432",
        ] {
            assert!(!own.holds(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn one_that_listens_everywhere_is_met_on_every_address_of_this_machine() {
        let Some(interface) = an_interface() else {
            return;
        };
        assert!(own(&["0.0.0.0:8081"]).holds(SocketAddr::new(interface, 8081)));
        assert!(!own(&["0.0.0.0:8081"]).holds(SocketAddr::new(interface, 8082)));
        assert!(!own(&["127.0.0.1:8081"]).holds(SocketAddr::new(interface, 8081)));
    }

    #[tokio::test]
    async fn what_is_named_is_found_by_its_name_and_by_where_it_leads() {
        let own = Own::find(
            Vec::new(),
            vec!["Localhost:4222".to_owned(), "no-such.invalid:80".to_owned()],
        )
        .await;
        assert!(own.holds("127.0.0.1:4222".parse().unwrap()));
        assert!(own.is_named("LOCALHOST.", 4222) && own.is_named("no-such.invalid", 80));
        assert!(!own.is_named("localhost", 4223));
    }

    #[test]
    fn the_places_of_connection_urls() {
        assert_eq!(
            places_of("nats://u:p@a.example, tls://b.example:5222,nonsense", 4222),
            ["a.example:4222", "b.example:5222"]
        );
        assert_eq!(places_of("https://sts.example/x", 80), ["sts.example:443"]);
        assert_eq!(places_of("http://[::1]:9/", 80), ["[::1]:9"]);
    }
}
