use crate::forge::{KID, NOW, ZONE, Zone, claims, issuer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_jose::{Expect, MAX_TOKEN_BYTES, TokenError, Unverified};
use proptest::prelude::*;
use ring::hmac;
use serde_json::json;
use std::sync::LazyLock;

static SHARED: LazyLock<Zone> = LazyLock::new(Zone::new);

fn good_header() -> serde_json::Value {
    json!({"alg": "ES256", "kid": KID, "typ": "at+jwt"})
}

#[test]
fn what_we_sign_we_accept_and_read_back_unchanged() {
    let token = SHARED.signer.sign(&claims()).unwrap();
    let verified = SHARED.verify(&token).unwrap();
    assert_eq!(*verified.claims(), claims());
    assert_eq!(verified.kid().to_string(), KID);
    assert_eq!(Unverified::parse(&token).unwrap().zone_hint().to_string(), ZONE);
    assert!(
        SHARED.verify(&SHARED.forge_header(&good_header())).is_ok(),
        "the forger can do what the signer does"
    );
}

#[test]
fn no_other_algorithm_is_accepted() {
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
    for alg in ["none", "None", "HS256", "RS256", "ES384", "es256", "EdDSA", ""] {
        let forged = SHARED.forge_header(&json!({"alg": alg, "kid": KID, "typ": "at+jwt"}));
        assert_eq!(
            SHARED.verify(&forged).unwrap_err(),
            TokenError::Malformed,
            "{alg}"
        );
    }
    // The classic: HMAC keyed by the public key.
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": KID, "typ": "at+jwt"}).to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SHARED.pair.public);
    let tag = hmac::sign(&key, format!("{header}.{payload}").as_bytes());
    assert!(
        SHARED
            .verify(&format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(tag)))
            .is_err()
    );
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": KID, "typ": "at+jwt"}).to_string());
    assert!(SHARED.verify(&format!("{none}.{payload}.")).is_err());
}

#[test]
fn a_key_in_the_token_is_never_used() {
    let stranger = Zone::new();
    let (x, y) = stranger.pair.public[1..].split_at(32);
    let jwk =
        json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5c", json!(["MIIB"])),
        ("x5u", json!("https://evil.example/cert")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let mut header = good_header();
        header[name] = value;
        for signed_by in [&stranger, &*SHARED] {
            assert_eq!(
                SHARED.verify(&signed_by.forge_header(&header)).unwrap_err(),
                TokenError::Malformed,
                "{name}"
            );
        }
    }
    assert_eq!(
        SHARED.verify(&stranger.forge_header(&good_header())).unwrap_err(),
        TokenError::BadSignature
    );
}

#[test]
fn a_kid_is_an_id_and_nothing_else() {
    for kid in [
        "",
        "../../etc/passwd",
        "' OR 1=1 --",
        &KID.to_uppercase(),
        &KID.replace('-', ""),
        &format!("{KID} "),
        "\u{0}",
    ] {
        let forged = SHARED.forge_header(&json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}));
        assert_eq!(
            SHARED.verify(&forged).unwrap_err(),
            TokenError::Malformed,
            "{kid:?}"
        );
    }
    let unknown = SHARED.forge_header(&json!({"alg": "ES256", "kid": ZONE, "typ": "at+jwt"}));
    assert_eq!(SHARED.verify(&unknown).unwrap_err(), TokenError::UnknownKey);
    for header in [
        json!({"alg": "ES256", "typ": "at+jwt"}),
        json!({"alg": "ES256", "kid": 7, "typ": "at+jwt"}),
        json!([]),
    ] {
        assert_eq!(
            SHARED.verify(&SHARED.forge_header(&header)).unwrap_err(),
            TokenError::Malformed
        );
    }
}

#[test]
fn a_token_of_another_type_is_refused() {
    for typ in ["JWT", "at+JWT", "application/at+jwt", "dpop+jwt", ""] {
        let forged = SHARED.forge_header(&json!({"alg": "ES256", "kid": KID, "typ": typ}));
        assert_eq!(
            SHARED.verify(&forged).unwrap_err(),
            TokenError::Malformed,
            "{typ}"
        );
    }
}

#[test]
fn padding_whitespace_and_other_alphabets_are_refused() {
    let token = SHARED.signer.sign(&claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        unreachable!("three parts")
    };
    for hostile in [
        format!("{token}="),
        format!("{token}=="),
        format!("{header}=.{payload}.{signature}"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{payload}.{header}.{signature}"),
        format!("{header}.{payload}.{signature}A"),
        format!("{header}.{payload}.{}", &signature[..40]),
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "....".to_owned(),
    ] {
        assert!(SHARED.verify(&hostile).is_err(), "{hostile}");
    }
    // 64 bytes leave four stray bits in the last character: only zero bits are canonical.
    let last = signature.as_bytes()[85];
    for stray in (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .filter(|c| *c != last)
    {
        let twin = format!("{header}.{payload}.{}{}", &signature[..85], char::from(stray));
        assert!(SHARED.verify(&twin).is_err(), "{twin}");
    }
}

#[test]
fn duplicate_members_are_refused_in_header_and_claims() {
    let payload = serde_json::to_string(&claims()).unwrap();
    let header = format!(r#"{{"alg":"none","kid":"{KID}","typ":"at+jwt","alg":"ES256"}}"#);
    assert_eq!(
        SHARED.verify(&SHARED.forge(&header, &payload)).unwrap_err(),
        TokenError::Malformed
    );
    for extra in [
        r#""scope":"orders:write""#,
        r#""s\u0063ope":"orders:write""#,
        r#""x":1,"x":2"#,
        r#""x":{"y":1,"y":2}"#,
    ] {
        let doubled = format!("{},{extra}}}", &payload[..payload.len() - 1]);
        let forged = SHARED.forge(&good_header().to_string(), &doubled);
        assert_eq!(
            SHARED.verify(&forged).unwrap_err(),
            TokenError::Malformed,
            "{extra}"
        );
    }
    let unknown = format!(r#"{},"x":1}}"#, &payload[..payload.len() - 1]);
    assert!(
        SHARED
            .verify(&SHARED.forge(&good_header().to_string(), &unknown))
            .is_ok(),
        "unknown claims are ignored"
    );
}

/// The twin (r, n − s) verifies under ECDSA, so accepting it would give every token a second spelling.
#[test]
fn the_high_s_twin_is_refused_and_never_made() {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let token = SHARED.signer.sign(&claims()).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut twin = signature.clone();
    let mut borrow = 0i16;
    for i in (0..32).rev() {
        let order = u8::from_str_radix(&ORDER[2 * i..2 * i + 2], 16).unwrap();
        let digit = i16::from(order) - i16::from(signature[32 + i]) - borrow;
        borrow = i16::from(digit < 0);
        twin[32 + i] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    let public = ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_FIXED,
        &SHARED.pair.public,
    );
    assert!(
        public.verify(input.as_bytes(), &twin).is_ok(),
        "it is a valid ECDSA signature"
    );
    let hostile = format!("{input}.{}", URL_SAFE_NO_PAD.encode(&twin));
    assert_eq!(SHARED.verify(&hostile).unwrap_err(), TokenError::BadSignature);
    for _ in 0..50 {
        assert!(SHARED.verify(&SHARED.signer.sign(&claims()).unwrap()).is_ok());
    }
}

#[test]
fn time_has_no_leeway_at_the_end_and_a_minute_at_the_start() {
    let token = SHARED.signer.sign(&claims()).unwrap();
    assert!(SHARED.verify_at(&token, NOW + 899).is_ok());
    assert_eq!(
        SHARED.verify_at(&token, NOW + 900).unwrap_err(),
        TokenError::Expired
    );
    assert_eq!(
        SHARED.verify_at(&token, NOW + 901).unwrap_err(),
        TokenError::Expired
    );
    assert!(SHARED.verify_at(&token, NOW - 60).is_ok());
    assert_eq!(
        SHARED.verify_at(&token, NOW - 61).unwrap_err(),
        TokenError::NotYetValid
    );
    let late = SHARED
        .signer
        .sign(&caracal_domain::Claims {
            nbf: i64::MAX,
            ..claims()
        })
        .unwrap();
    assert_eq!(SHARED.verify_at(&late, NOW).unwrap_err(), TokenError::NotYetValid);
}

#[test]
fn issuer_and_zone_must_agree_with_each_other_and_with_what_is_expected() {
    let other_zone = KID.parse().unwrap();
    let sign = |claims| SHARED.signer.sign(&claims).unwrap();
    for iss in [
        String::new(),
        format!("{}/", issuer()),
        issuer().to_uppercase(),
        format!("https://evil.example/zones/{ZONE}"),
    ] {
        let token = sign(caracal_domain::Claims { iss, ..claims() });
        assert_eq!(SHARED.verify(&token).unwrap_err(), TokenError::WrongIssuer);
    }
    let token = sign(caracal_domain::Claims {
        zone_id: other_zone,
        ..claims()
    });
    assert_eq!(SHARED.verify(&token).unwrap_err(), TokenError::WrongZone);
    let token = sign(claims());
    let elsewhere = Expect {
        issuer: &format!("https://sts.example/zones/{KID}"),
        now: NOW,
    };
    assert_eq!(
        SHARED
            .keys
            .verify(Unverified::parse(&token).unwrap(), &elsewhere)
            .unwrap_err(),
        TokenError::WrongIssuer
    );
}

#[test]
fn what_is_too_large_is_not_looked_at() {
    let large = "a".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(Unverified::parse(&large).unwrap_err(), TokenError::TooLarge);
    assert_eq!(Unverified::parse(&large[1..]).unwrap_err(), TokenError::Malformed);
}

proptest! {
    #[test]
    fn garbage_never_panics_and_never_parses(text in "\\PC{0,200}") {
        prop_assert!(Unverified::parse(&text).is_err());
    }

    #[test]
    fn garbage_in_three_parts_never_parses(a: Vec<u8>, b: Vec<u8>, c: Vec<u8>) {
        let token = [a, b, c].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        prop_assert!(Unverified::parse(&token).is_err());
    }

    #[test]
    fn a_changed_character_never_verifies(at: prop::sample::Index, with in "[A-Za-z0-9_.=-]") {
        let token = SHARED.signer.sign(&claims()).unwrap();
        let at = at.index(token.len());
        let mutated = format!("{}{with}{}", &token[..at], &token[at + 1..]);
        prop_assume!(mutated != token);
        prop_assert!(SHARED.verify(&mutated).is_err());
    }

    #[test]
    fn a_truncated_or_extended_token_never_verifies(keep: prop::sample::Index, extra in "[A-Za-z0-9_.=-]{1,8}") {
        let token = SHARED.signer.sign(&claims()).unwrap();
        prop_assert!(SHARED.verify(&token[..keep.index(token.len())]).is_err());
        let extended = format!("{token}{extra}");
        prop_assert!(SHARED.verify(&extended).is_err());
    }
}
