//! A reader of the environment that collects every mistake instead of stopping at the first.

use crate::config::common::Mode;
use crate::config::secret;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use url::{Host, Url};

/// One thing that is wrong, by the name of its variable. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The variable.
    pub name: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} mistake(s)", .0.len())]
pub struct Mistakes(pub Vec<Mistake>);

/// The environment of the process, read variable by variable.
///
/// Readers answer `None` for what is missing or wrong and remember the mistake; a service reads everything first and
/// only then unpacks, so that [`Env::finish`] can list every mistake at once.
#[derive(Debug)]
pub struct Env {
    variables: HashMap<String, String>,
    mode: Mode,
    mistakes: Vec<Mistake>,
}

impl Env {
    /// The environment of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn from_process() -> Self {
        let (known, unreadable): (Vec<_>, Vec<_>) = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.into_string()))
            .partition(|(_, value)| value.is_ok());
        let mut env = Self::from_pairs(
            known
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.ok()?))),
        );
        for (name, _) in unreadable.into_iter().filter(|(name, _)| is_ours(name)) {
            env.mistake(&name, "is not UTF-8");
        }
        env
    }

    /// An environment made of `pairs`, for tests.
    #[must_use]
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let mut env = Self {
            variables,
            mode: Mode::Production,
            mistakes: Vec::new(),
        };
        env.mode = env.or("CARACAL_MODE", Mode::Production);
        env
    }

    /// Whether this is a development stack or the real thing.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Remembers a mistake that a service found by itself, such as two settings that contradict each other.
    pub fn mistake(&mut self, name: &str, message: impl Into<String>) {
        self.mistakes.push(Mistake {
            name: name.to_owned(),
            message: message.into(),
        });
    }

    /// A setting that must be there.
    pub fn required<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        if self.text(name).is_none() {
            self.mistake(name, "is required");
        }
        self.optional(name)
    }

    /// A setting that may be absent. The empty text counts as absent.
    pub fn optional<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(name)?;
        self.parsed(name, &text, str::parse)
    }

    /// A setting with a default.
    pub fn or<T>(&mut self, name: &str, default: T) -> T
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.optional(name).unwrap_or(default)
    }

    /// A setting with a default, read by a parser of another crate.
    pub fn parse_or<T, E: fmt::Display>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        match self.text(name) {
            Some(text) => self.parsed(name, &text, parse).unwrap_or(default),
            None => default,
        }
    }

    /// `true`, `1`, `yes` or `on`, and their opposites; absent is `default`.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.parse_or(name, default, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("must be true or false"),
        })
    }

    /// A whole number of milliseconds between `least` and a day.
    pub fn millis(&mut self, name: &str, default: Duration, least: Duration) -> Duration {
        self.parse_or(name, default, |text| {
            let span = text
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| "must be a whole number of milliseconds")?;
            if (least..=Duration::from_hours(24)).contains(&span) {
                Ok(span)
            } else {
                Err("is out of range")
            }
        })
    }

    /// A list separated by commas; blanks around an item are ignored, and so are empty items.
    pub fn list<T>(&mut self, name: &str) -> Vec<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(name).unwrap_or_default();
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items
            .filter_map(|item| self.parsed(name, item, str::parse))
            .collect()
    }

    /// A list of `host:port`.
    pub fn places(&mut self, name: &str) -> Vec<String> {
        let places: Vec<String> = self.list(name);
        let is_place = |place: &String| {
            let parts = place.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !places.iter().all(is_place) {
            self.mistake(name, "must be a list of host:port");
        }
        places
    }

    /// A URL that is HTTP and, in production, HTTPS unless it points at this machine.
    pub fn http_url(&mut self, name: &str) -> Option<Url> {
        let url: Url = self.required(name)?;
        if !is_http(&url) {
            self.mistake(name, "must be an http or https URL");
        } else if !is_base(&url) {
            self.mistake(name, "must have no user, password, query or fragment");
        } else if self.mode == Mode::Production && url.scheme() == "http" && !is_loopback(&url) {
            self.mistake(name, "must be https off this machine (CARACAL_MODE=production)");
        }
        Some(url)
    }

    /// A URL that is HTTP or HTTPS, and may be absent.
    pub fn optional_http_url(&mut self, name: &str) -> Option<Url> {
        let url: Url = self.optional(name)?;
        if is_http(&url) {
            return Some(url);
        }
        self.mistake(name, "must be an http or https URL");
        None
    }

    /// A secret: from `NAME`, or from the file that `NAME_FILE` names.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        let value = self.optional_secret(name);
        let spoken_for = self.mistakes.iter().any(|mistake| mistake.name.starts_with(name));
        if value.is_none() && !spoken_for {
            self.mistake(name, format!("is required (or {name}_FILE)"));
        }
        value
    }

    /// A secret address, such as one with a password in it, that whoever uses it can read. What `check` complains of must
    /// not repeat it.
    pub fn address<E: fmt::Display>(
        &mut self,
        name: &str,
        check: impl FnOnce(&str) -> Result<(), E>,
    ) -> Option<SecretString> {
        let value = self.secret(name)?;
        self.parsed(name, value.expose_secret(), check)?;
        Some(value)
    }

    /// A secret that may be absent.
    pub fn optional_secret(&mut self, name: &str) -> Option<SecretString> {
        let file_name = format!("{name}_FILE");
        let value = match (self.text(name), self.text(&file_name)) {
            (Some(_), Some(_)) => {
                self.mistake(name, format!("and {file_name} are both set"));
                None
            }
            (Some(value), None) => Some(value),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(content) => Some(content.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.mistake(&file_name, format!("cannot be read: {}", error.kind()));
                    None
                }
            },
            (None, None) => None,
        }?;
        if value.is_empty() {
            self.mistake(&file_name, "is empty");
            return None;
        }
        Some(SecretString::from(value))
    }

    /// One or several 32-byte keys in hex: `hex` or `id:hex,id:hex` (`ZONE_KEK`, `STREAMS_HMAC_KEY`), read by the parser
    /// of whoever uses them, whose errors must not repeat them. Production refuses weak ones.
    pub fn keys<T, E: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.secret(name)?;
        if let Err(complaint) = secret::check_keys(&value, self.mode) {
            self.mistake(name, complaint);
            return None;
        }
        self.parsed(name, value.expose_secret(), parse)
    }

    /// Where upstreams may be: whether on loopback and in private networks (`ALLOW_PRIVATE_UPSTREAMS`), and the only hosts
    /// there are, if any is named (`UPSTREAM_HOST_ALLOWLIST`). Production wants the hosts named before it lets them be
    /// private.
    pub fn upstreams(&mut self) -> (bool, Vec<String>) {
        let allow_private = self.flag("ALLOW_PRIVATE_UPSTREAMS", false);
        let hosts: Vec<String> = self.list("UPSTREAM_HOST_ALLOWLIST");
        if self.mode == Mode::Production && allow_private && hosts.is_empty() {
            self.mistake(
                "ALLOW_PRIVATE_UPSTREAMS",
                "needs UPSTREAM_HOST_ALLOWLIST (CARACAL_MODE=production)",
            );
        }
        (allow_private, hosts)
    }

    /// A shared secret between two parties (`CARACAL_ADMIN_TOKEN`, `GATEWAY_STS_KEY`). Production refuses weak ones.
    pub fn shared_secret(&mut self, name: &str) -> Option<SecretString> {
        let value = self.secret(name)?;
        if let Err(complaint) = secret::check_shared(&value, self.mode) {
            self.mistake(name, complaint);
        }
        Some(value)
    }

    /// What was wrong, if anything.
    ///
    /// # Errors
    /// [`Mistakes`], all of them.
    pub fn finish(self) -> Result<(), Mistakes> {
        if self.mistakes.is_empty() {
            Ok(())
        } else {
            Err(Mistakes(self.mistakes))
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }

    fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(name, error.to_string());
                None
            }
        }
    }
}

/// Whether a URL points at this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether paths may be added to it.
fn is_base(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.host().is_some()
}

fn is_ours(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests;
