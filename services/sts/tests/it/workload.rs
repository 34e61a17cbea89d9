//! Workload identity: an assertion that the zone signs for the provider's audience.

use crate::provided::{Provided, refusal};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_testkit::world::claims;
use caracal_testkit::{OauthServer, Stack};
use josekit::jwk::Jwk;
use josekit::jws::ES256;
use serde_json::{Value, json};

#[tokio::test]
async fn an_upstream_can_check_who_calls_by_the_zones_published_keys() {
    let stack = Stack::start().await;
    let config = json!({"audience": "https://cloud.example", "ttl_seconds": 120});
    let provided = Provided::new(&stack, OauthServer::start(), "workload", &config, &json!({})).await;
    let answer = provided.credential(&stack, 0, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let value = answer.body["credential"]["value"].as_str().expect("a header");
    let token = value.strip_prefix("Bearer ").expect("a bearer token");
    let header = token.split('.').next().expect("a header");
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64url")).expect("JSON");
    let set = stack
        .sts(0)
        .get(&format!(
            "/zones/{}/.well-known/jwks.json",
            provided.world.zone_id
        ))
        .await
        .expect(200);
    let keys = set["keys"].as_array().expect("keys");
    let key = keys
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .expect("a published key");
    let key = Jwk::from_map(key.as_object().expect("a JWK").clone()).expect("a JWK");
    let verifier = ES256.verifier_from_jwk(&key).expect("a verifier");
    josekit::jwt::decode_with_verifier(token, &verifier).expect("signed by the zone");

    let said = claims(token);
    assert_eq!(
        (&said["iss"], &said["aud"]),
        (&json!(provided.issuer), &json!("https://cloud.example"))
    );
    assert_eq!(said["sub"], json!(provided.world.application_id));
    assert_eq!(
        said["exp"]
            .as_i64()
            .zip(said["iat"].as_i64())
            .map(|(exp, iat)| exp - iat),
        Some(120)
    );
    assert_eq!(header["typ"], "JWT");

    // It is nobody's authority here: neither as a subject nor at a gateway.
    let fields = [
        ("subject_token", token),
        ("resource", provided.identifier.as_str()),
    ];
    let refused = provided.world.token(&stack.sts(0), &fields).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "invalid_grant"),
        "{}",
        refused.text
    );
    let refused = provided.call(&stack, 0, token, "as-bearer").await;
    assert_eq!(refusal(&refused), (401, "invalid_token", "invalid_token"));

    // The testkit's upstream does not know it, which is told as such.
    let session = provided.own_session(&stack).await;
    let refused = provided.call(&stack, 0, &session, "called").await;
    assert_eq!(
        refusal(&refused),
        (502, "bad_gateway", "upstream_credential_rejected"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn the_configured_subject_is_named_for_as_long_as_is_said() {
    let stack = Stack::start().await;
    let config = json!({"audience": "a", "subject": "system:agents", "ttl_seconds": 3_600});
    let mut provided = Provided::new(&stack, OauthServer::start(), "workload", &config, &json!({})).await;
    let answer = provided.credential(&stack, 0, None).await;
    let value = answer.body["credential"]["value"].as_str().expect("a header");
    let said = claims(value.strip_prefix("Bearer ").expect("a bearer token"));
    assert_eq!(said["sub"], "system:agents");
    assert_eq!(
        said["exp"]
            .as_i64()
            .zip(said["iat"].as_i64())
            .map(|(exp, iat)| exp - iat),
        Some(3600)
    );
    provided.bind(&stack, "workload", &json!({}), &json!({})).await;
    let session = provided.own_session(&stack).await;
    let refused = provided.call(&stack, 0, &session, "unready").await;
    assert_eq!(
        refusal(&refused),
        (503, "temporarily_unavailable", "provider_not_ready")
    );
}
