use super::alone;
use caracal_testkit::stack::Service;
use futures::future::join_all;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_makes_once_finds_afterwards_and_renews_by_force() {
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let admin = stack.admin();
    let nothing = json!({});
    let answers = join_all((0..4).map(|_| admin.post("/v1/local/bootstrap", &nothing))).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    let found = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((made.len(), found), (1, 3));
    let first = made[0];
    assert!(
        first.member("app_client_secret").starts_with("ccs_"),
        "{}",
        first.text
    );
    assert_eq!(
        (first.member("resource"), first.member("scope")),
        ("resource://example", "read")
    );
    assert_eq!(first.member("app_id"), first.member("application_id"));
    assert_eq!(
        (&first.body["rotated"], &first.body["signing_key_resealed"]),
        (&json!(false), &json!(false))
    );

    let again = admin
        .send(reqwest::Method::POST, "/v1/local/bootstrap", |request| request)
        .await
        .expect("an answer");
    assert_eq!(
        (again.status, again.member("zone_id")),
        (200, first.member("zone_id"))
    );
    assert!(again.body.get("app_client_secret").is_none());
    let forced = admin.post("/v1/local/bootstrap", &json!({"force": true})).await;
    assert_eq!((forced.status, &forced.body["rotated"]), (200, &json!(true)));
    assert!(forced.member("app_client_secret").starts_with("ccs_"));
    assert_ne!(
        forced.member("app_client_secret"),
        first.member("app_client_secret")
    );

    let sets = admin
        .get(&format!("/v1/zones/{}/policy-sets", first.member("zone_id")))
        .await
        .expect(200);
    assert!(sets[0]["active_version_id"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_is_not_there_unless_it_is_switched_on_and_takes_nobodys_zone() {
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "false")
        .start()
        .await;
    let refused = stack.admin().post("/v1/local/bootstrap", &json!({})).await;
    assert_eq!((refused.status, refused.member("error")), (404, "not_found"));
    drop(stack);
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    assert_eq!(
        stack
            .admin()
            .post("/v1/zones", &json!({"name": "x", "slug": "local"}))
            .await
            .status,
        201
    );
    let refused = stack.admin().post("/v1/local/bootstrap", &json!({})).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (409, "zone_not_local_bootstrap")
    );
}
