//! Assertions with which we prove ourselves to others (`private_key_jwt`, RFC 7523 §2.2).

use crate::error::Error;
use crate::secret::random_token;
use josekit::jwk::Jwk;
use josekit::jws::{ES256, ES384, EdDSA, JwsHeader, JwsSigner, RS256};
use josekit::jwt::{self, JwtPayload};
use secrecy::ExposeSecret;
use serde_json::json;

/// How long an assertion may be used, in seconds.
const LIFETIME: i64 = 60;

/// Signs an assertion of `client_id` for `audience`. The key is PEM (PKCS#8 or older) or a JWK; the algorithm follows
/// from it: ES256, ES384, `EdDSA` or RS256.
///
/// # Errors
/// [`Error::SigningKey`] when the key is none of these, [`Error::Random`].
pub fn outgoing_assertion(
    private_key: &str,
    client_id: &str,
    audience: &str,
    now: i64,
) -> Result<String, Error> {
    let (signer, kid) = signer(private_key.trim())?;
    let mut header = JwsHeader::new();
    header.set_token_type("JWT");
    if let Some(kid) = kid {
        header.set_key_id(kid);
    }
    let mut payload = JwtPayload::new();
    let id = random_token("")?;
    let claims = [
        ("iss", json!(client_id)),
        ("sub", json!(client_id)),
        ("aud", json!(audience)),
        ("jti", json!(id.expose_secret())),
        ("iat", json!(now)),
        ("exp", json!(now + LIFETIME)),
    ];
    for (name, value) in claims {
        payload
            .set_claim(name, Some(value))
            .map_err(|source| Error::Sign(source.into()))?;
    }
    jwt::encode_with_signer(&payload, &header, &*signer).map_err(|source| Error::Sign(source.into()))
}

/// Whether assertions can be signed with this key.
///
/// # Errors
/// [`Error::SigningKey`] when it is none that [`outgoing_assertion`] takes.
pub fn check_private_key(private_key: &str) -> Result<(), Error> {
    signer(private_key.trim()).map(|_| ())
}

type AnySigner = (Box<dyn JwsSigner>, Option<String>);

fn signer(key: &str) -> Result<AnySigner, Error> {
    if key.starts_with('{') {
        return from_jwk(&Jwk::from_bytes(key.as_bytes()).map_err(|_| Error::SigningKey)?);
    }
    let pem = key.as_bytes();
    let found = ES256.signer_from_pem(pem).map(boxed);
    let found = found.or_else(|_| ES384.signer_from_pem(pem).map(boxed));
    let found = found.or_else(|_| EdDSA.signer_from_pem(pem).map(boxed));
    let found = found.or_else(|_| RS256.signer_from_pem(pem).map(boxed));
    Ok((found.map_err(|_| Error::SigningKey)?, None))
}

fn from_jwk(jwk: &Jwk) -> Result<AnySigner, Error> {
    let signer: Result<Box<dyn JwsSigner>, _> = match (jwk.key_type(), jwk.curve()) {
        ("EC", Some("P-256")) => ES256.signer_from_jwk(jwk).map(boxed),
        ("EC", Some("P-384")) => ES384.signer_from_jwk(jwk).map(boxed),
        ("OKP", _) => EdDSA.signer_from_jwk(jwk).map(boxed),
        ("RSA", _) => RS256.signer_from_jwk(jwk).map(boxed),
        _ => return Err(Error::SigningKey),
    };
    Ok((
        signer.map_err(|_| Error::SigningKey)?,
        jwk.key_id().map(str::to_owned),
    ))
}

fn boxed(signer: impl JwsSigner + 'static) -> Box<dyn JwsSigner> {
    Box::new(signer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};

    #[test]
    fn an_assertion_names_its_client_and_is_signed_with_its_key() {
        let pair = EcKeyPair::generate(EcCurve::P256).expect("a key");
        let mut jwk = pair.to_jwk_private_key();
        jwk.set_key_id("k1");
        for key in [
            String::from_utf8(pair.to_pem_private_key()).expect("PEM is text"),
            jwk.to_string(),
        ] {
            let token =
                outgoing_assertion(&key, "cid", "https://as.example/token", 1_790_000_000).expect("signed");
            let verifier = ES256
                .verifier_from_jwk(&pair.to_jwk_public_key())
                .expect("a verifier");
            let (payload, header) = jwt::decode_with_verifier(&token, &verifier).expect("verified");
            assert_eq!((payload.issuer(), payload.subject()), (Some("cid"), Some("cid")));
            assert!(payload.jwt_id().is_some_and(|id| id.len() > 20) && header.algorithm() == Some("ES256"));
        }
        for bad in [
            "",
            "x",
            "{}",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            assert!(outgoing_assertion(bad, "cid", "a", 0).is_err(), "{bad}");
        }
    }
}
