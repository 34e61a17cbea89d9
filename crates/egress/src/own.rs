//! Our own addresses, which nothing that comes from configuration or a fetched document may lead to.

use std::net::SocketAddr;
use tokio::net::ToSocketAddrs;
use url::Url;

/// The addresses behind connection URLs (several in one text are parted by commas), each with its scheme's default
/// port, as far as their names resolve now.
pub async fn own_addresses(urls: &[(&str, u16)]) -> Vec<SocketAddr> {
    let mut own = Vec::new();
    for (text, default_port) in urls {
        for url in text.split(',').filter_map(|part| Url::parse(part.trim()).ok()) {
            let Some(name) = url.host_str() else { continue };
            let port = url.port_or_known_default().unwrap_or(*default_port);
            let name = name.trim_start_matches('[').trim_end_matches(']');
            own.extend(resolved((name, port), name).await);
        }
    }
    own
}

/// The addresses behind `host:port` texts, as far as their names resolve now.
pub async fn addresses_of(places: &[String]) -> Vec<SocketAddr> {
    let mut own = Vec::new();
    for place in places {
        own.extend(resolved(place.as_str(), place).await);
    }
    own
}

async fn resolved(place: impl ToSocketAddrs, name: &str) -> Vec<SocketAddr> {
    match tokio::net::lookup_host(place).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            tracing::warn!(name, %error, "one of our own addresses is not known");
            Vec::new()
        }
    }
}
