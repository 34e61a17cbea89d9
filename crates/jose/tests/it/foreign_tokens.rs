//! Tokens of others: five algorithms, configured keys, and nothing the token says about itself believed.

use crate::forge::NOW;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_jose::foreign::{MAX_FOREIGN_TOKEN_BYTES, MAX_KEY_SET_BYTES};
use caracal_jose::{ForeignError, ForeignExpect, ForeignKeys, ForeignToken, VerifiedForeign};
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use josekit::jwk::alg::ed::EdCurve;
use josekit::jws::alg::ecdsa::EcdsaJwsAlgorithm;
use josekit::jws::alg::eddsa::EddsaJwsAlgorithm;
use josekit::jws::alg::rsassa::RsassaJwsAlgorithm;
use josekit::jws::alg::rsassa_pss::RsassaPssJwsAlgorithm;
use josekit::jws::{JwsSigner, alg::hmac::HmacJwsAlgorithm};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Somebody who has a key and signs whatever header over whatever claims.
struct Stranger {
    jwk: Jwk,
    signer: Box<dyn JwsSigner>,
    alg: &'static str,
}

impl Stranger {
    fn new(alg: &'static str) -> Self {
        let jwk = match alg {
            "ES256" => Jwk::generate_ec_key(EcCurve::P256),
            "ES384" => Jwk::generate_ec_key(EcCurve::P384),
            "EdDSA" => Jwk::generate_ed_key(EdCurve::Ed25519),
            _ => Jwk::generate_rsa_key(2048),
        };
        Self::with(alg, jwk.unwrap())
    }

    fn with(alg: &'static str, jwk: Jwk) -> Self {
        let signer: Box<dyn JwsSigner> = match alg {
            "ES256" => Box::new(EcdsaJwsAlgorithm::Es256.signer_from_jwk(&jwk).unwrap()),
            "ES384" => Box::new(EcdsaJwsAlgorithm::Es384.signer_from_jwk(&jwk).unwrap()),
            "RS256" => Box::new(RsassaJwsAlgorithm::Rs256.signer_from_jwk(&jwk).unwrap()),
            "RS384" => Box::new(RsassaJwsAlgorithm::Rs384.signer_from_jwk(&jwk).unwrap()),
            "PS256" => Box::new(RsassaPssJwsAlgorithm::Ps256.signer_from_jwk(&jwk).unwrap()),
            _ => Box::new(EddsaJwsAlgorithm::Eddsa.signer_from_jwk(&jwk).unwrap()),
        };
        Self { jwk, signer, alg }
    }

    fn public(&self) -> Value {
        let mut jwk = self.jwk.to_public_key().unwrap();
        jwk.set_key_id("one");
        serde_json::to_value(jwk).unwrap()
    }

    fn keys(&self) -> ForeignKeys {
        ForeignKeys::from_value(&json!({"keys": [self.public()]})).unwrap()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn sign_text(&self, header: &str, claims: &str) -> String {
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self.signer.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn header(&self) -> Value {
        json!({"alg": self.alg, "kid": "one"})
    }
}

static EC: LazyLock<Stranger> = LazyLock::new(|| Stranger::new("ES256"));
static RSA: LazyLock<Stranger> = LazyLock::new(|| Stranger::new("RS256"));

fn claims() -> Value {
    json!({"iss": "https://idp.example", "sub": "ada", "aud": "caracal", "exp": NOW + 300, "iat": NOW})
}

fn verify(keys: &ForeignKeys, token: &str) -> Result<VerifiedForeign, ForeignError> {
    verify_at(keys, token, NOW)
}

fn verify_at(keys: &ForeignKeys, token: &str, now: i64) -> Result<VerifiedForeign, ForeignError> {
    let expect = ForeignExpect {
        issuer: "https://idp.example",
        audiences: &["caracal"],
        types: &["jwt"],
        now,
    };
    ForeignToken::parse(token)?.verify(keys, &expect)
}

fn set(keys: &[Value]) -> ForeignKeys {
    ForeignKeys::from_value(&json!({"keys": keys})).unwrap()
}

#[test]
fn the_five_algorithms_verify_and_claims_are_read() {
    for alg in ["ES256", "ES384", "RS256", "PS256", "EdDSA"] {
        let stranger = Stranger::new(alg);
        let mut said = claims();
        said["auth_time"] = json!(NOW - 10);
        said["aud"] = json!(["other", "caracal"]);
        said["exp"] = json!(1_790_000_300.75);
        let token = stranger.sign(&stranger.header(), &said);
        let verified = verify(&stranger.keys(), &token).unwrap();
        let read = verified.claims();
        assert_eq!(
            (read.sub.as_str(), read.auth_time, read.exp),
            ("ada", Some(NOW - 10), NOW + 300),
            "{alg}"
        );
        assert_eq!(Value::Object(read.all.clone()), said);
    }
}

#[test]
fn no_other_algorithm_is_even_looked_at() {
    let stranger = Stranger::with("RS384", RSA.jwk.clone());
    let token = stranger.sign(&json!({"alg": "RS384", "kid": "one"}), &claims());
    assert_eq!(verify(&RSA.keys(), &token).unwrap_err(), ForeignError::Malformed);
    for alg in [
        "none", "None", "NONE", "HS256", "es256", "ES256K", "ES512", "RSA1_5", "Ed25519", "",
    ] {
        let token = EC.sign(&json!({"alg": alg, "kid": "one"}), &claims());
        assert_eq!(
            verify(&EC.keys(), &token).unwrap_err(),
            ForeignError::Malformed,
            "{alg}"
        );
    }
    let unsigned = EC.sign(&json!({"alg": "none"}), &claims());
    let (input, _) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(
        verify(&EC.keys(), &format!("{input}.")).unwrap_err(),
        ForeignError::Malformed
    );
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    let public = RSA.jwk.to_public_key().unwrap().to_string();
    let hmac = HmacJwsAlgorithm::Hs256
        .signer_from_bytes(public.as_bytes())
        .unwrap();
    for alg in ["HS256", "RS256"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "kid": "one"}).to_string());
        let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims().to_string()));
        let signature = hmac.sign(input.as_bytes()).unwrap();
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert!(verify(&RSA.keys(), &token).is_err(), "{alg}");
    }
    let symmetric = json!({"kty": "oct", "kid": "one", "k": "c2VjcmV0"});
    assert!(
        !set(&[symmetric]).contains(None),
        "a symmetric key is no key here"
    );
}

#[test]
fn a_key_is_for_its_own_algorithm_only() {
    let ps = Stranger::with("PS256", RSA.jwk.clone());
    let token = ps.sign(&ps.header(), &claims());
    assert!(
        verify(&RSA.keys(), &token).is_ok(),
        "an RSA key that names no algorithm is for both"
    );
    let mut bound = RSA.public();
    bound["alg"] = json!("RS256");
    assert_eq!(
        verify(&set(&[bound]), &token).unwrap_err(),
        ForeignError::UnknownKey
    );
    let confused = EC.sign(&json!({"alg": "RS256", "kid": "one"}), &claims());
    assert_eq!(
        verify(&EC.keys(), &confused).unwrap_err(),
        ForeignError::UnknownKey
    );
    let confused = EC.sign(&json!({"alg": "ES384", "kid": "one"}), &claims());
    assert_eq!(
        verify(&EC.keys(), &confused).unwrap_err(),
        ForeignError::UnknownKey
    );
}

#[test]
fn keys_that_a_token_brings_along_are_refused_with_it() {
    let own = Stranger::new("ES256");
    for (name, value) in [
        ("jwk", own.public()),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MII"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let mut header = own.header();
        header[name] = value;
        let token = own.sign(&header, &claims());
        assert_eq!(
            verify(&EC.keys(), &token).unwrap_err(),
            ForeignError::Malformed,
            "{name}"
        );
    }
    let token = own.sign(&own.header(), &claims());
    assert_eq!(
        verify(&EC.keys(), &token).unwrap_err(),
        ForeignError::BadSignature,
        "somebody else's key"
    );
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    for kid in [
        "../../etc/passwd",
        "one' OR '1'='1",
        "ONE",
        "one ",
        "",
        "https://evil.example/jwks#one",
    ] {
        let token = EC.sign(&json!({"alg": "ES256", "kid": kid}), &claims());
        assert_eq!(
            verify(&EC.keys(), &token).unwrap_err(),
            ForeignError::UnknownKey,
            "{kid:?}"
        );
    }
    for kid in [json!(1), json!(["one"]), json!("k".repeat(300)), Value::Null] {
        let token = EC.sign(&json!({"alg": "ES256", "kid": kid}), &claims());
        assert_eq!(
            verify(&EC.keys(), &token).unwrap_err(),
            ForeignError::Malformed,
            "{kid}"
        );
    }
    let unnamed = EC.sign(&json!({"alg": "ES256"}), &claims());
    assert!(
        verify(&EC.keys(), &unnamed).is_ok(),
        "without a name the fitting key is tried"
    );
}

#[test]
fn keys_that_must_not_verify_are_passed_over() {
    let good = RSA.public();
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let weak = serde_json::to_value(Jwk::generate_rsa_key(1024).unwrap().to_public_key().unwrap()).unwrap();
    for bad in [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!("verify")),
        with("alg", json!("RSA-OAEP")),
        with("alg", json!("HS256")),
        with("n", json!("AAAA")),
        with("n", json!("not base64!")),
        with("e", json!("")),
        with("kid", json!(7)),
        with("kty", json!("EC")),
        with("crv", json!("P-256")),
        serde_json::to_value(&RSA.jwk).unwrap(),
        weak,
        json!({}),
        json!("key"),
    ] {
        assert!(!set(std::slice::from_ref(&bad)).contains(None), "{bad}");
        let both = set(&[bad, good.clone()]);
        assert!(
            verify(&both, &RSA.sign(&RSA.header(), &claims())).is_ok(),
            "the others still serve"
        );
    }
    assert!(set(&[with("use", json!("sig")), with("key_ops", json!(["verify"]))]).contains(Some("one")));
}

#[test]
fn what_is_not_a_key_set_is_an_error() {
    let many: Vec<Value> = (0..65).map(|_| RSA.public()).collect();
    for bad in [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"keys": {}}"#.to_owned(),
        r#"{"keys": [], "keys": []}"#.to_owned(),
        "<html>".to_owned(),
        "[".repeat(100_000),
        json!({"keys": many}).to_string(),
        format!("{{\"keys\": []{}}}", " ".repeat(MAX_KEY_SET_BYTES)),
    ] {
        assert!(
            ForeignKeys::parse(bad.as_bytes()).is_err(),
            "{}",
            bad.chars().take(40).collect::<String>()
        );
    }
}

#[test]
fn duplicate_members_and_odd_spellings_are_refused() {
    let header = EC.header().to_string();
    let twice = r#"{"iss":"https://idp.example","sub":"ada","sub":"eve","aud":"caracal","exp":1790000300}"#;
    let hidden =
        r#"{"iss":"https://idp.example","sub":"ada","\u0073ub":"eve","aud":"caracal","exp":1790000300}"#;
    for said in [twice, hidden] {
        let token = EC.sign_text(&header, said);
        assert_eq!(verify(&EC.keys(), &token).unwrap_err(), ForeignError::Malformed);
    }
    let algs = r#"{"alg":"ES256","alg":"none","kid":"one"}"#;
    assert!(verify(&EC.keys(), &EC.sign_text(algs, &claims().to_string())).is_err());
    let good = EC.sign(&EC.header(), &claims());
    assert!(verify(&EC.keys(), &good).is_ok());
    for odd in [
        format!("{good}="),
        format!("{good}."),
        format!(" {good}"),
        format!("{good}\n"),
        good.replacen('.', "..", 1),
        format!("a.{good}"),
        "x".repeat(MAX_FOREIGN_TOKEN_BYTES + 1),
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
    ] {
        assert!(verify(&EC.keys(), &odd).is_err());
    }
}

#[test]
fn claims_are_what_they_must_be() {
    let with = |name: &str, value: Option<Value>| {
        let mut said = claims();
        let members = said.as_object_mut().unwrap();
        match value {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
        verify(&EC.keys(), &EC.sign(&EC.header(), &said)).map(drop)
    };
    for name in ["iss", "sub", "aud", "exp"] {
        assert_eq!(with(name, None), Err(ForeignError::Malformed), "{name}");
        assert_eq!(
            with(name, Some(json!({}))),
            Err(ForeignError::Malformed),
            "{name}"
        );
    }
    for odd in [json!("300"), json!(-1), json!(1e300), json!(null), json!(true)] {
        assert_eq!(
            with("exp", Some(odd.clone())),
            Err(ForeignError::Malformed),
            "{odd}"
        );
    }
    assert_eq!(
        with("iss", Some(json!("https://idp.example/"))),
        Err(ForeignError::WrongIssuer)
    );
    for other in [json!("Caracal"), json!([]), json!(["a", "b"])] {
        assert_eq!(
            with("aud", Some(other.clone())),
            Err(ForeignError::WrongAudience),
            "{other}"
        );
    }
    assert_eq!(with("aud", Some(json!([1]))), Err(ForeignError::Malformed));
    assert_eq!(with("jti", Some(json!(1))), Err(ForeignError::Malformed));
}

#[test]
fn other_clocks_may_be_off_by_a_minute_and_not_by_more() {
    let token = EC.sign(&EC.header(), &claims());
    let end = NOW + 300;
    assert!(verify_at(&EC.keys(), &token, end + 59).is_ok());
    assert_eq!(
        verify_at(&EC.keys(), &token, end + 60).unwrap_err(),
        ForeignError::Expired
    );
    assert!(verify_at(&EC.keys(), &token, NOW - 60).is_ok());
    assert_eq!(
        verify_at(&EC.keys(), &token, NOW - 61).unwrap_err(),
        ForeignError::NotYetValid
    );
    let mut later = claims();
    later["nbf"] = json!(NOW + 61);
    let token = EC.sign(&EC.header(), &later);
    assert_eq!(verify(&EC.keys(), &token).unwrap_err(), ForeignError::NotYetValid);
}

#[test]
fn a_type_that_is_not_asked_for_is_refused() {
    for (typ, right) in [
        ("JWT", true),
        ("application/jwt", true),
        ("at+jwt", false),
        ("dpop+jwt", false),
    ] {
        let token = EC.sign(&json!({"alg": "ES256", "kid": "one", "typ": typ}), &claims());
        assert_eq!(verify(&EC.keys(), &token).is_ok(), right, "{typ}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_no_noise_is_a_token(text in "\\PC{0,200}", dots in "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){0,4}") {
        prop_assert!(verify(&EC.keys(), &text).is_err());
        prop_assert!(verify(&EC.keys(), &dots).is_err());
        let _ = ForeignKeys::parse(text.as_bytes());
    }

    #[test]
    fn one_changed_character_is_another_token(at in 0usize..400, with in "[A-Za-z0-9_-]") {
        let good = EC.sign(&EC.header(), &claims());
        let mut letters: Vec<char> = good.chars().collect();
        let at = at % letters.len();
        let before = letters[at];
        letters[at] = with.chars().next().unwrap();
        let changed: String = letters.into_iter().collect();
        if before != '.' && changed != good {
            prop_assert!(verify(&EC.keys(), &changed).is_err());
        }
    }
}
