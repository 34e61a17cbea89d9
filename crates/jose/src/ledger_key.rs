//! The Ed25519 key that signs the checkpoints of ledgers.

use crate::error::Error;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fmt;
use zeroize::Zeroizing;

/// A key pair in memory; it shows its public half only.
pub struct LedgerKey(Ed25519KeyPair);

impl LedgerKey {
    /// Draws a new key pair, as PKCS #8, to be sealed at once.
    ///
    /// # Errors
    /// [`Error::SigningKey`] when there is no randomness.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, Error> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Error::SigningKey)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads a key pair.
    ///
    /// # Errors
    /// [`Error::SigningKey`] when it is none.
    pub fn read(pkcs8: &[u8]) -> Result<Self, Error> {
        Ed25519KeyPair::from_pkcs8(pkcs8)
            .map(Self)
            .map_err(|_| Error::SigningKey)
    }

    /// The public half.
    ///
    /// # Errors
    /// [`Error::SigningKey`]; never, as it has 32 bytes.
    pub fn public(&self) -> Result<[u8; 32], Error> {
        let public = self.0.public_key().as_ref();
        public.try_into().map_err(|_| Error::SigningKey)
    }

    /// Signs a text (RFC 8032): the same text always gives the same signature.
    ///
    /// # Errors
    /// [`Error::SigningKey`]; never, as it has 64 bytes.
    pub fn sign(&self, text: &str) -> Result<[u8; 64], Error> {
        let signature = self.0.sign(text.as_bytes());
        signature.as_ref().try_into().map_err(|_| Error::SigningKey)
    }
}

impl fmt::Debug for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerKey")
    }
}
