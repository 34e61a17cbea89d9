//! A zone with one key, and a forger who has it: signs any header over any claims.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_domain::Claims;
use caracal_domain::id::SigningKeyId;
use caracal_jose::{
    Expect, NewKeyPair, Signer, TokenError, Unverified, Verified, VerifyingKeys, generate_key_pair,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const NOW: i64 = 1_790_000_000;
pub(crate) const ZONE: &str = "0198c0de-0000-7000-8000-000000000001";
pub(crate) const KID: &str = "0198c0de-0000-7000-8000-000000000002";

pub(crate) struct Zone {
    pub(crate) pair: NewKeyPair,
    pub(crate) signer: Signer,
    pub(crate) keys: VerifyingKeys,
}

pub(crate) fn issuer() -> String {
    format!("https://sts.example/zones/{ZONE}")
}

pub(crate) fn claims() -> Claims {
    let id = Uuid::from_u128(3).to_string();
    serde_json::from_value(json!({
        "iss": issuer(), "sub": id, "aud": ["resource://orders"], "exp": NOW + 900, "iat": NOW, "nbf": NOW,
        "jti": id, "zone_id": ZONE, "client_id": id, "scope": "orders:read", "sid": id, "root_sid": id,
        "use": "resource", "sub_type": "application", "target": ["resource://orders"], "epoch": 7
    }))
    .unwrap()
}

impl Zone {
    pub(crate) fn new() -> Self {
        let pair = generate_key_pair().unwrap();
        let kid: SigningKeyId = KID.parse().unwrap();
        let signer = Signer::from_pkcs8(kid, &pair.pkcs8).unwrap();
        let keys = VerifyingKeys::from_points([(kid, pair.public.clone())]);
        Self { pair, signer, keys }
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        self.verify_at(token, NOW)
    }

    pub(crate) fn verify_at(&self, token: &str, now: i64) -> Result<Verified, TokenError> {
        self.keys.verify(
            Unverified::parse(token)?,
            &Expect {
                issuer: &issuer(),
                now,
            },
        )
    }

    /// Signs with the zone's real key, whatever the header and payload say.
    pub(crate) fn forge(&self, header: &str, payload: &str) -> String {
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let rng = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pair.pkcs8, &rng).unwrap();
        loop {
            let token = format!(
                "{input}.{}",
                URL_SAFE_NO_PAD.encode(key.sign(&rng, input.as_bytes()).unwrap())
            );
            // ring signs with either twin; the forger keeps the one that would be accepted.
            if !matches!(self.verify(&token), Err(TokenError::BadSignature)) {
                return token;
            }
        }
    }

    pub(crate) fn forge_header(&self, header: &Value) -> String {
        self.forge(&header.to_string(), &serde_json::to_string(&claims()).unwrap())
    }
}
