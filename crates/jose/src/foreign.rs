//! Tokens that others sign: client assertions (RFC 7523) and the tokens of registered subject issuers (RFC 7519).
//!
//! Nothing a token says about how to verify it is believed: the algorithm must be one of five and the key's own, the
//! key must come from the set that was configured for the signer, and headers that bring a key or a rule of their own
//! are refused before anything else is looked at (RFC 8725 §3).

mod claims;
mod keys;

pub use claims::ForeignClaims;
pub use keys::{ForeignKeys, MAX_KEY_SET_BYTES, is_verifying_key};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_domain::strict_json;
use serde_json::{Map, Value};

/// The largest foreign token that is looked at.
pub const MAX_FOREIGN_TOKEN_BYTES: usize = 16 * 1024;
/// How far another clock may be off, either way.
const LEEWAY_SECONDS: i64 = 60;
const MAX_KID_BYTES: usize = 256;

/// Header parameters that name, bring or change how to verify: never honoured, so never accepted (RFC 7515 §4.1).
const REFUSED_PARAMETERS: [&str; 8] = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc"];

/// The algorithms others may sign with (contract §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForeignAlgorithm {
    /// ECDSA over P-256.
    Es256,
    /// ECDSA over P-384.
    Es384,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA PSS with SHA-256.
    Ps256,
    /// Ed25519.
    EdDsa,
}

impl ForeignAlgorithm {
    /// Every algorithm, as metadata lists them.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::Rs256, Self::Ps256, Self::EdDsa];

    /// Its name in a header (RFC 7518 §3.1, RFC 8037 §3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with exactly this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why a foreign token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// Not a compact JWS we read: parts, encoding, header, algorithm or claims.
    #[error("the token is malformed")]
    Malformed,
    /// It is larger than [`MAX_FOREIGN_TOKEN_BYTES`].
    #[error("the token is too large")]
    TooLarge,
    /// It names a key the set does not have, or none fits its algorithm.
    #[error("the token names an unknown key")]
    UnknownKey,
    /// The signature is not that key's.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Its `typ` says that it is something else.
    #[error("the token is of another type")]
    WrongType,
    /// Another issuer's.
    #[error("the token has another issuer")]
    WrongIssuer,
    /// Meant for somebody else.
    #[error("the token has another audience")]
    WrongAudience,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is from the future.
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// What a foreign token must say to be accepted here and now.
#[derive(Debug, Clone, Copy)]
pub struct ForeignExpect<'a> {
    /// The issuer, exactly.
    pub issuer: &'a str,
    /// One of these must be in its audience.
    pub audiences: &'a [&'a str],
    /// Its `typ`, if it has one, in lower case and without `application/`.
    pub types: &'a [&'a str],
    /// The current time, seconds since 1970.
    pub now: i64,
}

/// A well-formed token of somebody else's, which nobody has verified; it tells only whose keys to verify it with.
#[derive(Debug)]
pub struct ForeignToken<'a> {
    signing_input: &'a str,
    signature: Vec<u8>,
    algorithm: ForeignAlgorithm,
    kid: Option<String>,
    typ: Option<String>,
    claims: ForeignClaims,
}

impl<'a> ForeignToken<'a> {
    /// Takes the token apart: three non-empty unpadded base64url parts, JSON without duplicate members, one of the
    /// five algorithms, no header that brings its own key.
    ///
    /// # Errors
    /// [`ForeignError::Malformed`] or [`ForeignError::TooLarge`].
    pub fn parse(token: &'a str) -> Result<Self, ForeignError> {
        if token.len() > MAX_FOREIGN_TOKEN_BYTES {
            return Err(ForeignError::TooLarge);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(ForeignError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(ForeignError::Malformed)?;
        let header: Map<String, Value> = read(header)?;
        if REFUSED_PARAMETERS.iter().any(|name| header.contains_key(*name)) {
            return Err(ForeignError::Malformed);
        }
        let algorithm = text(&header, "alg")?.and_then(ForeignAlgorithm::parse);
        let kid = text(&header, "kid")?.map(str::to_owned);
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(ForeignError::Malformed);
        }
        Ok(Self {
            signing_input,
            signature: decode(signature)?,
            algorithm: algorithm.ok_or(ForeignError::Malformed)?,
            kid,
            typ: text(&header, "typ")?.map(str::to_ascii_lowercase),
            claims: ForeignClaims::read(read(payload)?)?,
        })
    }

    /// Whose it says it is, only to choose the keys it is verified with.
    #[must_use]
    pub fn issuer_hint(&self) -> &str {
        &self.claims.iss
    }

    /// Whom it says it is about, only to find out whose keys to use.
    #[must_use]
    pub fn subject_hint(&self) -> &str {
        &self.claims.sub
    }

    /// Whom it says it is for, only to choose among registrations of one issuer.
    #[must_use]
    pub fn audience_hint(&self) -> &[String] {
        &self.claims.aud
    }

    /// The key it names.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Checks signature, type, issuer, audience and time, in this order.
    ///
    /// # Errors
    /// The first [`ForeignError`] found.
    pub fn verify(
        self,
        keys: &ForeignKeys,
        expect: &ForeignExpect<'_>,
    ) -> Result<VerifiedForeign, ForeignError> {
        let signed = self.signing_input.as_bytes();
        keys.check(self.kid.as_deref(), self.algorithm, signed, &self.signature)?;
        let typ = self
            .typ
            .as_deref()
            .map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        if typ.is_some_and(|typ| !expect.types.contains(&typ)) {
            return Err(ForeignError::WrongType);
        }
        check(&self.claims, expect)?;
        Ok(VerifiedForeign(self.claims))
    }
}

fn check(claims: &ForeignClaims, expect: &ForeignExpect<'_>) -> Result<(), ForeignError> {
    if claims.iss != expect.issuer {
        return Err(ForeignError::WrongIssuer);
    }
    if !claims
        .aud
        .iter()
        .any(|aud| expect.audiences.contains(&aud.as_str()))
    {
        return Err(ForeignError::WrongAudience);
    }
    if expect.now >= claims.exp.saturating_add(LEEWAY_SECONDS) {
        return Err(ForeignError::Expired);
    }
    let latest_start = expect.now.saturating_add(LEEWAY_SECONDS);
    if claims
        .iat
        .into_iter()
        .chain(claims.nbf)
        .any(|start| start > latest_start)
    {
        return Err(ForeignError::NotYetValid);
    }
    Ok(())
}

/// A foreign token whose signature, type, issuer, audience and times are right. Only this module makes one.
#[derive(Debug, Clone)]
pub struct VerifiedForeign(ForeignClaims);

impl VerifiedForeign {
    /// What it says.
    #[must_use]
    pub const fn claims(&self) -> &ForeignClaims {
        &self.0
    }

    /// What it says, to keep.
    #[must_use]
    pub fn into_claims(self) -> ForeignClaims {
        self.0
    }
}

fn read(part: &str) -> Result<Map<String, Value>, ForeignError> {
    strict_json::from_slice(&decode(part)?).map_err(|_| ForeignError::Malformed)
}

/// A member that must be text if it is there.
fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, ForeignError> {
    members
        .get(name)
        .map(|value| value.as_str().ok_or(ForeignError::Malformed))
        .transpose()
}

/// Unpadded and canonical, as for our own tokens.
fn decode(part: &str) -> Result<Vec<u8>, ForeignError> {
    if part.is_empty() {
        return Err(ForeignError::Malformed);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| ForeignError::Malformed)
}
