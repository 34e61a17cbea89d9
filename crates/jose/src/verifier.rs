//! The only place where an [`Unverified`] token becomes a [`Verified`] one.

use crate::low_s;
use crate::token::{TokenError, Unverified};
use caracal_domain::id::SigningKeyId;
use caracal_domain::{Claims, TokenUse};
use moka::sync::Cache;
use ring::digest;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use std::collections::HashMap;
use std::sync::LazyLock;

/// How far another replica's clock may be ahead of ours, for `iat` and `nbf` only.
const LEEWAY_SECONDS: i64 = 60;
/// Signatures remembered; some 10 MB when full.
const SIGNATURES: u64 = 65_536;

/// Signatures of session tokens that held, by a hash over key, message and signature. Whether a signature holds depends
/// on nothing else, so what is remembered stays true, whatever becomes of the key or the session: those are checked each
/// time. A session token is presented for each of its mandates; a mandate only once, and is not remembered.
static HELD: LazyLock<Cache<[u8; 32], ()>> = LazyLock::new(|| Cache::new(SIGNATURES));

/// What a token must say to be accepted here and now.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// The issuer, exactly: `{ISSUER_URL}/zones/{zone_id}`.
    pub issuer: &'a str,
    /// The current time, seconds since 1970.
    pub now: i64,
}

/// A token that our zone's key signed and that is valid now. Class, audience and revocation are the caller's to check.
#[derive(Debug, Clone)]
pub struct Verified {
    claims: Claims,
    kid: SigningKeyId,
}

impl Verified {
    /// What it says.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The key that signed it.
    #[must_use]
    pub const fn kid(&self) -> SigningKeyId {
        self.kid
    }
}

/// The public keys of one zone.
#[derive(Debug, Clone, Default)]
pub struct VerifyingKeys {
    points: HashMap<SigningKeyId, Vec<u8>>,
}

impl VerifyingKeys {
    /// Takes uncompressed P-256 points by `kid`.
    pub fn from_points(points: impl IntoIterator<Item = (SigningKeyId, Vec<u8>)>) -> Self {
        Self {
            points: points.into_iter().collect(),
        }
    }

    /// Whether a key with this id is here.
    #[must_use]
    pub fn contains(&self, kid: SigningKeyId) -> bool {
        self.points.contains_key(&kid)
    }

    /// Checks signature, issuer, zone and time, in this order.
    ///
    /// # Errors
    /// The first [`TokenError`] found.
    pub fn verify(&self, token: Unverified<'_>, expect: &Expect<'_>) -> Result<Verified, TokenError> {
        let kid = token.kid();
        let point = self.points.get(&kid).ok_or(TokenError::UnknownKey)?;
        check_signature(point, &token)?;
        check_claims(&token.claims, expect)?;
        Ok(Verified {
            claims: token.claims,
            kid,
        })
    }
}

fn check_signature(point: &[u8], token: &Unverified<'_>) -> Result<(), TokenError> {
    if !low_s::is_low(&token.signature) {
        return Err(TokenError::BadSignature);
    }
    let name = match token.claims.token_use {
        TokenUse::Session => name_of(point, token),
        TokenUse::Resource => None,
    };
    if name.is_some_and(|name| HELD.contains_key(&name)) {
        return Ok(());
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(token.signing_input.as_bytes(), &token.signature)
        .map_err(|_| TokenError::BadSignature)?;
    if let Some(name) = name {
        HELD.insert(name, ());
    }
    Ok(())
}

/// SHA-256(length of the point ‖ point ‖ signature ‖ message): the signature's length is fixed.
fn name_of(point: &[u8], token: &Unverified<'_>) -> Option<[u8; 32]> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&u64::try_from(point.len()).ok()?.to_be_bytes());
    hash.update(point);
    hash.update(&token.signature);
    hash.update(token.signing_input.as_bytes());
    hash.finish().as_ref().try_into().ok()
}

fn check_claims(claims: &Claims, expect: &Expect<'_>) -> Result<(), TokenError> {
    if claims.iss != expect.issuer {
        return Err(TokenError::WrongIssuer);
    }
    let issuing_zone = expect
        .issuer
        .rsplit_once("/zones/")
        .and_then(|(_, zone)| zone.parse().ok());
    if issuing_zone != Some(claims.zone_id) {
        return Err(TokenError::WrongZone);
    }
    if claims.is_expired_at(expect.now) {
        return Err(TokenError::Expired);
    }
    let latest_start = expect.now.saturating_add(LEEWAY_SECONDS);
    if claims.nbf > latest_start || claims.iat > latest_start {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}
