//! The registered claims of a foreign token (RFC 7519 §4.1), strictly typed; the rest stays as it was written.

use super::{ForeignError, text};
use serde_json::{Map, Value};

const MAX_AUDIENCES: usize = 64;
/// The end of year 9999: no honest date lies beyond, and no arithmetic below overflows.
const MAX_DATE: i64 = 253_402_300_799;

/// What a foreign token says.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignClaims {
    /// Its issuer.
    pub iss: String,
    /// Its subject.
    pub sub: String,
    /// Its audience.
    pub aud: Vec<String>,
    /// When it expires, seconds since 1970.
    pub exp: i64,
    /// When it was issued.
    pub iat: Option<i64>,
    /// When it begins to hold.
    pub nbf: Option<i64>,
    /// Its own id.
    pub jti: Option<String>,
    /// When its subject signed in (`OpenID` Connect Core §2).
    pub auth_time: Option<i64>,
    /// Everything it says, as written.
    pub all: Map<String, Value>,
}

impl ForeignClaims {
    pub(super) fn read(all: Map<String, Value>) -> Result<Self, ForeignError> {
        let required = |name| {
            text(&all, name)?
                .map(str::to_owned)
                .ok_or(ForeignError::Malformed)
        };
        Ok(Self {
            iss: required("iss")?,
            sub: required("sub")?,
            aud: audience(all.get("aud"))?,
            exp: date(&all, "exp")?.ok_or(ForeignError::Malformed)?,
            iat: date(&all, "iat")?,
            nbf: date(&all, "nbf")?,
            jti: text(&all, "jti")?.map(str::to_owned),
            auth_time: date(&all, "auth_time")?,
            all,
        })
    }
}

/// One text or an array of texts (RFC 7519 §4.1.3).
fn audience(value: Option<&Value>) -> Result<Vec<String>, ForeignError> {
    match value {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(several)) if several.len() <= MAX_AUDIENCES => several
            .iter()
            .map(|one| one.as_str().map(str::to_owned).ok_or(ForeignError::Malformed))
            .collect(),
        _ => Err(ForeignError::Malformed),
    }
}

/// A `NumericDate`, which may have a fraction (RFC 7519 §2); rounded down.
fn date(all: &Map<String, Value>, name: &str) -> Result<Option<i64>, ForeignError> {
    let Some(value) = all.get(name) else {
        return Ok(None);
    };
    let number = value.as_number().ok_or(ForeignError::Malformed)?.to_string();
    let whole = number.split_once('.').map_or(number.as_str(), |(whole, _)| whole);
    let seconds: i64 = whole.parse().map_err(|_| ForeignError::Malformed)?;
    if (0..=MAX_DATE).contains(&seconds) {
        Ok(Some(seconds))
    } else {
        Err(ForeignError::Malformed)
    }
}
