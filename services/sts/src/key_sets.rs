//! The public keys of others, fetched when they are needed and kept for a while: of applications (`jwks_uri`) and of
//! subject issuers (`jwks_uri`, or found by discovery).
//!
//! Each source has its own place, its own lock and its own bounds: one flight at a time, so that a crowd costs one
//! fetch; a pause after a failure, so that a dead host is not asked by every request; keys that were good go on serving
//! while their host is down, but not for ever. What one source does, however slow or large, no other one notices.

use arc_swap::ArcSwapOption;
use caracal_domain::zone::SubjectIssuer;
use caracal_egress::{FetchError, Metadata};
use caracal_jose::ForeignKeys;
use parking_lot::Mutex;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long fetched keys are used without asking again: a key that was withdrawn is honoured no longer.
const FRESH: Duration = Duration::from_mins(5);
/// How long they are used while their host cannot be reached.
const KEPT: Duration = Duration::from_hours(1);
/// How soon a host that failed is asked again.
const PAUSE: Duration = Duration::from_secs(5);
/// How often an unknown `kid` may make us ask (contract §2).
const UNKNOWN_KID: Duration = Duration::from_secs(30);
const MAX_SOURCES: u64 = 2048;

/// Where a key set is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// At this URL.
    Uri(String),
    /// Where this issuer's metadata says (`OpenID` Connect Discovery §4).
    Discovery(String),
}

impl From<&SubjectIssuer> for KeySource {
    fn from(issuer: &SubjectIssuer) -> Self {
        match &issuer.jwks_uri {
            Some(uri) => Self::Uri(uri.clone()),
            None => Self::Discovery(issuer.issuer.clone()),
        }
    }
}

/// The keys cannot be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable;

/// See the module.
#[derive(Debug)]
pub struct KeySets {
    fetcher: Metadata,
    slots: moka::sync::Cache<KeySource, Arc<Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    held: ArcSwapOption<Held>,
    attempts: Mutex<Attempts>,
    flight: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Held {
    keys: Arc<ForeignKeys>,
    at: Instant,
}

/// When the source was last asked in vain, and last for a key it did not have.
#[derive(Debug, Default, Clone, Copy)]
struct Attempts {
    failed: Option<Instant>,
    unknown_kid: Option<Instant>,
}

impl KeySets {
    /// Holds nothing yet.
    #[must_use]
    pub fn new(fetcher: Metadata) -> Self {
        Self {
            fetcher,
            slots: moka::sync::Cache::new(MAX_SOURCES),
        }
    }

    /// The keys of `source`, asked for again when the one named `kid` is not among them and it is time to.
    ///
    /// # Errors
    /// [`Unreachable`] when there are none to go by.
    pub async fn keys(&self, source: &KeySource, kid: Option<&str>) -> Result<Arc<ForeignKeys>, Unreachable> {
        let slot = self.slots.get_with(source.clone(), Arc::default);
        if slot.is_due(kid, Instant::now()) {
            let _alone = slot.flight.lock().await;
            // Whoever waited for the lock finds the work done, or has learned that it cannot be.
            if slot.is_due(kid, Instant::now()) {
                self.refresh(source, &slot, kid).await;
            }
        }
        slot.serve(kid, Instant::now())
    }

    async fn refresh(&self, source: &KeySource, slot: &Slot, kid: Option<&str>) {
        let asked_at = Instant::now();
        let held = slot.held.load_full();
        if held.is_some_and(|held| !held.keys.contains(kid)) {
            slot.attempts.lock().unknown_kid = Some(asked_at);
        }
        match self.fetch(source).await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                slot.held.store(Some(Arc::new(Held { keys, at: asked_at })));
                slot.attempts.lock().failed = None;
            }
            Err(error) => {
                slot.attempts.lock().failed = Some(Instant::now());
                let cause: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(?source, error = cause, "a key set could not be fetched");
            }
        }
    }

    async fn fetch(&self, source: &KeySource) -> Result<ForeignKeys, KeySetError> {
        let uri = match source {
            KeySource::Uri(uri) => uri.clone(),
            KeySource::Discovery(issuer) => self.discover(issuer).await?,
        };
        let document = self.fetcher.fetch(&uri).await.map_err(KeySetError::Fetch)?;
        ForeignKeys::parse(&document).map_err(KeySetError::Keys)
    }

    async fn discover(&self, issuer: &str) -> Result<String, KeySetError> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let document = self.fetcher.fetch(&url).await.map_err(KeySetError::Fetch)?;
        let found: Discovered = serde_json::from_slice(&document).map_err(KeySetError::Discovery)?;
        // OpenID Connect Discovery §4.3: the document must be about the issuer it was asked of.
        if found.issuer == issuer {
            Ok(found.jwks_uri)
        } else {
            Err(KeySetError::OtherIssuer)
        }
    }
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, thiserror::Error)]
enum KeySetError {
    #[error("fetching it")]
    Fetch(#[source] FetchError),
    #[error("reading the keys")]
    Keys(#[source] caracal_jose::Error),
    #[error("reading the issuer's metadata")]
    Discovery(#[source] serde_json::Error),
    #[error("the metadata is another issuer's")]
    OtherIssuer,
}

impl Slot {
    /// Whether it is time to ask the source.
    fn is_due(&self, kid: Option<&str>, now: Instant) -> bool {
        let attempts = *self.attempts.lock();
        let since = |at: Instant| now.saturating_duration_since(at);
        if attempts.failed.is_some_and(|at| since(at) < PAUSE) {
            return false;
        }
        let Some(held) = self.held.load_full() else {
            return true;
        };
        let unknown =
            !held.keys.contains(kid) && attempts.unknown_kid.is_none_or(|at| since(at) >= UNKNOWN_KID);
        unknown || since(held.at) >= FRESH
    }

    /// What there is to go by. A key that is missing after a failed attempt may well be there: that is not known.
    fn serve(&self, kid: Option<&str>, now: Instant) -> Result<Arc<ForeignKeys>, Unreachable> {
        let held = self.held.load_full().ok_or(Unreachable)?;
        let kept = now.saturating_duration_since(held.at) < KEPT;
        let failed = self.attempts.lock().failed.is_some();
        if kept && (held.keys.contains(kid) || !failed) {
            Ok(Arc::clone(&held.keys))
        } else {
            Err(Unreachable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(at: Instant) -> Slot {
        let set = serde_json::json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        }]});
        let slot = Slot::default();
        let keys = Arc::new(ForeignKeys::from_value(&set).expect("a set"));
        slot.held.store(Some(Arc::new(Held { keys, at })));
        slot
    }

    #[test]
    fn known_keys_are_asked_for_again_after_five_minutes_and_kept_an_hour_while_the_host_is_down() {
        let start = Instant::now();
        let slot = slot(start);
        assert!(!slot.is_due(Some("a"), start + FRESH.saturating_sub(PAUSE)));
        assert!(slot.is_due(Some("a"), start + FRESH));
        let failed_at = start + FRESH;
        slot.attempts.lock().failed = Some(failed_at);
        assert!(
            !slot.is_due(Some("a"), failed_at + PAUSE / 2),
            "a dead host gets a pause"
        );
        assert!(slot.is_due(Some("a"), failed_at + PAUSE));
        assert!(slot.serve(Some("a"), failed_at + PAUSE).is_ok());
        assert_eq!(slot.serve(Some("a"), start + KEPT).err(), Some(Unreachable));
    }

    #[test]
    fn an_unknown_kid_asks_at_most_every_thirty_seconds() {
        let start = Instant::now();
        let slot = slot(start);
        assert!(
            slot.is_due(Some("b"), start),
            "the first time at once: keys rotate"
        );
        slot.attempts.lock().unknown_kid = Some(start);
        for seconds in [0, 1, 29] {
            assert!(
                !slot.is_due(Some("c"), start + Duration::from_secs(seconds)),
                "{seconds}"
            );
        }
        assert!(slot.is_due(Some("c"), start + UNKNOWN_KID));
        assert!(!slot.is_due(Some("a"), start), "nor does it disturb a known one");
    }

    #[test]
    fn a_kid_that_could_not_be_asked_for_is_not_known_to_be_wrong() {
        let start = Instant::now();
        let slot = slot(start);
        assert!(
            slot.serve(Some("b"), start).is_ok(),
            "the token fails: there is no such key"
        );
        slot.attempts.lock().failed = Some(start);
        assert_eq!(slot.serve(Some("b"), start).err(), Some(Unreachable));
        assert!(slot.serve(Some("a"), start).is_ok());
    }
}
