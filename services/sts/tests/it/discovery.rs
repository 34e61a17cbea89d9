//! Keys and metadata (RFC 7517, RFC 8414).

use caracal_testkit::{Stack, World};

#[tokio::test]
async fn the_next_key_is_published_before_it_signs_and_no_private_part_ever_is() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let by_path = sts
        .get(&format!("/zones/{}/.well-known/jwks.json", world.zone_id))
        .await;
    let by_query = sts
        .get(&format!("/.well-known/jwks.json?zone_id={}", world.zone_id))
        .await;
    assert_eq!((by_path.status, &by_path.body), (200, &by_query.body));
    assert_eq!(
        by_path.header("Cache-Control"),
        "public, max-age=300, must-revalidate"
    );
    for nothing in ["", "?zone_id=", "?zone_id=&zone_id="] {
        let answer = sts.get(&format!("/.well-known/jwks.json{nothing}")).await;
        let got = (answer.status, answer.member("reason"));
        assert_eq!(got, (400, "malformed_request"), "{nothing}: {}", answer.text);
    }
    let keys = by_path.body["keys"].as_array().expect("a key set");
    assert_eq!(keys.len(), 2, "active and next");
    for key in keys {
        assert_eq!(
            (&key["kty"], &key["crv"], &key["alg"], &key["use"]),
            (&"EC".into(), &"P-256".into(), &"ES256".into(), &"sig".into())
        );
        assert!(key.get("d").is_none());
    }
}

#[tokio::test]
async fn a_retired_key_leaves_the_set_when_its_last_token_has_expired_and_no_word_is_needed() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let path = format!("/zones/{}/.well-known/jwks.json", world.zone_id);
    let by_query = format!("/.well-known/jwks.json?zone_id={}", world.zone_id);
    let database = stack.database().connect().await;
    let aged = "UPDATE signing_keys SET created_at = created_at - interval '10 minutes'";
    database.batch_execute(aged).await.expect("aged");
    let rotate = world.path("signing-keys/rotate");
    let rotated = stack
        .admin()
        .post(&rotate, &serde_json::json!({"mode": "graceful"}))
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let soon = "UPDATE signing_keys SET retires_at = now() + interval '4 seconds' WHERE status = 'retiring'";
    database.batch_execute(soon).await.expect("hurried");
    let epoch = crate::users::bump_epoch(&stack, &world).await;
    // Whoever asks for this epoch has the view made with the earlier end; nothing changes it after that.
    let held = sts.clone().with("Caracal-Min-Epoch", &epoch);
    assert_eq!(world.token(&held, &[]).await.status, 200);
    let count = async |path: &str| {
        let keys = sts.get(path).await;
        let cached = "public, max-age=300, must-revalidate";
        assert_eq!(
            (keys.status, keys.header("Cache-Control")),
            (200, cached),
            "{path}"
        );
        keys.body["keys"].as_array().expect("keys").len()
    };
    assert_eq!(
        (count(&path).await, count(&by_query).await),
        (3, 3),
        "former, active and next"
    );
    tokio::time::sleep(std::time::Duration::from_millis(4500)).await;
    assert_eq!(
        (count(&path).await, count(&by_query).await),
        (2, 2),
        "active and next"
    );
}

#[tokio::test]
async fn metadata_names_the_zones_own_endpoints() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let zone = &world.zone_id;
    let rfc8414 = sts
        .get(&format!("/.well-known/oauth-authorization-server/zones/{zone}"))
        .await
        .expect(200);
    let openid = sts
        .get(&format!("/zones/{zone}/.well-known/openid-configuration"))
        .await
        .expect(200);
    assert_eq!(rfc8414, openid);
    let issuer = rfc8414["issuer"].as_str().expect("an issuer");
    assert!(issuer.ends_with(&format!("/zones/{zone}")));
    assert_eq!(rfc8414["token_endpoint"], format!("{issuer}/oauth/2/token"));
    assert_eq!(rfc8414["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
    assert_eq!(
        rfc8414["authorization_endpoint"],
        format!("{issuer}/oauth/2/authorize")
    );
    assert_eq!(rfc8414["response_types_supported"], serde_json::json!(["code"]));
    assert_eq!(
        rfc8414["code_challenge_methods_supported"],
        serde_json::json!(["S256"])
    );
    let (base, _) = issuer.split_once("/zones/").expect("a zone's issuer");
    for (name, path) in [
        ("introspection_endpoint", "introspect"),
        ("revocation_endpoint", "revoke"),
    ] {
        assert_eq!(rfc8414[name], format!("{base}/oauth/2/{path}"));
    }
    for endpoint in ["token", "introspection", "revocation"] {
        assert_eq!(
            rfc8414[format!("{endpoint}_endpoint_auth_methods_supported")],
            serde_json::json!(["client_secret_basic", "client_secret_post", "private_key_jwt"])
        );
        assert_eq!(
            rfc8414[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")],
            serde_json::json!(["ES256", "ES384", "RS256", "PS256", "EdDSA"])
        );
    }
}

/// Every error of the STS has the one shape, and nobody keeps it (contract §2, "Errors").
pub(crate) fn has_the_shape(answer: &caracal_testkit::Answer) {
    for member in ["error", "error_description", "reason"] {
        assert!(!answer.member(member).is_empty(), "{member}: {}", answer.text);
    }
    for member in ["request_id", "requestId"] {
        assert_eq!(
            answer.member(member),
            answer.header("X-Request-Id"),
            "{}",
            answer.text
        );
    }
    assert_eq!(answer.header("Cache-Control"), "no-store", "{}", answer.text);
}

#[tokio::test]
async fn a_zone_that_is_not_there_is_not_found() {
    let stack = Stack::start().await;
    let sts = stack.sts(0);
    for zone in ["x", "0198c0de-0000-7000-8000-000000000000"] {
        let answer = sts.get(&format!("/zones/{zone}/.well-known/jwks.json")).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (404, "zone_not_found"),
            "{zone}"
        );
        has_the_shape(&answer);
    }
    for query in ["", "?zone=x", "?zone_id=x&zone_id=y"] {
        let answer = sts.get(&format!("/.well-known/jwks.json{query}")).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(got, (400, "invalid_request", "malformed_request"), "{query}");
        has_the_shape(&answer);
    }
}

#[tokio::test]
async fn the_authorization_endpoint_never_redirects() {
    let stack = Stack::start().await;
    let path =
        "/zones/0198c0de-0000-7000-8000-000000000000/oauth/2/authorize?redirect_uri=https://evil.example";
    let answer = stack.sts(0).get(path).await;
    assert_eq!(
        (answer.status, answer.member("error")),
        (400, "invalid_request"),
        "{}",
        answer.text
    );
    assert!(answer.header("Location").is_empty());
}
