use super::{ALLOW, Zone, alone};
use caracal_testkit::Client;
use caracal_testkit::stack::{Service, Stack};
use serde_json::{Value, json};

async fn token(stack: &Stack, body: &Value) -> (Client, String) {
    let made = stack.admin().post("/v1/admin-tokens", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    (
        stack.anonymous(Service::Api, 0).bearer(made.member("token")),
        made.member("id").to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zones_token_is_good_for_its_zone_only() {
    let stack = alone().start().await;
    let (mine, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Other").await);
    let (caller, id) = token(&stack, &json!({"scope": "zone", "zone_id": mine.id})).await;
    assert_eq!(caller.get(&mine.at("resources")).await.status, 200);
    assert_eq!(
        caller
            .post(&mine.at("policies"), &json!({"name": "p", "content": ALLOW}))
            .await
            .status,
        201
    );
    assert_eq!(
        caller
            .post("/v1/policies/validate", &json!({"content": ALLOW}))
            .await
            .status,
        200
    );
    for path in [
        "/v1/zones",
        "/v1/admin-tokens",
        &other.at("resources"),
        "/v1/zones/nonsense",
        "/v1/zones/nonsense/audit",
    ] {
        let refused = caller.get(path).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (403, "admin_token_zone_mismatch"),
            "{path}"
        );
    }
    let path = format!("/v1/zones/{}", mine.id);
    let refused = caller.delete(&path).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_zone_mismatch")
    );
    // Also when it is no such limit: permission comes before the body.
    for body in [
        json!({"mint_rate_per_minute": 5}),
        json!({"mint_rate_per_minute": "five"}),
        json!({"mint_rate_per_minute": null, "name": 7}),
        json!({"is_system": true}),
        json!({"is_system": "yes", "more": 1}),
    ] {
        let refused = caller.patch(&path, &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (403, "admin_token_zone_mismatch"),
            "{body}"
        );
    }
    let mistyped = json!({"mint_rate_per_minute": "five"});
    let refused = stack.admin().patch(&path, &mistyped).await;
    assert_eq!((refused.status, refused.member("error")), (400, "invalid_body"));
    assert_eq!(caller.patch(&path, &json!({"name": "Renamed"})).await.status, 200);
    assert_eq!(
        stack
            .admin()
            .delete(&format!("/v1/admin-tokens/{id}"))
            .await
            .status,
        204
    );
    assert_eq!(
        caller.get(&mine.at("resources")).await.member("error"),
        "invalid_admin_token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_token_reads_and_validates() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Read").await;
    let (caller, _) = token(&stack, &json!({"scope": "global", "read_only": true})).await;
    assert_eq!(caller.get("/v1/zones").await.status, 200);
    assert_eq!(
        caller
            .post("/v1/policies/validate", &json!({"content": ALLOW}))
            .await
            .status,
        200
    );
    for (path, body) in [
        ("/v1/zones".to_owned(), json!({})),
        (zone.at("resources"), json!("nonsense")),
    ] {
        let refused = caller.post(&path, &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (403, "admin_token_read_only"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_learns_nothing() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Closed").await;
    for caller in [
        stack.anonymous(Service::Api, 0),
        stack.anonymous(Service::Api, 0).bearer("wrong"),
    ] {
        for path in [
            "/v1/zones",
            "/v1/zones/nonsense",
            &zone.at("audit"),
            &zone.at("resources/nonsense"),
        ] {
            let refused = caller.get(path).await;
            assert_eq!(
                (refused.status, refused.member("error")),
                (401, "invalid_admin_token"),
                "{path}"
            );
        }
        let refused = caller.post(&zone.at("resources"), &json!("nonsense")).await;
        assert_eq!(refused.member("error"), "invalid_admin_token");
    }
    let expired = json!({"scope": "zone", "zone_id": zone.id, "expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(
        stack
            .admin()
            .post("/v1/admin-tokens", &expired)
            .await
            .member("error"),
        "invalid_body"
    );
    let odd = json!({"scope": "zone"});
    assert_eq!(
        stack.admin().post("/v1/admin-tokens", &odd).await.member("error"),
        "invalid_body"
    );
    let listed = stack.admin().get("/v1/admin-tokens").await;
    assert!(
        !listed.text.contains("token_sha256") && !listed.text.contains("\"token\""),
        "{}",
        listed.text
    );
}
