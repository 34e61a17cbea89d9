//! A zone's public keys as a JWK Set (RFC 7517), out and in.

use crate::error::Error;
use crate::verifier::VerifyingKeys;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_domain::id::SigningKeyId;
use caracal_domain::zone::{KeyStatus, SigningKey};
use josekit::jwk::Jwk;
use serde_json::{Value, json};

/// Marks a point as uncompressed (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// The published keys: whoever is not retired, the next one included so that verifiers know it before it signs.
#[must_use]
pub fn jwks(keys: &[SigningKey]) -> Value {
    let published = keys.iter().filter(|key| key.status != KeyStatus::Retired);
    json!({ "keys": published.filter_map(public_jwk).collect::<Vec<_>>() })
}

fn public_jwk(key: &SigningKey) -> Option<Value> {
    let (x, y) = key
        .public
        .strip_prefix(&[UNCOMPRESSED])?
        .split_at_checked(32)
        .filter(|(_, y)| y.len() == 32)?;
    Some(json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key.id,
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }))
}

impl VerifyingKeys {
    /// Reads a zone's JWK Set. Keys of another kind or use are passed over, as RFC 7517 §5 asks.
    ///
    /// # Errors
    /// [`Error::KeySet`] when it is not a JWK Set, or a key of ours in it is broken.
    pub fn from_jwks(set: &Value) -> Result<Self, Error> {
        let keys = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(Error::KeySet("there is no array of keys"))?;
        let points = keys
            .iter()
            .filter_map(|key| read_key(key).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::from_points(points))
    }
}

fn read_key(value: &Value) -> Result<Option<(SigningKeyId, Vec<u8>)>, Error> {
    let members = value.as_object().ok_or(Error::KeySet("a key is not an object"))?;
    let key = Jwk::from_map(members.clone()).map_err(|_| Error::KeySet("a key is malformed"))?;
    let ours = key.key_type() == "EC"
        && key.curve() == Some("P-256")
        && key.key_use().is_none_or(|usage| usage == "sig")
        && key.algorithm().is_none_or(|algorithm| algorithm == "ES256");
    if !ours {
        return Ok(None);
    }
    let kid = key
        .key_id()
        .and_then(|kid| kid.parse().ok())
        .ok_or(Error::KeySet("a kid is not an id"))?;
    let point = [vec![UNCOMPRESSED], coordinate(&key, "x")?, coordinate(&key, "y")?].concat();
    Ok(Some((kid, point)))
}

fn coordinate(key: &Jwk, name: &str) -> Result<Vec<u8>, Error> {
    key.parameter(name)
        .and_then(Value::as_str)
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .filter(|bytes| bytes.len() == 32)
        .ok_or(Error::KeySet("a coordinate is not 32 bytes"))
}
