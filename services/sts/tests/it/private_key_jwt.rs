//! Applications that sign for themselves (RFC 7523; contract §2, "Client authentication").

use crate::signing::{ASSERTION_TYPE, KeyPair, application, assertion_claims, issuer, now, set};
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Client, Stack, World};
use serde_json::{Value, json};

async fn present(sts: &Client, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    form.extend_from_slice(more);
    sts.form("/oauth/2/token", &form).await
}

/// A world with an application that signs with `key`; its id and the zone's issuer.
async fn signing(stack: &Stack, key: &KeyPair) -> (World, String, String) {
    let world = World::new(stack).await;
    let credential = json!({"credential_type": "public-key", "jwks": set(&[key])});
    let id = application(stack, &world, &credential).await;
    let issuer = issuer(stack, &world).await;
    (world, id, issuer)
}

#[tokio::test]
async fn an_application_proves_itself_with_any_of_five_algorithms() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let issuer = issuer(&stack, &world).await;
    for alg in ["ES256", "ES384", "RS256", "PS256", "EdDSA"] {
        let key = KeyPair::new(alg, alg);
        let credential = json!({"credential_type": "public-key", "jwks": set(&[&key])});
        let id = application(&stack, &world, &credential).await;
        // Neither client_id nor zone_id: the assertion says who, and that decides the zone.
        let issued = present(&stack.sts(0), &key.sign(&assertion_claims(&id, &issuer)), &[]).await;
        assert_eq!(issued.status, 200, "{alg}: {}", issued.text);
        let said = claims(issued.member("access_token"));
        assert_eq!(
            (&said["sub"], &said["zone_id"]),
            (&json!(id), &json!(world.zone_id))
        );
        // The session it gets becomes a mandate, each step with an assertion of its own.
        let fields = [
            ("client_id", id.as_str()),
            ("zone_id", &world.zone_id),
            ("subject_token", issued.member("access_token")),
            ("resource", &world.resource),
            ("scope", "orders:read"),
        ];
        let minted = present(&stack.sts(0), &key.sign(&assertion_claims(&id, &issuer)), &fields).await;
        assert_eq!(minted.status, 200, "{alg}: {}", minted.text);
    }
}

#[tokio::test]
async fn the_audience_is_the_issuer_or_a_token_endpoint_in_either_spelling() {
    let stack = Stack::start().await;
    let key = KeyPair::new("ES256", "one");
    let (_world, id, issuer) = signing(&stack, &key).await;
    let (base, _) = issuer.split_once("/zones/").expect("a zone's issuer");
    for audience in [
        json!(issuer),
        json!(format!("{issuer}/oauth/2/token")),
        json!(format!("{base}/oauth/2/token")),
        json!(["https://elsewhere.example", issuer]),
    ] {
        let mut said = assertion_claims(&id, "");
        said["aud"] = audience.clone();
        let answer = present(&stack.sts(0), &key.sign(&said), &[]).await;
        assert_eq!(answer.status, 200, "{audience}: {}", answer.text);
    }
    for audience in [
        json!(base),
        json!(format!("{issuer}/")),
        json!("https://sts.example"),
        json!([]),
    ] {
        let mut said = assertion_claims(&id, "");
        said["aud"] = audience.clone();
        let answer = present(&stack.sts(0), &key.sign(&said), &[]).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(
            got,
            (401, "invalid_client", "client_assertion_refused"),
            "{audience}"
        );
    }
}

#[tokio::test]
async fn an_assertion_counts_once_however_many_present_it_at_once() {
    let stack = Stack::builder()
        .replicas(caracal_testkit::stack::Service::Sts, 2)
        .start()
        .await;
    let key = KeyPair::new("ES256", "one");
    let (_world, id, issuer) = signing(&stack, &key).await;
    let assertion = key.sign(&assertion_claims(&id, &issuer));
    let tries = (0..50).map(|n| {
        let (sts, assertion) = (stack.sts(n % 2), assertion.clone());
        async move { present(&sts, &assertion, &[]).await }
    });
    let answers = futures::future::join_all(tries).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1, "exactly one of fifty");
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(
            (lost.status, lost.member("reason")),
            (401, "client_assertion_replayed"),
            "{}",
            lost.text
        );
    }
    assert_eq!(
        stack
            .database()
            .count("SELECT count(*) FROM used_assertions")
            .await,
        1
    );
    // The twin (r, n − s) of its signature verifies as well, and is still the same assertion.
    let twin = twin(&assertion);
    assert_ne!(twin, assertion);
    let answer = present(&stack.sts(0), &twin, &[]).await;
    assert_eq!(
        (answer.status, answer.member("reason")),
        (401, "client_assertion_replayed")
    );
}

/// The other ECDSA signature over the same bytes.
fn twin(token: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let (input, signature) = token.rsplit_once('.').expect("a compact JWS");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let order: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(ORDER.get(at * 2..at * 2 + 2).expect("hex"), 16).expect("hex"))
        .collect();
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let s = i16::from(*bytes.get(32 + at).expect("64 bytes"));
        let mut digit = i16::from(*order.get(at).expect("32 bytes")) - s - borrow;
        borrow = i16::from(digit < 0);
        digit += borrow * 256;
        *bytes.get_mut(32 + at).expect("64 bytes") = u8::try_from(digit).expect("a byte");
    }
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[tokio::test]
async fn claims_that_are_not_right_are_refused_each_for_its_reason() {
    let stack = Stack::start().await;
    let key = KeyPair::new("ES256", "one");
    let (world, id, issuer) = signing(&stack, &key).await;
    let removed = Value::Null;
    let cases: [(&str, Value, &str); 14] = [
        ("exp", json!(now() - 61), "client_assertion_expired"),
        ("exp", json!(now() + 3600 + 300), "client_assertion_refused"),
        ("exp", removed.clone(), "invalid_client"),
        ("exp", json!("soon"), "invalid_client"),
        ("iat", json!(now() + 120), "client_assertion_refused"),
        ("nbf", json!(now() + 120), "client_assertion_refused"),
        ("jti", removed.clone(), "client_assertion_refused"),
        ("jti", json!(""), "client_assertion_refused"),
        ("jti", json!("x".repeat(256)), "client_assertion_refused"),
        ("jti", json!("nul\u{0}"), "client_assertion_refused"),
        ("iss", json!(world.application_id), "client_assertion_refused"),
        ("iss", json!("https://idp.example"), "client_assertion_refused"),
        ("sub", json!("somebody"), "invalid_client"),
        ("aud", removed, "invalid_client"),
    ];
    for (name, value, reason) in cases {
        let mut said = assertion_claims(&id, &issuer);
        if value.is_null() {
            said.as_object_mut().expect("claims").remove(name);
        } else {
            said[name] = value.clone();
        }
        let answer = present(&stack.sts(0), &key.sign(&said), &[]).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(
            got,
            (401, "invalid_client", reason),
            "{name}={value}: {}",
            answer.text
        );
    }
    // Clocks that are off by less than a minute are nobody's fault.
    for (name, value) in [("exp", now() - 1), ("iat", now() + 55), ("nbf", now() + 55)] {
        let mut said = assertion_claims(&id, &issuer);
        said[name] = json!(value);
        assert_eq!(
            present(&stack.sts(0), &key.sign(&said), &[]).await.status,
            200,
            "{name}"
        );
    }
}

#[tokio::test]
async fn forged_assertions_prove_nobody() {
    let stack = Stack::start().await;
    let (key, other) = (KeyPair::new("ES256", "one"), KeyPair::new("ES256", "one"));
    let (world, id, issuer) = signing(&stack, &key).await;
    let said = assertion_claims(&id, &issuer);
    let good = key.sign(&said);
    let (input, _) = good.rsplit_once('.').expect("a compact JWS");
    let header = |more: Value| {
        let mut header = json!({"alg": "ES256", "kid": "one"});
        for (name, value) in more.as_object().expect("members") {
            header[name] = value.clone();
        }
        header
    };
    let forged = [
        other.sign(&said),
        format!("{input}."),
        format!("{good}="),
        key.sign_as(&header(json!({"alg": "none"})), &said),
        key.sign_as(&header(json!({"alg": "HS256"})), &said),
        key.sign_as(&header(json!({"alg": "RS256"})), &said),
        key.sign_as(&header(json!({"crit": ["exp"]})), &said),
        key.sign_as(&header(json!({"kid": "two"})), &said),
        key.sign_as(&header(json!({"kid": "../one"})), &said),
        other.sign_as(&header(json!({"jwk": other.public()})), &said),
        other.sign_as(&header(json!({"jku": "http://127.0.0.1:1/jwks"})), &said),
        other.sign_as(&header(json!({"x5u": "http://127.0.0.1:1/cert"})), &said),
        "a.b.c".to_owned(),
        "x".repeat(20_000),
    ];
    for assertion in forged {
        let answer = present(&stack.sts(0), &assertion, &[("client_id", &id)]).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(got, (401, "invalid_client", "invalid_client"), "{assertion}");
    }
    // A session token of ours is no assertion, and another application's assertion is not mine.
    let session = world.session(&stack.sts(0)).await;
    assert_eq!(present(&stack.sts(0), &session, &[]).await.status, 401);
    let mixed = present(&stack.sts(0), &good, &[("client_id", &world.application_id)]).await;
    assert_eq!((mixed.status, mixed.member("error")), (401, "invalid_client"));
    // None of this used the good one up.
    assert_eq!(present(&stack.sts(0), &good, &[]).await.status, 200);
}

#[tokio::test]
async fn one_method_at_a_time_and_only_the_applications_own() {
    let stack = Stack::start().await;
    let key = KeyPair::new("ES256", "one");
    let (world, id, issuer) = signing(&stack, &key).await;
    let other = World::new(&stack).await;
    let sts = stack.sts(0);
    let fresh = || key.sign(&assertion_claims(&id, &issuer));
    let both = present(&sts, &fresh(), &[("client_id", &id), ("client_secret", "x")]).await;
    assert_eq!((both.status, both.member("reason")), (400, "two_client_methods"));
    let both = present(&sts.clone().with("Authorization", "Basic eDp5"), &fresh(), &[]).await;
    assert_eq!((both.status, both.member("reason")), (400, "two_client_methods"));
    let other_type = [
        ("client_assertion", fresh()),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:saml2-bearer".to_owned(),
        ),
    ];
    let form: Vec<(&str, &str)> = other_type
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = sts.form("/oauth/2/token", &form).await;
    assert_eq!(
        (answer.status, answer.member("reason")),
        (400, "unsupported_client_assertion_type")
    );
    let stray = sts
        .form("/oauth/2/token", &[("client_assertion_type", ASSERTION_TYPE)])
        .await;
    assert_eq!((stray.status, stray.member("reason")), (400, "stray_parameter"));

    let wrong_zone = present(&sts, &fresh(), &[("zone_id", &other.zone_id)]).await;
    assert_eq!(
        (wrong_zone.status, wrong_zone.member("error")),
        (401, "invalid_client")
    );
    // An application with a secret has no keys, one with keys no secret, and a public one cannot prove itself at all.
    let said = assertion_claims(&world.application_id, &issuer);
    assert_eq!(present(&sts, &key.sign(&said), &[]).await.status, 401);
    let secret = [("client_id", id.as_str()), ("client_secret", "guess")];
    assert_eq!(sts.form("/oauth/2/token", &secret).await.status, 401);
    let public = application(&stack, &world, &json!({"credential_type": "public"})).await;
    assert_eq!(
        sts.form("/oauth/2/token", &[("client_id", &public)]).await.status,
        401
    );
    let said = assertion_claims(&public, &issuer);
    assert_eq!(present(&sts, &key.sign(&said), &[]).await.status, 401);
    // A bad one is counted like a bad secret; a good one is not held up by them.
    let bad = KeyPair::new("ES256", "one").sign(&assertion_claims(&id, &issuer));
    let mut last = 401;
    for _ in 0..80 {
        last = present(&sts, &bad, &[]).await.status;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
    assert_eq!(present(&sts, &fresh(), &[]).await.status, 200);
}
