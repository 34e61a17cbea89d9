//! Where a URL may lead, as far as its text shows.

use crate::address::{Reach, reach};
use std::net::IpAddr;
use url::{Host, Url};

/// The longest URL that is looked at.
const MAX_URL_BYTES: usize = 2048;

/// What this installation lets out.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    /// Whether loopback and private networks may be reached (`ALLOW_PRIVATE_UPSTREAMS`).
    pub allow_private: bool,
    /// When not empty, the only hosts that may be reached: `api.example`, or `*.example` for what lies below
    /// (`UPSTREAM_HOST_ALLOWLIST`).
    pub host_allowlist: Vec<String>,
}

/// Why a destination is refused. Safe to show: it repeats only what the caller wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Not a URL.
    #[error("not a URL")]
    Malformed,
    /// Longer than any URL need be.
    #[error("a URL has at most {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Another scheme.
    #[error("only http and https are allowed")]
    Scheme,
    /// A user name or password.
    #[error("a URL must not hold a user name or password")]
    UserInfo,
    /// A host outside the allow-list.
    #[error("the host is not on the allow-list")]
    HostNotListed,
    /// A loopback or private address.
    #[error("loopback and private addresses are not allowed")]
    PrivateAddress,
    /// An address that is never allowed.
    #[error("link-local, metadata, multicast and unspecified addresses are never allowed")]
    NeverAllowed,
    /// One of our own listeners, PostgreSQL or NATS.
    #[error("this is one of Caracal's own addresses")]
    OwnListener,
}

/// Checks what the text of a URL alone shows, as when it is saved. The address is checked again when connecting.
///
/// # Errors
/// [`Forbidden`], the first reason found.
pub fn check_url(policy: &EgressPolicy, text: &str) -> Result<Url, Forbidden> {
    if text.len() > MAX_URL_BYTES {
        return Err(Forbidden::TooLong);
    }
    if text
        .bytes()
        .any(|b| b.is_ascii_control() || b == b' ' || b == b'\\')
    {
        return Err(Forbidden::Malformed);
    }
    let url = Url::parse(text).map_err(|_| Forbidden::Malformed)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Forbidden::Scheme);
    }
    // As it is written: a reader of URLs makes up for slashes that are missing or too many, and forgets an empty name.
    let authority = authority(text).ok_or(Forbidden::Malformed)?;
    if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
        return Err(Forbidden::UserInfo);
    }
    if url.port() == Some(0) {
        return Err(Forbidden::Malformed);
    }
    policy.check_host(url.host_str().ok_or(Forbidden::Malformed)?)?;
    match url.host() {
        Some(Host::Ipv4(address)) => policy.check_address(IpAddr::V4(address))?,
        Some(Host::Ipv6(address)) => policy.check_address(IpAddr::V6(address))?,
        Some(Host::Domain(name)) if is_localhost(name) && !policy.allow_private => {
            return Err(Forbidden::PrivateAddress);
        }
        Some(Host::Domain(_)) | None => {}
    }
    Ok(url)
}

/// What stands between `//` and the path (RFC 3986 §3.2).
fn authority(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(':')?;
    let authority = rest.strip_prefix("//")?.split(['/', '?', '#']).next()?;
    (!authority.is_empty()).then_some(authority)
}

/// Whether private networks may be reached, and the only hosts: as the settings are read.
impl From<(bool, Vec<String>)> for EgressPolicy {
    fn from((allow_private, host_allowlist): (bool, Vec<String>)) -> Self {
        Self {
            allow_private,
            host_allowlist,
        }
    }
}

impl EgressPolicy {
    /// Whether a host may be named at all.
    ///
    /// # Errors
    /// [`Forbidden::HostNotListed`].
    pub fn check_host(&self, host: &str) -> Result<(), Forbidden> {
        let host = plain(host);
        let listed = |entry: &String| {
            let entry = plain(entry);
            match entry.strip_prefix("*.").or(entry.strip_prefix('.')) {
                Some(parent) => host
                    .strip_suffix(parent)
                    .is_some_and(|child| child.len() > 1 && child.ends_with('.')),
                None => entry == host,
            }
        };
        if self.host_allowlist.is_empty() || self.host_allowlist.iter().any(listed) {
            Ok(())
        } else {
            Err(Forbidden::HostNotListed)
        }
    }

    /// Whether an address may be connected to.
    ///
    /// # Errors
    /// [`Forbidden::PrivateAddress`] or [`Forbidden::NeverAllowed`].
    pub fn check_address(&self, address: IpAddr) -> Result<(), Forbidden> {
        match reach(address) {
            Reach::Public => Ok(()),
            Reach::Private if self.allow_private => Ok(()),
            Reach::Private => Err(Forbidden::PrivateAddress),
            Reach::Never => Err(Forbidden::NeverAllowed),
        }
    }
}

fn plain(host: &str) -> String {
    host.trim()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
        .to_ascii_lowercase()
}

fn is_localhost(name: &str) -> bool {
    let name = plain(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strict() -> EgressPolicy {
        EgressPolicy::default()
    }

    fn open() -> EgressPolicy {
        EgressPolicy {
            allow_private: true,
            host_allowlist: Vec::new(),
        }
    }

    #[test]
    fn every_spelling_of_loopback_is_private() {
        for text in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://2130706433/",
            "http://017700000001/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://１２７.0.0.1/",
        ] {
            assert_eq!(
                check_url(&strict(), text),
                Err(Forbidden::PrivateAddress),
                "{text}"
            );
            assert!(check_url(&open(), text).is_ok(), "{text}");
        }
    }

    #[test]
    fn metadata_is_never_allowed() {
        for text in [
            "http://169.254.169.254/latest",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://0/",
            "http://[::]/",
        ] {
            assert_eq!(check_url(&open(), text), Err(Forbidden::NeverAllowed), "{text}");
        }
    }

    #[test]
    fn odd_urls_are_refused() {
        for (text, why) in [
            ("ftp://a.example/", Forbidden::Scheme),
            ("file:///etc/passwd", Forbidden::Scheme),
            ("http://u@a.example/", Forbidden::UserInfo),
            ("http://u:p@a.example/", Forbidden::UserInfo),
            ("not a url", Forbidden::Malformed),
            ("http://a.example\\@b.example/", Forbidden::Malformed),
            ("http://a.example:0/", Forbidden::Malformed),
            ("http://a.ex\nample/", Forbidden::Malformed),
            ("", Forbidden::Malformed),
            ("https://@a.example/", Forbidden::UserInfo),
            ("https://:@a.example/", Forbidden::UserInfo),
            ("https://u:@a.example/@", Forbidden::UserInfo),
            ("http:a.example", Forbidden::Malformed),
            ("https:/a.example/", Forbidden::Malformed),
            ("https:///a.example/", Forbidden::Malformed),
            (
                &format!("https://a.example/{}", "x".repeat(2048)),
                Forbidden::TooLong,
            ),
        ] {
            assert_eq!(check_url(&open(), text), Err(why), "{text}");
        }
        for fine in [
            "https://a.example/user@/x",
            "https://a.example/@?q=b@c@#@",
            "HTTPS://a.example",
        ] {
            assert!(check_url(&strict(), fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn the_allow_list_is_exact_or_by_domain() {
        let policy = EgressPolicy {
            allow_private: true,
            host_allowlist: vec!["api.example".into(), "*.svc.example".into(), "127.0.0.1".into()],
        };
        for host in [
            "api.example",
            "API.example.",
            "a.svc.example",
            "a.b.svc.example",
            "127.0.0.1",
        ] {
            assert!(
                check_url(&policy, &format!("http://{host}:8080/x")).is_ok(),
                "{host}"
            );
        }
        for host in [
            "svc.example",
            "evilsvc.example",
            "api.example.evil",
            "127.0.0.2",
            "xapi.example",
        ] {
            assert_eq!(
                check_url(&policy, &format!("http://{host}/")),
                Err(Forbidden::HostNotListed),
                "{host}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_passes_is_plain_http_to_a_checked_host(text in "(http|https|ftp|HTTP)://[a-z0-9.@:\\[\\]x%-]{0,30}(/.{0,10})?") {
            if let Ok(url) = check_url(&strict(), &text) {
                prop_assert!(matches!(url.scheme(), "http" | "https"));
                prop_assert!(url.username().is_empty() && url.password().is_none());
                match url.host() {
                    Some(Host::Ipv4(a)) => prop_assert_eq!(reach(IpAddr::V4(a)), Reach::Public),
                    Some(Host::Ipv6(a)) => prop_assert_eq!(reach(IpAddr::V6(a)), Reach::Public),
                    Some(Host::Domain(name)) => prop_assert!(!is_localhost(name)),
                    None => prop_assert!(false, "no host"),
                }
            }
        }
    }
}
