//! Fingerprints of request bodies: a body may hold a guessable secret, so what is kept of it is keyed (contract §1,
//! "Concurrency").

use crate::envelope::Kek;
use crate::error::Error;
use ring::hmac;
use std::fmt;

/// Makes and compares fingerprints of 32 bytes.
#[derive(Clone)]
pub struct BodyMac {
    signing: hmac::Key,
    retired: Vec<hmac::Key>,
}

impl BodyMac {
    /// Keyed by the KEK; what was made under an older KEK still compares.
    ///
    /// # Errors
    /// [`Error::KekFormat`] when there is no KEK, which [`Kek::parse`] does not let happen.
    pub fn from_kek(kek: &Kek) -> Result<Self, Error> {
        let mut keys = kek.derive("caracal:v1:idempotency-body").into_iter();
        Ok(Self {
            signing: keys.next().ok_or(Error::KekFormat("there is none"))?,
            retired: keys.collect(),
        })
    }

    /// The fingerprint of these bytes.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&self.signing, bytes).as_ref().to_vec()
    }

    /// Whether this is the fingerprint of these bytes, in constant time.
    #[must_use]
    pub fn matches(&self, bytes: &[u8], fingerprint: &[u8]) -> bool {
        let mut keys = std::iter::once(&self.signing).chain(&self.retired);
        keys.any(|key| hmac::verify(key, bytes, fingerprint).is_ok())
    }
}

impl fmt::Debug for BodyMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyMac")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(kek: &str) -> BodyMac {
        BodyMac::from_kek(&Kek::parse(kek).unwrap()).unwrap()
    }

    #[test]
    fn a_fingerprint_is_keyed_and_survives_rotation_of_the_kek() {
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        let fingerprint = mac(&one).sign(b"{}");
        assert_eq!(fingerprint.len(), 32);
        assert!(mac(&one).matches(b"{}", &fingerprint));
        assert!(!mac(&one).matches(b"{\"a\":1}", &fingerprint));
        assert!(!mac(&two).matches(b"{}", &fingerprint));
        assert!(mac(&format!("new:{two},default:{one}")).matches(b"{}", &fingerprint));
    }
}
