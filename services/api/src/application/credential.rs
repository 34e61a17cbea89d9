//! How an application proves itself: which fields go with which credential type.

use super::SecretText;
use crate::app::Api;
use crate::error::Failure;
use caracal_domain::zone::CredentialType;
use caracal_egress::check_url;
use caracal_jose::is_verifying_key;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::collections::HashSet;
use url::Url;

const MOST_KEYS: usize = 16;
const MOST_SET_BYTES: usize = 64 * 1024;
/// Members of a JWK that only its owner may have (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What the caller gave.
pub(super) struct Offered {
    pub(super) credential_type: CredentialType,
    pub(super) secret: Option<SecretText>,
    pub(super) jwks: Option<Value>,
    pub(super) jwks_uri: Option<String>,
}

/// What is kept, and what is shown once.
#[expect(clippy::struct_field_names, reason = "the type is what the API calls it")]
pub(super) struct Credential {
    pub(super) credential_type: CredentialType,
    pub(super) secret_hash: Option<String>,
    pub(super) jwks: Option<Value>,
    pub(super) jwks_uri: Option<String>,
    /// Only when we made it.
    pub(super) shown: Option<SecretString>,
}

impl Api {
    /// What an application is to prove itself by.
    pub(super) async fn credential(&self, offered: Offered) -> Result<Credential, Failure> {
        self.check_offered(&offered)?;
        let hash = self.chosen_hash(offered.secret.as_ref()).await?;
        self.kept(offered, hash)
    }

    /// The hash of the secret that the caller chose. It takes a while, so it comes before any transaction.
    pub(super) async fn chosen_hash(&self, secret: Option<&SecretText>) -> Result<Option<String>, Failure> {
        match secret {
            Some(SecretText(chosen)) => self.hash(chosen.clone()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Checks that the fields fit the type.
    pub(super) fn check_offered(&self, offered: &Offered) -> Result<(), Failure> {
        use CredentialType::{PublicKey, Url};
        let Offered {
            credential_type,
            secret,
            jwks,
            jwks_uri,
        } = offered;
        let credential_type = *credential_type;
        if secret.is_some() && !is_shared(credential_type) {
            return Err(Failure::field(
                "client_secret",
                "goes with credential_type token or password only",
            ));
        }
        if jwks.is_some() != (credential_type == PublicKey) {
            return Err(Failure::field(
                "jwks",
                "is required for credential_type public-key, and only there",
            ));
        }
        if jwks_uri.is_some() != (credential_type == Url) {
            return Err(Failure::field(
                "jwks_uri",
                "is required for credential_type url, and only there",
            ));
        }
        if let Some(jwks) = jwks {
            check_jwks(jwks)?;
        }
        if let Some(uri) = jwks_uri {
            let url =
                check_url(&self.egress, uri).map_err(|why| Failure::field("jwks_uri", why.to_string()))?;
            if url.fragment().is_some() {
                return Err(Failure::field("jwks_uri", "must have no fragment"));
            }
        }
        Ok(())
    }

    /// What is kept of an offer that was checked; a secret is made when one is needed and none was chosen.
    pub(super) fn kept(&self, offered: Offered, chosen_hash: Option<String>) -> Result<Credential, Failure> {
        let (secret_hash, shown) = match (is_shared(offered.credential_type), chosen_hash) {
            (false, _) => (None, None),
            (true, Some(hash)) => (Some(hash), None),
            (true, None) => {
                let (hash, made) = self.new_secret()?;
                (Some(hash), Some(made))
            }
        };
        Ok(Credential {
            credential_type: offered.credential_type,
            secret_hash,
            jwks: offered.jwks,
            jwks_uri: offered.jwks_uri,
            shown,
        })
    }

    /// A secret of our making and its hash.
    pub(crate) fn new_secret(&self) -> Result<(String, SecretString), Failure> {
        let made = self.secrets.application_secret()?;
        Ok((caracal_jose::hash_generated(made.expose_secret())?, made))
    }
}

/// Whether it is a secret that both sides know.
pub(super) const fn is_shared(credential_type: CredentialType) -> bool {
    matches!(credential_type, CredentialType::Token | CredentialType::Password)
}

/// A JWK Set (RFC 7517 §5) of public keys.
fn check_jwks(jwks: &Value) -> Result<(), Failure> {
    let keys = jwks.get("keys").and_then(Value::as_array);
    let keys =
        keys.ok_or_else(|| Failure::field("jwks", "must be a JWK Set: an object with an array `keys`"))?;
    if !(1..=MOST_KEYS).contains(&keys.len()) {
        return Err(Failure::field("jwks.keys", "must hold 1 to 16 keys"));
    }
    let is_private = |object: &Value| PRIVATE_MEMBERS.iter().any(|member| object.get(member).is_some());
    if is_private(jwks) {
        return Err(Failure::field("jwks", "has private parts; send public keys only"));
    }
    if jwks.to_string().len() > MOST_SET_BYTES {
        return Err(Failure::field("jwks", "must be at most 64 KiB"));
    }
    let mut ids = HashSet::new();
    for (index, key) in keys.iter().enumerate() {
        let refuse = |why| Failure::field(&format!("jwks.keys.{index}"), why);
        if is_private(key) {
            return Err(refuse("has private parts; send public keys only"));
        }
        if !is_verifying_key(key) {
            return Err(refuse(
                "must be a public key to verify ES256, ES384, RS256, PS256 or EdDSA with, whole and on its curve",
            ));
        }
        if key
            .get("kid")
            .is_some_and(|kid| !kid.is_string() || !ids.insert(kid))
        {
            return Err(refuse("must have a kid of its own, or none"));
        }
    }
    Ok(())
}

/// Redirect URIs are compared exactly, so they are only looked at, never changed (RFC 8252 §7, RFC 6749 §3.1.2).
pub(super) fn check_redirect_uris(uris: &[String]) -> Result<(), Failure> {
    for (index, uri) in uris.iter().enumerate() {
        let refuse = |why| Failure::field(&format!("redirect_uris.{index}"), why);
        let url = Url::parse(uri).map_err(|_| refuse("must be an absolute URI"))?;
        if url.fragment().is_some() || uri.len() > 2048 {
            return Err(refuse("must have no fragment and at most 2048 characters"));
        }
        if matches!(
            url.scheme(),
            "javascript" | "data" | "file" | "vbscript" | "blob" | "about"
        ) {
            return Err(refuse("this scheme cannot be redirected to"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must have no user name and no password"));
        }
        if uri
            .bytes()
            .any(|b| b.is_ascii_control() || b == b' ' || b == b'\\')
        {
            return Err(refuse(
                "must be spelled as it is compared: without blanks and backslashes",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_public_keys_that_can_verify_are_taken() {
        let public = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let with = |key: &Value, member: &str, value: Value| {
            let mut key = key.clone();
            key[member] = value;
            key
        };
        assert!(check_jwks(&json!({"keys": [public, okp, with(&public, "use", json!("sig"))]})).is_ok());
        for bad in [
            json!({}),
            json!([]),
            json!({"keys": []}),
            json!({"keys": [1]}),
            json!({"keys": [public], "d": "secret"}),
            json!({"keys": [public], "more": "x".repeat(65_536)}),
            json!({"keys": vec![public.clone(); 17]}),
            json!({"keys": [with(&okp, "kid", json!("1")), with(&okp, "kid", json!("1"))]}),
            json!({"keys": [public, {"kty": "oct", "k": "secret"}]}),
        ] {
            assert!(check_jwks(&bad).is_err(), "{bad}");
        }
        for bad in [
            with(&public, "d", json!("secret")),
            with(&public, "y", Value::Null),
            with(&public, "y", json!("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4")),
            with(&public, "x", json!("MKBC")),
            with(&public, "crv", json!("P-521")),
            with(&public, "crv", json!("secp256k1")),
            with(&public, "use", json!("enc")),
            with(&public, "alg", json!("HS256")),
            with(&public, "alg", json!("RS256")),
            with(&okp, "crv", json!("X25519")),
            with(&okp, "x", json!("a")),
            json!({"kty": "RSA", "n": "?", "e": "AQAB"}),
            json!({"kty": "RSA", "n": "uQ", "e": "AQAB"}),
        ] {
            assert!(check_jwks(&json!({"keys": [bad]})).is_err(), "{bad}");
        }
    }

    #[test]
    fn redirect_uris_are_absolute_and_harmless() {
        let check = |uri: &str| check_redirect_uris(&[uri.to_owned()]).is_ok();
        assert!(
            check("https://app.example/cb?x=1")
                && check("http://127.0.0.1/cb")
                && check("com.example.app:/cb")
        );
        for bad in [
            "",
            "/cb",
            "https://a.example/#f",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://user@app.example/cb",
            " https://app.example/cb",
            "https://app.example\\@evil.example/cb",
        ] {
            assert!(!check(bad), "{bad}");
        }
    }
}
