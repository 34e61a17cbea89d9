//! Envelope encryption: the operator's KEK seals one DEK per zone, the DEK seals that zone's keys and secrets.
//! AES-256-GCM with random 96-bit nonces; the additional data binds zone, purpose and row, so that a ciphertext copied
//! to another place opens nowhere.

use crate::error::Error;
use caracal_domain::id::ZoneId;
use caracal_domain::zone::Sealed;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use uuid::Uuid;
use zeroize::Zeroizing;

type KeyBytes = Zeroizing<[u8; 32]>;

/// The id of a KEK that is configured without one.
const UNNAMED_KEK: &str = "default";
/// The generation of a zone's DEK.
const DEK_ID: &str = "dek-1";

/// What a value sealed under a DEK is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The private half of a signing key.
    SigningKey,
    /// The secrets of a provider.
    ProviderSecret,
    /// The tokens of a user's connection.
    ConnectionToken,
    /// The private half of the key that signs ledgers' checkpoints.
    LedgerKey,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SigningKey => "signing-key",
            Self::ProviderSecret => "provider-secret",
            Self::ConnectionToken => "connection-token",
            Self::LedgerKey => "ledger-key",
        }
    }
}

/// The operator's key-encryption keys: the first seals, all of them open.
#[derive(Clone)]
pub struct Kek {
    sealing: (String, KeyBytes),
    retired: Vec<(String, KeyBytes)>,
}

impl Kek {
    /// Reads `ZONE_KEK`: 32 bytes in hex, or several as `id:hex,id:hex`. A key without an id is called `default`.
    ///
    /// # Errors
    /// [`Error::KekFormat`], which never repeats the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut keys = text
            .trim()
            .split(',')
            .map(parse_key)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let sealing = keys.next().ok_or(Error::KekFormat("there is none"))?;
        let retired: Vec<_> = keys.collect();
        let mut ids: Vec<&str> = retired
            .iter()
            .map(|(id, _)| id.as_str())
            .chain([sealing.0.as_str()])
            .collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() == retired.len() + 1 {
            Ok(Self { sealing, retired })
        } else {
            Err(Error::KekFormat("an id appears twice"))
        }
    }

    /// Draws a DEK for a zone, and seals it for the zone's row.
    ///
    /// # Errors
    /// When there is no randomness, or sealing fails.
    pub fn new_dek(&self, zone: ZoneId) -> Result<(Dek, Sealed), Error> {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *key).map_err(|_| Error::Random)?;
        let (id, kek) = &self.sealing;
        let sealed = Sealed {
            key_id: id.clone(),
            bytes: seal(kek, &dek_context(zone), &*key)?,
        };
        Ok((Dek(key), sealed))
    }

    /// Opens a zone's DEK.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] when its KEK is not configured, [`Error::Open`] when it is not this zone's.
    pub fn open_dek(&self, zone: ZoneId, sealed: &Sealed) -> Result<Dek, Error> {
        let (_, kek) = self
            .keys()
            .find(|(id, _)| *id == sealed.key_id)
            .ok_or_else(|| Error::UnknownKey(sealed.key_id.clone()))?;
        let opened = open(kek, &dek_context(zone), &sealed.bytes)?;
        let key = <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| Error::Open)?;
        Ok(Dek(Zeroizing::new(key)))
    }

    /// What seals files of this machine against tampering (compiled policies), derived from the key that seals.
    #[must_use]
    pub fn file_seal(&self) -> hmac::Key {
        let (_, key) = &self.sealing;
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &**key),
            b"caracal:v1:file-seal",
        );
        hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())
    }

    /// Keys for another purpose derived from every KEK, the sealing one's first.
    pub(crate) fn derive(&self, purpose: &str) -> Vec<hmac::Key> {
        self.keys()
            .map(|(_, key)| {
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &**key), purpose.as_bytes());
                hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())
            })
            .collect()
    }

    fn keys(&self) -> impl Iterator<Item = &(String, KeyBytes)> {
        std::iter::once(&self.sealing).chain(&self.retired)
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys().map(|(id, _)| id)).finish()
    }
}

fn parse_key(entry: &str) -> Result<(String, KeyBytes), Error> {
    let (id, digits) = entry
        .trim()
        .split_once(':')
        .unwrap_or((UNNAMED_KEK, entry.trim()));
    let named = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !named {
        return Err(Error::KekFormat("an id is 1-64 characters of A-Z a-z 0-9 . _ -"));
    }
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, &mut *key).map_err(|_| Error::KekFormat("a key is 32 bytes in hex"))?;
    Ok((id.to_owned(), key))
}

/// A zone's data-encryption key.
#[derive(Clone)]
pub struct Dek(KeyBytes);

impl Dek {
    /// Seals a value for one row of the zone.
    ///
    /// # Errors
    /// When there is no randomness, or sealing fails.
    pub fn seal(&self, zone: ZoneId, purpose: Purpose, row: Uuid, plaintext: &[u8]) -> Result<Sealed, Error> {
        Ok(Sealed {
            key_id: DEK_ID.to_owned(),
            bytes: seal(&self.0, &row_context(zone, purpose, row), plaintext)?,
        })
    }

    /// Opens what [`Dek::seal`] made for the same zone, purpose and row.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] for another generation, [`Error::Open`] when it does not belong here.
    pub fn open(
        &self,
        zone: ZoneId,
        purpose: Purpose,
        row: Uuid,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        if sealed.key_id != DEK_ID {
            return Err(Error::UnknownKey(sealed.key_id.clone()));
        }
        open(&self.0, &row_context(zone, purpose, row), &sealed.bytes)
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek")
    }
}

fn dek_context(zone: ZoneId) -> Vec<u8> {
    [b"caracal:v1:dek\0", zone.as_uuid().as_bytes().as_slice()].concat()
}

/// Ids have a fixed width and the purpose ends in a zero byte, so no two places share their additional data.
fn row_context(zone: ZoneId, purpose: Purpose, row: Uuid) -> Vec<u8> {
    [
        b"caracal:v1:",
        purpose.as_str().as_bytes(),
        b"\0",
        zone.as_uuid().as_bytes().as_slice(),
        row.as_bytes(),
    ]
    .concat()
}

fn aead_key(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
    Ok(LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, key).map_err(|_| Error::Seal)?,
    ))
}

fn seal(key: &[u8; 32], context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| Error::Random)?;
    // Sealed in place, so that no other copy of the plaintext is left behind; zeroized if sealing fails.
    let mut in_out = Zeroizing::new(plaintext.to_vec());
    let tag = aead_key(key)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context),
            &mut in_out,
        )
        .map_err(|_| Error::Seal)?;
    Ok([nonce.as_slice(), in_out.as_slice(), tag.as_ref()].concat())
}

fn open(key: &[u8; 32], context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Error::Open)?;
    let mut in_out = Zeroizing::new(ciphertext.to_vec());
    let length = aead_key(key)?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(context),
            &mut in_out,
        )
        .map_err(|_| Error::Open)?
        .len();
    in_out.truncate(length);
    Ok(in_out)
}

#[cfg(test)]
mod tests;
