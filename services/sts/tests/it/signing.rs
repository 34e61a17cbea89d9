//! Somebody with a key of their own: an application that signs assertions, or an outside issuer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_testkit::{Stack, World};
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jwk::alg::ed::EdCurve;
use josekit::jws::JwsSigner;
use josekit::jws::alg::ecdsa::EcdsaJwsAlgorithm;
use josekit::jws::alg::eddsa::EddsaJwsAlgorithm;
use josekit::jws::alg::rsassa::RsassaJwsAlgorithm;
use josekit::jws::alg::rsassa_pss::RsassaPssJwsAlgorithm;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// A name nobody else has in this run.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", now(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) struct KeyPair {
    alg: &'static str,
    kid: String,
    jwk: Jwk,
}

impl KeyPair {
    pub(crate) fn new(alg: &'static str, kid: &str) -> Self {
        let jwk = match alg {
            "ES256" => Jwk::generate_ec_key(EcCurve::P256),
            "ES384" => Jwk::generate_ec_key(EcCurve::P384),
            "EdDSA" => Jwk::generate_ed_key(EdCurve::Ed25519),
            _ => Jwk::generate_rsa_key(2048),
        };
        Self {
            alg,
            kid: kid.to_owned(),
            jwk: jwk.expect("a key"),
        }
    }

    pub(crate) fn public(&self) -> Value {
        let mut public = self.jwk.to_public_key().expect("a public half");
        public.set_key_id(&self.kid);
        serde_json::to_value(public).expect("a JWK is JSON")
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": self.alg, "kid": self.kid, "typ": "JWT"}), claims)
    }

    pub(crate) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        let signature = self.signer().sign(input.as_bytes()).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signer(&self) -> Box<dyn JwsSigner> {
        let jwk = &self.jwk;
        match self.alg {
            "ES256" => Box::new(EcdsaJwsAlgorithm::Es256.signer_from_jwk(jwk).expect("a signer")),
            "ES384" => Box::new(EcdsaJwsAlgorithm::Es384.signer_from_jwk(jwk).expect("a signer")),
            "RS256" => Box::new(RsassaJwsAlgorithm::Rs256.signer_from_jwk(jwk).expect("a signer")),
            "PS256" => Box::new(
                RsassaPssJwsAlgorithm::Ps256
                    .signer_from_jwk(jwk)
                    .expect("a signer"),
            ),
            _ => Box::new(EddsaJwsAlgorithm::Eddsa.signer_from_jwk(jwk).expect("a signer")),
        }
    }
}

pub(crate) fn set(keys: &[&KeyPair]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()})
}

/// The claims of a good assertion.
pub(crate) fn assertion_claims(application: &str, audience: &str) -> Value {
    json!({
        "iss": application, "sub": application, "aud": audience, "jti": unique(),
        "iat": now(), "exp": now() + 60,
    })
}

/// The zone's issuer, as its metadata says.
pub(crate) async fn issuer(stack: &Stack, world: &World) -> String {
    let path = format!("/.well-known/oauth-authorization-server/zones/{}", world.zone_id);
    stack.sts(0).get(&path).await.member("issuer").to_owned()
}

/// One more application of the world's zone; its id.
pub(crate) async fn application(stack: &Stack, world: &World, credential: &Value) -> String {
    let mut body = credential.clone();
    let members = body.as_object_mut().expect("members");
    members.insert("name".to_owned(), json!(unique()));
    members.insert("registration_method".to_owned(), json!("managed"));
    let made = stack.admin().post(&world.path("applications"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.member("id").to_owned()
}
