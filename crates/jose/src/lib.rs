//! Every cryptographic act of Caracal: signing and strictly verifying our own tokens (RFC 7515, RFC 9068), key sets
//! (RFC 7517), envelope encryption of keys and secrets, and the secrets of applications.
//!
//! This crate must never do I/O, ask the time, or show a secret: `Debug` of what holds one prints its name only. A
//! [`Verified`] token can be made nowhere else.
//!
//! Start with [`signer`] (how a token comes to be) and [`token`] (what is refused before a signature is even looked
//! at), then [`foreign`] (the tokens of others) and [`envelope`].

pub mod body_mac;
pub mod envelope;
mod error;
pub mod foreign;
pub mod jwks;
pub mod key_pair;
pub mod ledger_key;
mod low_s;
pub mod outgoing_assertion;
pub mod secret;
pub mod secret_cache;
pub mod signer;
pub mod token;
pub mod verifier;

pub use body_mac::BodyMac;
pub use envelope::{Dek, Kek, Purpose};
pub use error::Error;
pub use foreign::{
    ForeignAlgorithm, ForeignClaims, ForeignError, ForeignExpect, ForeignKeys, ForeignToken, VerifiedForeign,
    is_verifying_key,
};
pub use jwks::jwks;
pub use key_pair::{NewKeyPair, generate_key_pair};
pub use ledger_key::LedgerKey;
pub use outgoing_assertion::{check_private_key, outgoing_assertion};
pub use secret::{
    SecretMint, constant_time_eq, hash_generated, hash_secret, random_token, sha256, sha256_hex,
    verify_secret,
};
pub use secret_cache::SecretCache;
pub use signer::Signer;
pub use token::{MAX_TOKEN_BYTES, TokenError, Unverified};
pub use verifier::{Expect, Verified, VerifyingKeys};

/// What this crate's own functions answer.
pub type Result<T> = std::result::Result<T, Error>;
