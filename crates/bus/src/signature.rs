//! Every message is signed: HMAC-SHA-256 over subject, id and payload (architecture, "Events").

use async_nats::header::{HeaderMap, HeaderValue, NATS_MESSAGE_ID};
use ring::hmac;
use std::fmt;
use std::str::FromStr;

const KEY_ID: &str = "Caracal-Key-Id";
const SIGNATURE: &str = "Caracal-Signature";
/// The id of a key that was given without one.
const DEFAULT_KEY_ID: &str = "default";

/// The keys that sign messages: the first signs, all verify, so keys can be rotated without a gap.
#[derive(Clone)]
pub struct StreamKeys {
    signing: (String, hmac::Key),
    retired: Vec<(String, hmac::Key)>,
}

impl fmt::Debug for StreamKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().map(|(id, _)| id)).finish()
    }
}

/// The text is neither 64 hex digits nor a list `id:hex,id:hex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 bytes in hex, or several as id:hex,id:hex")]
pub struct InvalidKeys;

/// Why a message is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UntrustedReason {
    /// It lacks an id, a key id or a signature.
    #[error("the message is not signed")]
    Unsigned,
    /// It names a key that is not ours.
    #[error("the message is signed with an unknown key")]
    UnknownKey,
    /// The signature does not hold.
    #[error("the signature of the message does not hold")]
    BadSignature,
}

/// A message that is not to be believed, with the bytes it carried, for the dead letters only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    /// Why.
    pub reason: UntrustedReason,
    /// What it carried.
    pub payload: Vec<u8>,
}

impl StreamKeys {
    /// The keys in the form of `STREAMS_HMAC_KEY` (contract §7).
    ///
    /// # Errors
    /// When the text has another form, or names an id twice.
    pub fn parse(text: &str) -> Result<Self, InvalidKeys> {
        let mut keys = text
            .split(',')
            .map(parse_key)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let signing = keys.next().ok_or(InvalidKeys)?;
        let retired: Vec<_> = keys.collect();
        let keys = Self { signing, retired };
        let repeated = keys
            .all()
            .any(|(id, _)| keys.all().filter(|(other, _)| other == id).count() > 1);
        if repeated { Err(InvalidKeys) } else { Ok(keys) }
    }

    /// The headers of a message: its id, and the signature over all three.
    pub(crate) fn sign(&self, subject: &str, id: &str, payload: &[u8]) -> HeaderMap {
        let (key_id, key) = &self.signing;
        let tag = hmac::sign(key, &signed_bytes(subject, id, payload));
        let mut headers = HeaderMap::new();
        for (name, value) in [(KEY_ID, key_id.as_str()), (SIGNATURE, &hex::encode(tag.as_ref()))] {
            headers.insert(name, HeaderValue::from(value));
        }
        headers.insert(NATS_MESSAGE_ID, HeaderValue::from(id));
        headers
    }

    /// The id of a message whose signature holds.
    pub(crate) fn verify(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: &[u8],
    ) -> Result<String, UntrustedReason> {
        let header = |name: &str| {
            headers
                .and_then(|headers| headers.get(name))
                .map(HeaderValue::as_str)
        };
        let (Some(id), Some(key_id), Some(signature)) = (
            header(NATS_MESSAGE_ID.as_ref()),
            header(KEY_ID),
            header(SIGNATURE),
        ) else {
            return Err(UntrustedReason::Unsigned);
        };
        let (_, key) = self
            .all()
            .find(|(known, _)| known == key_id)
            .ok_or(UntrustedReason::UnknownKey)?;
        let tag = hex::decode(signature).map_err(|_| UntrustedReason::BadSignature)?;
        hmac::verify(key, &signed_bytes(subject, id, payload), &tag)
            .map_err(|_| UntrustedReason::BadSignature)?;
        Ok(id.to_owned())
    }

    fn all(&self) -> impl Iterator<Item = &(String, hmac::Key)> {
        std::iter::once(&self.signing).chain(&self.retired)
    }
}

impl FromStr for StreamKeys {
    type Err = InvalidKeys;

    fn from_str(text: &str) -> Result<Self, InvalidKeys> {
        Self::parse(text)
    }
}

fn parse_key(text: &str) -> Result<(String, hmac::Key), InvalidKeys> {
    let (id, digits) = text
        .trim()
        .split_once(':')
        .unwrap_or((DEFAULT_KEY_ID, text.trim()));
    let well_named = !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let bytes = hex::decode(digits).map_err(|_| InvalidKeys)?;
    if !well_named || bytes.len() != 32 {
        return Err(InvalidKeys);
    }
    Ok((id.to_owned(), hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
}

/// Subject ‖ 0x00 ‖ id ‖ 0x00 ‖ payload: neither of the first two can hold a zero byte.
fn signed_bytes(subject: &str, id: &str, payload: &[u8]) -> Vec<u8> {
    [subject.as_bytes(), &[0], id.as_bytes(), &[0], payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_signature_binds_subject_id_and_payload() {
        let keys = StreamKeys::parse(A).unwrap();
        let headers = keys.sign("s", "1", b"p");
        assert_eq!(keys.verify("s", Some(&headers), b"p"), Ok("1".to_owned()));
        assert_eq!(
            keys.verify("t", Some(&headers), b"p"),
            Err(UntrustedReason::BadSignature)
        );
        assert_eq!(
            keys.verify("s", Some(&headers), b"q"),
            Err(UntrustedReason::BadSignature)
        );
        let mut renamed = headers.clone();
        renamed.insert(NATS_MESSAGE_ID, "2");
        assert_eq!(
            keys.verify("s", Some(&renamed), b"p"),
            Err(UntrustedReason::BadSignature)
        );
        assert_eq!(keys.verify("s", None, b"p"), Err(UntrustedReason::Unsigned));
    }

    #[test]
    fn the_first_key_signs_and_the_others_still_verify() {
        let old = StreamKeys::parse(&format!("one:{A}")).unwrap();
        let new = StreamKeys::parse(&format!("two:{B}, one:{A}")).unwrap();
        assert!(new.verify("s", Some(&old.sign("s", "1", b"p")), b"p").is_ok());
        assert_eq!(
            old.verify("s", Some(&new.sign("s", "1", b"p")), b"p"),
            Err(UntrustedReason::UnknownKey)
        );
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in [
            "",
            "abc",
            &format!("{A}{A}"),
            &format!("one:{A},one:{B}"),
            &format!(":{A}"),
            &format!("{A},{B}"),
        ] {
            assert_eq!(StreamKeys::parse(text).map(drop), Err(InvalidKeys), "{text}");
        }
    }
}
