//! Secrets of applications and administrators: drawn here, shown once, kept as hashes.

use crate::envelope::Kek;
use crate::error::Error;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Begins every application secret we generate.
const APPLICATION_PREFIX: &str = "ccs_";
/// 32 random bytes in base64url.
const RANDOM_CHARS: usize = 43;
/// 36 bits: enough that a guess costs no Argon2 derivation, not what keeps the secret.
const CHECKSUM_CHARS: usize = 6;

/// Draws application secrets that it can tell from guesses without a derivation (contract §1, "Applications").
#[derive(Clone)]
pub struct SecretMint {
    minting: hmac::Key,
    retired: Vec<hmac::Key>,
}

impl SecretMint {
    /// Keys the checksum by the KEK; secrets drawn under an older KEK are still recognised.
    ///
    /// # Errors
    /// [`Error::KekFormat`] when there is no KEK, which [`Kek::parse`] does not let happen.
    pub fn from_kek(kek: &Kek) -> Result<Self, Error> {
        let mut keys = kek.derive("caracal:v1:application-secret-checksum").into_iter();
        let minting = keys.next().ok_or(Error::KekFormat("there is none"))?;
        Ok(Self {
            minting,
            retired: keys.collect(),
        })
    }

    /// Draws a secret: `ccs_`, 43 random characters, 6 of checksum.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn application_secret(&self) -> Result<SecretString, Error> {
        let body = random_token(APPLICATION_PREFIX)?;
        let body = body.expose_secret();
        Ok(SecretString::from(format!(
            "{body}{}",
            checksum(&self.minting, body)
        )))
    }

    /// Whether a presented secret may be genuine: it is not in our form (the caller chose it), or its checksum holds.
    /// What is not plausible is refused without a derivation.
    #[must_use]
    pub fn is_plausible(&self, secret: &str) -> bool {
        let ours = secret.starts_with(APPLICATION_PREFIX)
            && secret.len() == APPLICATION_PREFIX.len() + RANDOM_CHARS + CHECKSUM_CHARS;
        let Some((body, sum)) = secret
            .split_at_checked(APPLICATION_PREFIX.len() + RANDOM_CHARS)
            .filter(|_| ours)
        else {
            return true;
        };
        std::iter::once(&self.minting)
            .chain(&self.retired)
            .any(|key| constant_time_eq(checksum(key, body).as_bytes(), sum.as_bytes()))
    }
}

impl fmt::Debug for SecretMint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretMint")
    }
}

fn checksum(key: &hmac::Key, body: &str) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(hmac::sign(key, body.as_bytes()));
    text.truncate(CHECKSUM_CHARS);
    text
}

/// Draws a token: the prefix and 43 characters of base64url (256 bits).
///
/// # Errors
/// [`Error::Random`].
pub fn random_token(prefix: &str) -> Result<SecretString, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| Error::Random)?;
    let random = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
    Ok(SecretString::from(format!("{prefix}{}", *random)))
}

/// Hashes a secret for keeping: Argon2id, 19 MiB, two passes, one lane (OWASP's floor), as a PHC string. Some 25 ms.
///
/// # Errors
/// [`Error::Hash`].
pub fn hash_secret(secret: &str) -> Result<String, Error> {
    argon2id(secret, 19_456, 2)
}

/// Hashes a secret that [`SecretMint`] drew: Argon2id too, but at 64 KiB and one pass, some 50 µs. Stretching is for
/// secrets that people choose; 256 random bits cannot be guessed at any speed, and a zone's first mandate after a
/// restart does not wait for it.
///
/// # Errors
/// [`Error::Hash`].
pub fn hash_generated(secret: &str) -> Result<String, Error> {
    argon2id(secret, 64, 1)
}

fn argon2id(secret: &str, kibibytes: u32, passes: u32) -> Result<String, Error> {
    let params = Params::new(kibibytes, passes, 1, None).map_err(|_| Error::Hash)?;
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(secret.as_bytes())
        .map_err(|_| Error::Hash)?;
    Ok(hash.to_string())
}

/// Whether a secret is the one that was hashed. As slow as [`hash_secret`]: cap how many run at once.
#[must_use]
pub fn verify_secret(secret: &str, phc: &str) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else {
        return false;
    };
    Argon2::default()
        .verify_password(secret.as_bytes(), &hash)
        .is_ok()
}

/// Compares without telling by its duration where two values differ.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// SHA-256: how secrets with 256 bits of their own randomness are kept.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// SHA-256 in lower-case hex: how tokens with 256 bits of their own randomness are kept.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mint(kek: &str) -> SecretMint {
        SecretMint::from_kek(&Kek::parse(kek).unwrap()).unwrap()
    }

    #[test]
    fn a_generated_secret_is_known_by_its_checksum_and_survives_rotation_of_the_kek() {
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        let secret = mint(&one).application_secret().unwrap();
        let secret = secret.expose_secret();
        assert_eq!(secret.len(), 53);
        assert!(mint(&one).is_plausible(secret));
        assert!(mint(&format!("new:{two},default:{one}")).is_plausible(secret));
        assert!(!mint(&two).is_plausible(secret));
        let guess = format!("ccs_{}", "A".repeat(49));
        assert!(!mint(&one).is_plausible(&guess));
    }

    #[test]
    fn a_secret_the_caller_chose_is_always_plausible() {
        for chosen in ["", "hunter2", "ccs_short", "ccs_\u{e9}", &"\u{e9}".repeat(30)] {
            assert!(mint(&"01".repeat(32)).is_plausible(chosen), "{chosen}");
        }
    }

    #[test]
    fn a_hash_verifies_its_secret_and_no_other() {
        let phc = hash_secret("correct horse").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify_secret("correct horse", &phc));
        assert!(!verify_secret("correct horse ", &phc));
        assert!(!verify_secret("correct horse", "not a hash"));
        let drawn = hash_generated("ccs_drawn").unwrap();
        assert!(drawn.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{drawn}");
        assert!(verify_secret("ccs_drawn", &drawn) && !verify_secret("ccs_other", &drawn));
    }

    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
