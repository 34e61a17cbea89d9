//! A zone's ES256 key pairs.

use crate::error::Error;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use std::fmt;
use zeroize::Zeroizing;

/// A key pair that has just been drawn; the private half is to be sealed at once.
pub struct NewKeyPair {
    /// The public half: an uncompressed point, 65 bytes.
    pub public: Vec<u8>,
    /// The private half.
    pub pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for NewKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewKeyPair")
    }
}

/// Draws a new P-256 key pair.
///
/// # Errors
/// [`Error::SigningKey`] when there is no randomness.
pub fn generate_key_pair() -> Result<NewKeyPair, Error> {
    let rng = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng)
        .map_err(|_| Error::SigningKey)?;
    let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
    let public = read(&pkcs8)?.public_key().as_ref().to_vec();
    Ok(NewKeyPair { public, pkcs8 })
}

pub(crate) fn read(pkcs8: &[u8]) -> Result<EcdsaKeyPair, Error> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
        .map_err(|_| Error::SigningKey)
}
