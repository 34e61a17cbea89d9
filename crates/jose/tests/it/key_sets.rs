use crate::forge::{KID, NOW, Zone, claims, issuer};
use caracal_domain::zone::{KeyStatus, Sealed, SigningKey};
use caracal_jose::{Expect, TokenError, Unverified, VerifyingKeys, jwks};
use serde_json::{Value, json};

fn signing_key(zone: &Zone, status: KeyStatus) -> SigningKey {
    let sealed_private = Sealed {
        key_id: String::new(),
        bytes: Vec::new(),
    };
    SigningKey {
        id: KID.parse().unwrap(),
        status,
        public: zone.pair.public.clone(),
        sealed_private,
    }
}

fn verify_with(set: &Value, token: &str) -> Result<(), TokenError> {
    let keys = VerifyingKeys::from_jwks(set).unwrap();
    keys.verify(
        Unverified::parse(token)?,
        &Expect {
            issuer: &issuer(),
            now: NOW,
        },
    )
    .map(drop)
}

#[test]
fn a_published_key_set_verifies_what_its_keys_sign_until_they_retire() {
    let zone = Zone::new();
    let token = zone.signer.sign(&claims()).unwrap();
    for status in [KeyStatus::Next, KeyStatus::Active, KeyStatus::Retiring] {
        assert_eq!(verify_with(&jwks(&[signing_key(&zone, status)]), &token), Ok(()));
    }
    let retired = jwks(&[signing_key(&zone, KeyStatus::Retired)]);
    assert_eq!(verify_with(&retired, &token), Err(TokenError::UnknownKey));
}

#[test]
fn a_published_key_has_only_public_members() {
    let zone = Zone::new();
    let set = jwks(&[signing_key(&zone, KeyStatus::Active)]);
    let mut members: Vec<&String> = set["keys"][0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(
        (&set["keys"][0]["use"], &set["keys"][0]["alg"]),
        (&json!("sig"), &json!("ES256"))
    );
}

#[test]
fn foreign_keys_are_passed_over_and_broken_ones_refused() {
    let foreign = json!({"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB", "kid": "x"}, {"kty": "EC", "crv": "P-256", "use": "enc"}]});
    assert!(VerifyingKeys::from_jwks(&foreign).is_ok());
    let zone = Zone::new();
    for (member, broken) in [
        ("x", json!("AA")),
        ("y", json!(7)),
        ("kid", json!("../x")),
        ("x", json!("==")),
    ] {
        let mut set = jwks(&[signing_key(&zone, KeyStatus::Active)]);
        set["keys"][0][member] = broken;
        assert!(VerifyingKeys::from_jwks(&set).is_err(), "{member}");
    }
    for set in [json!(null), json!({}), json!({"keys": {}}), json!({"keys": [1]})] {
        assert!(VerifyingKeys::from_jwks(&set).is_err(), "{set}");
    }
}
