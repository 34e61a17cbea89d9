//! Where the database is and how it is reached: `DATABASE_URL`, read once. `sslmode` and `sslrootcert` mean what they
//! mean to libpq; tokio-postgres knows less of them and is told what to do.

mod tls;

use crate::error::{Error, Result};
use percent_encoding::percent_decode_str;
use std::time::Duration;
use tls::{Encrypted, Tls, Trust};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Connection, Socket};

/// What speaks the protocol for a [`Client`].
pub(crate) type Driver = Connection<Socket, Encrypted<Socket>>;

/// How long opening or checking one connection may take.
pub(crate) const CHECK: Duration = Duration::from_secs(1);
/// What the server gives up on, so that no lock outlives its use-case by much.
const SERVER_LIMITS: &str = "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=15s \
                             -c timezone=UTC";
/// A connection keeps the plans it made, also those behind foreign keys, until statistics of the tables change. Made while
/// a table was small, such a plan reads it from end to end, and goes on doing so for the minute in which a load makes it
/// large. Every query here has an index, so that is never wanted; nor is compiling queries that take microseconds.
const PLANS: &str = "-c enable_seqscan=off -c jit=off";
const DEFAULT_PORT: u16 = 5432;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    config: Config,
    tls: Tls,
}

impl Target {
    /// Reads the URL, and the roots it names.
    ///
    /// # Errors
    /// [`Error::Settings`] when it asks for what we do not do, or its roots cannot be read.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let (rest, wish) = Wish::take_from(url)?;
        let mut config: Config = rest
            .parse()
            .map_err(|_| unusable("it is no URL of PostgreSQL's"))?;
        let (mode, trust) = wish.settle(config.get_ssl_mode())?;
        config.ssl_mode(mode);
        Ok(Self {
            config,
            tls: Tls::new(trust)?,
        })
    }

    /// The same with our limits: a peer that is gone is noticed within seconds, not after the kernel's two hours.
    pub(crate) fn limited(mut self, application_name: &str) -> Self {
        self.config
            .application_name(application_name)
            .options(format!("{SERVER_LIMITS} {PLANS}"))
            .connect_timeout(CHECK)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(2)
            .tcp_user_timeout(Duration::from_secs(5));
        self
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> std::result::Result<(Client, Driver), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }

    /// Where it is, as `host:port`; a socket in the file system is nowhere.
    fn places(&self) -> Vec<String> {
        let ports = self.config.get_ports();
        let named = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => Some(name.clone()),
            Host::Unix(_) => None,
        });
        let hosts: Vec<Option<String>> = named.collect();
        let addresses = self.config.get_hostaddrs().iter();
        let addresses = addresses.map(|address| Some(address.to_string()));
        let mut places = Vec::new();
        for list in [hosts, addresses.collect()] {
            for (at, host) in list.into_iter().enumerate() {
                // One port is for all hosts; else each has its own.
                let port = ports.get(at).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
                places.extend(host.map(|host| place(&host, port)));
            }
        }
        places
    }
}

/// Where the database of a URL may be, as `host:port`, for whoever must not be led there.
///
/// # Errors
/// [`Error::Settings`].
pub fn places(url: &str) -> Result<Vec<String>> {
    Ok(Target::parse(url)?.places())
}

/// Whether a URL is one that [`crate::Database::connect`] can use. What it complains of does not repeat the URL.
///
/// # Errors
/// Why it is not.
pub fn check_url(url: &str) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match Target::parse(url) {
        Ok(_) => Ok(()),
        Err(Error::Settings(why)) => Err(why),
        Err(other) => Err(other.into()),
    }
}

fn place(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn unusable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Settings(why.into())
}

/// What a URL says about TLS.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    mode: Option<String>,
    root: Option<String>,
}

impl Wish {
    /// Takes the two parameters out of a URL. A text of the form `key=value …` stays as it is: tokio-postgres reads
    /// `disable`, `prefer` and `require` there, and refuses the rest.
    fn take_from(url: &str) -> Result<(String, Self)> {
        let mut wish = Self::default();
        let is_url = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        let Some((place, query)) = split_query(url).filter(|_| is_url) else {
            return Ok((url.to_owned(), wish));
        };
        let mut rest = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let kept = match name {
                "sslmode" => &mut wish.mode,
                "sslrootcert" => &mut wish.root,
                _ => {
                    rest.push(pair);
                    continue;
                }
            };
            let value = percent_decode_str(value).decode_utf8();
            *kept = Some(value.map_err(unusable)?.into_owned());
        }
        let rest = match rest.join("&") {
            query if query.is_empty() => place.to_owned(),
            query => format!("{place}?{query}"),
        };
        Ok((rest, wish))
    }

    /// What it comes to, where `unsaid` is the mode without a wish.
    fn settle(self, unsaid: SslMode) -> Result<(SslMode, Trust)> {
        let root = self.root.filter(|root| !root.is_empty());
        let mode = match self.mode.as_deref() {
            None => unsaid,
            Some("disable") => SslMode::Disable,
            Some("prefer") => SslMode::Prefer,
            Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some(_) => {
                return Err(unusable(
                    "sslmode must be disable, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        let trust = match (self.mode.as_deref(), root) {
            (Some("verify-full"), root) => Trust::Name(root),
            // libpq: whoever names the roots wants them asked.
            (Some("verify-ca"), root) | (Some("require"), root @ Some(_)) => Trust::Chain(root),
            (_, Some(_)) => {
                return Err(unusable(
                    "sslrootcert needs sslmode require, verify-ca or verify-full",
                ));
            }
            (_, None) => Trust::Anyone,
        };
        Ok((mode, trust))
    }
}

/// The URL before its parameters, and these. A password may hold a `?`.
fn split_query(url: &str) -> Option<(&str, &str)> {
    let credentials = url.find('@').unwrap_or_default();
    let at = credentials + url.get(credentials..)?.find('?')?;
    Some((url.get(..at)?, url.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(url: &str) -> Option<(SslMode, Trust)> {
        let (rest, wish) = Wish::take_from(url).ok()?;
        let config: Config = rest.parse().ok()?;
        wish.settle(config.get_ssl_mode()).ok()
    }

    #[test]
    fn each_mode_means_what_it_means_to_libpq() {
        let root = || Some("/etc/root.pem".to_owned());
        for (parameters, expected) in [
            ("", Some((SslMode::Prefer, Trust::Anyone))),
            ("?sslmode=disable", Some((SslMode::Disable, Trust::Anyone))),
            ("?sslmode=prefer", Some((SslMode::Prefer, Trust::Anyone))),
            ("?sslmode=require", Some((SslMode::Require, Trust::Anyone))),
            ("?sslmode=verify-ca", Some((SslMode::Require, Trust::Chain(None)))),
            (
                "?sslmode=verify-full",
                Some((SslMode::Require, Trust::Name(None))),
            ),
            (
                "?sslrootcert=%2Fetc/root.pem&connect_timeout=3&sslmode=verify-full",
                Some((SslMode::Require, Trust::Name(root()))),
            ),
            (
                "?sslmode=require&sslrootcert=/etc/root.pem",
                Some((SslMode::Require, Trust::Chain(root()))),
            ),
            ("?sslmode=allow", None),
            ("?sslmode=verify_full", None),
            ("?sslmode=", None),
            ("?sslmode=prefer&sslrootcert=/etc/root.pem", None),
            ("?sslrootcert=/etc/root.pem", None),
            ("?sslcert=/etc/client.pem&sslmode=require", None),
        ] {
            for credentials in ["", "role:pass?word@", "role@"] {
                let url = format!("postgres://{credentials}db.example/caracal{parameters}");
                assert_eq!(settled(&url), expected, "{url}");
            }
        }
        let pairs = "host=db.example sslmode=require";
        assert_eq!(settled(pairs), Some((SslMode::Require, Trust::Anyone)));
        assert_eq!(settled("host=db.example sslmode=verify-full"), None);
    }

    #[test]
    fn every_host_of_a_url_is_a_place() {
        for (url, expected) in [
            ("postgres://r:p@db.example/c", &["db.example:5432"][..]),
            (
                "postgres://r:a,b@db.example:6432/c?sslmode=require",
                &["db.example:6432"],
            ),
            ("postgres://r@one:1,two:2/c", &["one:1", "two:2"]),
            ("postgres://r@one,two/c", &["one:5432", "two:5432"]),
            ("postgres://r@[::1]:7/c", &["[::1]:7"]),
            ("host=one,two port=9 user=r", &["one:9", "two:9"]),
            (
                "host=one hostaddr=10.0.0.1 user=r",
                &["one:5432", "10.0.0.1:5432"],
            ),
            ("host=/run/postgresql user=r", &[]),
        ] {
            assert_eq!(places(url).unwrap(), expected, "{url}");
        }
        assert!(matches!(places("not a place"), Err(Error::Settings(_))));
    }

    #[test]
    fn roots_that_are_not_there_are_a_mistake() {
        for file in ["/does/not/exist", file!()] {
            let url = format!("postgres://r@db.example/c?sslmode=verify-full&sslrootcert={file}");
            assert!(matches!(Target::parse(&url), Err(Error::Settings(_))), "{file}");
        }
    }
}
