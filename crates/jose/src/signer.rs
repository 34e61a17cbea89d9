//! Signing: claims become a compact JWS of type `at+jwt` (RFC 9068). josekit writes the JOSE format, ring signs.

use crate::error::Error;
use crate::key_pair;
use crate::low_s;
use caracal_domain::Claims;
use caracal_domain::id::SigningKeyId;
use josekit::JoseError;
use josekit::jws::alg::ecdsa::EcdsaJwsAlgorithm;
use josekit::jws::{self, JwsAlgorithm, JwsHeader, JwsSigner};
use ring::rand::SystemRandom;
use ring::signature::EcdsaKeyPair;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// The `typ` of every token of ours.
pub(crate) const TOKEN_TYPE: &str = "at+jwt";

/// What a token has besides its claims: the header (all of ours are of one length), the signature, and two dots.
const AROUND_THE_PAYLOAD: usize = 100 + 86 + 2;

/// A signing key, ready to sign.
#[derive(Clone)]
pub struct Signer {
    kid: SigningKeyId,
    header: JwsHeader,
    key: RingKey,
}

impl Signer {
    /// Takes an opened private key.
    ///
    /// # Errors
    /// [`Error::SigningKey`] when it is not a P-256 key in PKCS#8.
    pub fn from_pkcs8(kid: SigningKeyId, pkcs8: &[u8]) -> Result<Self, Error> {
        let pair = Arc::new(key_pair::read(pkcs8)?);
        let mut header = JwsHeader::new();
        header.set_token_type(TOKEN_TYPE);
        Ok(Self {
            kid,
            header,
            key: RingKey {
                kid: kid.to_string().into(),
                pair,
            },
        })
    }

    /// The key's id, which its tokens name.
    #[must_use]
    pub const fn kid(&self) -> SigningKeyId {
        self.kid
    }

    /// Signs claims: header `alg=ES256 kid typ=at+jwt`, nothing else.
    ///
    /// # Errors
    /// [`Error::Sign`] when there is no randomness.
    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        self.compact(&self.header, claims)
    }

    /// How many bytes [`Signer::sign`] would make of these claims.
    ///
    /// # Errors
    /// [`Error::Sign`] when they cannot be written.
    pub fn length_of(&self, claims: &Claims) -> Result<usize, Error> {
        let payload = serde_json::to_vec(claims).map_err(|source| Error::Sign(source.into()))?;
        Ok(AROUND_THE_PAYLOAD + (payload.len() * 4).div_ceil(3))
    }

    /// Signs what the zone says of itself to others: `typ=JWT`, so that it is never taken for a token of ours.
    ///
    /// # Errors
    /// [`Error::Sign`] when there is no randomness.
    pub fn sign_assertion(&self, claims: &Value) -> Result<String, Error> {
        let mut header = self.header.clone();
        header.set_token_type("JWT");
        self.compact(&header, claims)
    }

    fn compact(&self, header: &JwsHeader, claims: &impl Serialize) -> Result<String, Error> {
        let payload = serde_json::to_vec(claims).map_err(|source| Error::Sign(source.into()))?;
        jws::serialize_compact(&payload, header, &self.key).map_err(|source| Error::Sign(source.into()))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.kid)
    }
}

/// josekit's idea of a signer over a key that ring holds.
#[derive(Clone)]
struct RingKey {
    kid: Arc<str>,
    pair: Arc<EcdsaKeyPair>,
}

impl JwsSigner for RingKey {
    fn algorithm(&self) -> &dyn JwsAlgorithm {
        &EcdsaJwsAlgorithm::Es256
    }

    fn key_id(&self) -> Option<&str> {
        Some(&self.kid)
    }

    fn signature_len(&self) -> usize {
        64
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        let refuse = || JoseError::InvalidSignature(std::io::Error::other("ring could not sign").into());
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| refuse())?;
        let signature = signature.as_ref().try_into().map_err(|_| refuse())?;
        Ok(low_s::normalise(signature).to_vec())
    }

    fn box_clone(&self) -> Box<dyn JwsSigner> {
        Box::new(self.clone())
    }
}

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingKey({})", self.kid)
    }
}
