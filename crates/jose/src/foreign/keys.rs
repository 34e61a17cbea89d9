//! The public keys of somebody else: a JWK Set (RFC 7517) read strictly, and the check of a signature against it.

use super::{ForeignAlgorithm, ForeignError};
use crate::error::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_domain::strict_json;
use ring::agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Map, Value};

/// The largest JWK Set that is read.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 64;
/// Keys that share a `kid` and an algorithm: more are never tried.
const MAX_CANDIDATES: usize = 4;
/// RSA keys below are too weak (RFC 7518 §3.3), above too slow.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Members only a key's owner may have (RFC 7518 §6): a set that shows them has lost that key.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
const UNCOMPRESSED: u8 = 4;

/// The usable keys of a JWK Set. What is not for signatures, too weak, malformed, or shows its private part is passed
/// over (RFC 7517 §5), so that one odd key does not take the others away.
#[derive(Debug, Clone, Default)]
pub struct ForeignKeys(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    kid: Option<String>,
    algorithm: Option<ForeignAlgorithm>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ed25519(Vec<u8>),
}

impl ForeignKeys {
    /// Reads a fetched JWK Set.
    ///
    /// # Errors
    /// [`Error::KeySet`] when it is not a JWK Set, names a member twice, or is too large.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_KEY_SET_BYTES {
            return Err(Error::KeySet("it is too large"));
        }
        let set = strict_json::from_slice(bytes).map_err(|_| Error::KeySet("it is not strict JSON"))?;
        Self::from_value(&set)
    }

    /// Reads a JWK Set that is JSON already.
    ///
    /// # Errors
    /// [`Error::KeySet`] when it is not a JWK Set, or holds too many keys.
    pub fn from_value(set: &Value) -> Result<Self, Error> {
        let keys = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(Error::KeySet("there is no array of keys"))?;
        if keys.len() > MAX_KEYS {
            return Err(Error::KeySet("there are too many keys"));
        }
        Ok(Self(
            keys.iter()
                .filter_map(Value::as_object)
                .filter_map(Key::read)
                .collect(),
        ))
    }

    /// Whether a token that names this key could be verified; without a name, whether any could.
    #[must_use]
    pub fn contains(&self, kid: Option<&str>) -> bool {
        self.0
            .iter()
            .any(|key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)))
    }

    /// Checks a signature with the keys of this name that are for this algorithm.
    pub(super) fn check(
        &self,
        kid: Option<&str>,
        algorithm: ForeignAlgorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), ForeignError> {
        let named = |key: &&Key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
        let mut candidates = self
            .0
            .iter()
            .filter(named)
            .filter(|key| key.is_for(algorithm))
            .take(MAX_CANDIDATES)
            .peekable();
        if candidates.peek().is_none() {
            return Err(ForeignError::UnknownKey);
        }
        if candidates.any(|key| key.verifies(algorithm, signed, signature)) {
            Ok(())
        } else {
            Err(ForeignError::BadSignature)
        }
    }
}

/// Whether a JWK is a public key that could ever verify a signature here: of a kind and for a use we know, as long as its
/// kind is, and on its curve.
#[must_use]
pub fn is_verifying_key(jwk: &Value) -> bool {
    let key = jwk.as_object().and_then(Key::read);
    key.is_some_and(|key| {
        ForeignAlgorithm::ALL
            .into_iter()
            .any(|algorithm| key.is_for(algorithm))
            && key.material.is_sound()
    })
}

impl Key {
    fn read(members: &Map<String, Value>) -> Option<Self> {
        if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) || !is_for_verifying(members) {
            return None;
        }
        let algorithm = match members.get("alg") {
            None => None,
            Some(name) => Some(ForeignAlgorithm::parse(name.as_str()?)?),
        };
        let kid = match members.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        Some(Self {
            kid,
            algorithm,
            material: Material::read(members)?,
        })
    }

    /// A key is for the algorithms of its kind, or for the one it names.
    fn is_for(&self, algorithm: ForeignAlgorithm) -> bool {
        let of_kind = match self.material {
            Material::P256(_) => algorithm == ForeignAlgorithm::Es256,
            Material::P384(_) => algorithm == ForeignAlgorithm::Es384,
            Material::Rsa { .. } => matches!(algorithm, ForeignAlgorithm::Rs256 | ForeignAlgorithm::Ps256),
            Material::Ed25519(_) => algorithm == ForeignAlgorithm::EdDsa,
        };
        of_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    fn verifies(&self, algorithm: ForeignAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.material {
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            Material::P384(point) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature)
            }
            Material::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(signed, signature),
            Material::Rsa { n, e } => {
                let parameters = if algorithm == ForeignAlgorithm::Ps256 {
                    &RSA_PSS_2048_8192_SHA256
                } else {
                    &RSA_PKCS1_2048_8192_SHA256
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature)
            }
        };
        verified.is_ok()
    }
}

/// RFC 7517 §4.2 and §4.3.
fn is_for_verifying(members: &Map<String, Value>) -> bool {
    let usage = members.get("use").is_none_or(|usage| usage == "sig");
    let operations = members.get("key_ops").is_none_or(|operations| {
        operations
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one == "verify"))
    });
    usage && operations
}

impl Material {
    fn read(members: &Map<String, Value>) -> Option<Self> {
        let text = |name| members.get(name).and_then(Value::as_str);
        match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => point(members, 32).map(Self::P256),
            ("EC", Some("P-384")) => point(members, 48).map(Self::P384),
            ("OKP", Some("Ed25519")) => bytes(members, "x").filter(|x| x.len() == 32).map(Self::Ed25519),
            ("RSA", None) => {
                let (n, e) = (unsigned(members, "n")?, unsigned(members, "e")?);
                let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
                RSA_BITS.contains(&bits).then_some(Self::Rsa { n, e })
            }
            _ => None,
        }
    }
}

impl Material {
    /// What only the check of a signature would find out otherwise.
    fn is_sound(&self) -> bool {
        let is_odd = |number: &[u8]| number.last().is_some_and(|digit| digit % 2 == 1);
        match self {
            Self::P256(point) => is_on_curve(&ECDH_P256, point),
            Self::P384(point) => is_on_curve(&ECDH_P384, point),
            Self::Rsa { n, e } => is_odd(n) && is_odd(e) && e.as_slice() != [1],
            Self::Ed25519(_) => true,
        }
    }
}

/// Nobody agrees on a key with a point elsewhere.
fn is_on_curve(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let other = agreement::UnparsedPublicKey::new(curve, point);
    let agreed = EphemeralPrivateKey::generate(curve, &SystemRandom::new())
        .and_then(|own| agreement::agree_ephemeral(own, &other, |_| ()));
    agreed.is_ok()
}

fn point(members: &Map<String, Value>, size: usize) -> Option<Vec<u8>> {
    let coordinate = |name| bytes(members, name).filter(|bytes| bytes.len() == size);
    Some([vec![UNCOMPRESSED], coordinate("x")?, coordinate("y")?].concat())
}

/// A big-endian number without leading zeros, as ring takes it.
fn unsigned(members: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = bytes(members, name)?
        .into_iter()
        .skip_while(|digit| *digit == 0)
        .collect();
    (!digits.is_empty()).then_some(digits)
}

fn bytes(members: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(members.get(name)?.as_str()?).ok()
}
