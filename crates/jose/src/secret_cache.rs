//! Secrets that verified a moment ago, so that an application's every request does not cost a derivation.

use crate::error::Error;
use caracal_domain::id::ApplicationId;
use moka::sync::Cache;
use ring::hmac;
use ring::rand::SystemRandom;
use std::fmt;
use std::time::Duration;

/// Remembers successes only, as HMACs under a key that lives and dies with the process. The stored hash is part of
/// what is remembered, so rotating a secret forgets the old one by itself. What nobody has shown for a while is
/// forgotten, and what was used least when there are too many; what is in use is not, however old: it would then have to
/// wait its turn among other people's failures.
pub struct SecretCache {
    key: hmac::Key,
    verified: Cache<[u8; 32], ()>,
}

impl SecretCache {
    /// An empty cache of at most so many, each for as long after its last use.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn new(capacity: u64, idle: Duration) -> Result<Self, Error> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| Error::Random)?;
        Ok(Self {
            key,
            verified: Cache::builder().max_capacity(capacity).time_to_idle(idle).build(),
        })
    }

    /// Whether this secret has verified against this hash before. `false` says nothing: derive.
    #[must_use]
    pub fn knows(&self, application: ApplicationId, secret: &str, phc: &str) -> bool {
        self.fingerprint(application, secret, phc)
            .is_some_and(|name| self.verified.get(&name).is_some())
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

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn what_is_shown_again_and_again_stays_and_what_is_not_goes() {
        let idle = Duration::from_millis(400);
        let cache = SecretCache::new(10, idle).unwrap();
        let one = Uuid::from_u128(1).into();
        cache.remember(one, "used", "phc");
        cache.remember(one, "unused", "phc");
        for _ in 0..8 {
            std::thread::sleep(idle / 4);
            assert!(cache.knows(one, "used", "phc"));
        }
        assert!(!cache.knows(one, "unused", "phc"));
    }

    #[test]
    fn there_are_never_more_than_fit() {
        let cache = SecretCache::new(10, HOUR).unwrap();
        let one = Uuid::from_u128(1).into();
        let names: Vec<_> = (0..1000).map(|n| format!("secret-{n}")).collect();
        for name in &names {
            cache.remember(one, name, "phc");
        }
        cache.verified.run_pending_tasks();
        let known = names.iter().filter(|name| cache.knows(one, name, "phc"));
        assert!(known.count() <= 10);
    }

    #[test]
    fn only_the_same_secret_of_the_same_application_under_the_same_hash_is_known() {
        let cache = SecretCache::new(10, HOUR).unwrap();
        let (one, two) = (Uuid::from_u128(1).into(), Uuid::from_u128(2).into());
        cache.remember(one, "secret", "phc");
        assert!(cache.knows(one, "secret", "phc"));
        assert!(!cache.knows(two, "secret", "phc"));
        assert!(!cache.knows(one, "other", "phc"));
        assert!(!cache.knows(one, "secret", "rotated"));
        assert!(!cache.knows(one, "secretp", "hc"), "the boundary cannot be moved");
    }
}
