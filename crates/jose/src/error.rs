//! What can go wrong here; never says anything about the secret it went wrong with.

/// A failed cryptographic act that is not about a presented token (see [`crate::TokenError`] for those).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configured key-encryption keys cannot be read.
    #[error("reading the key-encryption keys: {0}")]
    KekFormat(&'static str),
    /// What is to be opened was sealed by a key that is not here.
    #[error("opening what key {0:?} sealed: there is no such key")]
    UnknownKey(String),
    /// It was altered, moved to another row, zone or purpose, or sealed by another key of the same name.
    #[error("opening a sealed value: it does not belong here")]
    Open,
    /// Sealing failed.
    #[error("sealing a value")]
    Seal,
    /// A key pair cannot be generated or read.
    #[error("reading or generating a signing key")]
    SigningKey,
    /// A token cannot be signed.
    #[error("signing a token")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A JWK Set cannot be read.
    #[error("reading a JWK Set: {0}")]
    KeySet(&'static str),
    /// A secret cannot be hashed.
    #[error("hashing a secret")]
    Hash,
    /// The operating system gives no randomness.
    #[error("drawing random bytes")]
    Random,
}
