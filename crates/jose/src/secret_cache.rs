//! Secrets that verified a moment ago, so that an application's every request does not cost a derivation.

use crate::error::Error;
use caracal_domain::id::ApplicationId;
use moka::sync::Cache;
use ring::hmac;
use ring::rand::SystemRandom;
use std::fmt;

/// Remembers successes only, as HMACs under a key that lives and dies with the process. The stored hash is part of
/// what is remembered, so rotating a secret forgets the old one by itself. Nothing is forgotten for its age alone: a
/// secret that has verified would then have to wait its turn among other people's failures.
pub struct SecretCache {
    key: hmac::Key,
    verified: Cache<[u8; 32], ()>,
}

impl SecretCache {
    /// An empty cache.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn new(capacity: u64) -> Result<Self, Error> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| Error::Random)?;
        Ok(Self {
            key,
            verified: Cache::new(capacity),
        })
    }

    /// Whether this secret has verified against this hash before. `false` says nothing: derive.
    #[must_use]
    pub fn knows(&self, application: ApplicationId, secret: &str, phc: &str) -> bool {
        self.fingerprint(application, secret, phc)
            .is_some_and(|name| self.verified.contains_key(&name))
    }

    /// Remembers that it verified.
    pub fn remember(&self, application: ApplicationId, secret: &str, phc: &str) {
        if let Some(name) = self.fingerprint(application, secret, phc) {
            self.verified.insert(name, ());
        }
    }

    fn fingerprint(&self, application: ApplicationId, secret: &str, phc: &str) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(application.as_uuid().as_bytes());
        // The length keeps the boundary between secret and hash where it is.
        context.update(&u64::try_from(secret.len()).ok()?.to_be_bytes());
        context.update(secret.as_bytes());
        context.update(phc.as_bytes());
        context.sign().as_ref().try_into().ok()
    }
}

impl fmt::Debug for SecretCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretCache({} entries)", self.verified.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn only_the_same_secret_of_the_same_application_under_the_same_hash_is_known() {
        let cache = SecretCache::new(10).unwrap();
        let (one, two) = (Uuid::from_u128(1).into(), Uuid::from_u128(2).into());
        cache.remember(one, "secret", "phc");
        assert!(cache.knows(one, "secret", "phc"));
        assert!(!cache.knows(two, "secret", "phc"));
        assert!(!cache.knows(one, "other", "phc"));
        assert!(!cache.knows(one, "secret", "rotated"));
        assert!(!cache.knows(one, "secretp", "hc"), "the boundary cannot be moved");
    }
}
