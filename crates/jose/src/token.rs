//! What is refused about a token of ours before its signature is looked at.

use crate::low_s::Signature;
use crate::signer::TOKEN_TYPE;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_domain::Claims;
use caracal_domain::actor::MAX_ACTORS;
use caracal_domain::id::{SigningKeyId, ZoneId};
use caracal_domain::strict_json;
use serde::Deserialize;

/// The largest bearer that is looked at (contract §5).
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a presented token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a compact JWS of ours: parts, encoding, header or claims.
    #[error("the token is malformed")]
    Malformed,
    /// It names a key the zone does not have.
    #[error("the token names an unknown key")]
    UnknownKey,
    /// The signature is not that key's, or is the twin we never make.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Another issuer's.
    #[error("the token has another issuer")]
    WrongIssuer,
    /// Its zone is not the one its issuer names.
    #[error("the token's zone is not its issuer's")]
    WrongZone,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is from the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It is larger than [`MAX_TOKEN_BYTES`].
    #[error("the token is too large")]
    TooLarge,
}

/// A well-formed token whose signature nobody has checked; it tells only which key to check it with.
#[derive(Debug)]
pub struct Unverified<'a> {
    pub(crate) signing_input: &'a str,
    pub(crate) signature: Signature,
    pub(crate) claims: Claims,
    kid: SigningKeyId,
}

/// Exactly what our signer writes. Whatever else a header may hold (`crit`, `jwk`, `jku`, `x5c`, `b64`, …) is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

impl<'a> Unverified<'a> {
    /// Takes the token apart: three non-empty unpadded base64url parts, at most 8 KiB, `alg=ES256`, `typ=at+jwt`, a
    /// canonical `kid`, no other header, no duplicate members, claims of the agreed shape.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] or [`TokenError::TooLarge`].
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLarge);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenError::Malformed)?;
        let kid = read_header(&decode(header)?)?;
        let claims: Claims = strict_json::from_slice(&decode(payload)?).map_err(|_| TokenError::Malformed)?;
        if claims.actors().count() > MAX_ACTORS {
            return Err(TokenError::Malformed);
        }
        let signature = decode(signature)?.try_into().map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            signing_input,
            signature,
            claims,
            kid,
        })
    }

    /// The key it names.
    #[must_use]
    pub const fn kid(&self) -> SigningKeyId {
        self.kid
    }

    /// The zone it claims, only to choose the key set it is checked against.
    #[must_use]
    pub const fn zone_hint(&self) -> ZoneId {
        self.claims.zone_id
    }
}

fn read_header(bytes: &[u8]) -> Result<SigningKeyId, TokenError> {
    let header: Header = strict_json::from_slice(bytes).map_err(|_| TokenError::Malformed)?;
    if header.alg != "ES256" || header.typ != TOKEN_TYPE {
        return Err(TokenError::Malformed);
    }
    header.kid.parse().map_err(|_| TokenError::Malformed)
}

/// Unpadded and canonical: stray bits after the last character are refused too, so a token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    if part.is_empty() {
        return Err(TokenError::Malformed);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}
