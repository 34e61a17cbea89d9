use super::alone;
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Answer, Client};
use futures::future::join_all;
use serde_json::json;

/// The signing keys of a zone: their ids, and their private halves as they are sealed.
async fn sealed_keys(stack: &Stack, zone: &str) -> Vec<(String, String)> {
    let query = format!(
        "SELECT id::text, encode(private_sealed, 'hex') FROM signing_keys WHERE zone_id = '{zone}' ORDER BY id"
    );
    let client = stack.database().connect().await;
    let rows = client.query(&query, &[]).await.expect("signing keys");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

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

    let sealed = sealed_keys(&stack, first.member("zone_id")).await;
    assert!(!sealed.is_empty());
    let again = admin
        .send(reqwest::Method::POST, "/v1/local/bootstrap", |request| request)
        .await
        .expect("an answer");
    assert_eq!(
        (again.status, again.member("zone_id")),
        (200, first.member("zone_id"))
    );
    assert!(again.body.get("app_client_secret").is_none());
    assert_eq!(sealed_keys(&stack, first.member("zone_id")).await, sealed);
    let forced = admin.post("/v1/local/bootstrap", &json!({"force": true})).await;
    assert_eq!((forced.status, &forced.body["rotated"]), (200, &json!(true)));
    assert!(forced.member("app_client_secret").starts_with("ccs_"));
    assert_ne!(
        forced.member("app_client_secret"),
        first.member("app_client_secret")
    );
    let resealed = sealed_keys(&stack, first.member("zone_id")).await;
    assert_eq!(resealed.len(), sealed.len());
    assert!(
        sealed
            .iter()
            .zip(&resealed)
            .all(|((kid, before), (same, after))| kid == same && before != after),
        "the same keys, each sealed anew"
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

/// A session of the bootstrap's application.
async fn session(sts: &Client, zone: &str, of: &Answer) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("zone_id", zone),
        ("application_id", of.member("application_id")),
        ("client_secret", of.member("app_client_secret")),
    ];
    sts.clone()
        .with("Caracal-Min-Epoch", &of.epoch())
        .form("/oauth/2/token", &form)
        .await
}

/// A mandate for the bootstrap's resource within that session.
async fn mandate(sts: &Client, zone: &str, of: &Answer, session: &Answer) -> Answer {
    let form = [
        ("zone_id", zone),
        ("application_id", of.member("application_id")),
        ("client_secret", of.member("app_client_secret")),
        ("subject_token", session.member("access_token")),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("resource", of.member("resource")),
        ("scope", of.member("scope")),
    ];
    sts.form("/oauth/2/token", &form).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_bootstrap_repairs_what_became_of_it_and_its_application_mints() {
    let stack = Stack::builder()
        .replicas(Service::Gateway, 0)
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let (admin, sts) = (stack.admin(), stack.sts(0));
    let path = "/v1/local/bootstrap";
    let first = admin.post(path, &json!({})).await;
    let zone = first.member("zone_id").to_owned();
    let application = format!("/v1/zones/{zone}/applications/{}", first.member("application_id"));
    assert_eq!(session(&sts, &zone, &first).await.status, 200);

    // Whatever it proved itself by.
    let keys = json!({"credential_type": "url", "jwks_uri": "https://keys.example/jwks.json"});
    assert_eq!(admin.patch(&application, &keys).await.status, 200);
    let forced = admin.post(path, &json!({"force": true})).await;
    assert_eq!(
        (
            forced.status,
            &forced.body["rotated"],
            &forced.body["signing_key_resealed"]
        ),
        (200, &json!(true), &json!(true)),
        "{}",
        forced.text
    );
    let minted = session(&sts, &zone, &forced).await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let old = session(&sts, &zone, &first).await;
    assert_eq!(old.status, 401, "the secret before is none any more");

    // Several at once: each leaves one good secret, the last one's.
    let body = json!({"force": true});
    let answers = join_all((0..4).map(|_| admin.post(path, &body))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let epoch = |answer: &&Answer| answer.epoch().parse::<i64>().unwrap_or_default();
    let last = answers.iter().max_by_key(epoch).expect("answers");
    let minted = session(&sts, &zone, last).await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let minted = mandate(&sts, &zone, last, &minted).await;
    assert_eq!(minted.status, 200, "{}", minted.text);

    // Renamed or archived, it is made again; its new secret is shown, once.
    assert_eq!(
        admin
            .patch(&application, &json!({"name": "mine now"}))
            .await
            .status,
        200
    );
    let resources = admin
        .get(&format!("/v1/zones/{zone}/resources"))
        .await
        .expect(200);
    let resource = resources[0]["id"].as_str().expect("an id");
    let gone = admin
        .delete(&format!("/v1/zones/{zone}/resources/{resource}"))
        .await;
    assert_eq!(gone.status, 204);
    let nothing = json!({});
    let answers = join_all((0..4).map(|_| admin.post(path, &nothing))).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status < 300), "{answers:?}");
    let made = made[0];
    assert_ne!(made.member("application_id"), first.member("application_id"));
    assert_eq!(made.body["rotated"], json!(false));
    assert_eq!(session(&sts, &zone, made).await.status, 200);
    let again = format!("/v1/zones/{zone}/applications/{}", made.member("application_id"));
    assert_eq!(admin.delete(&again).await.status, 204);
    let forced = admin.post(path, &json!({"force": true})).await;
    assert_eq!(
        (forced.status, &forced.body["rotated"]),
        (200, &json!(true)),
        "{}",
        forced.text
    );
    assert_eq!(session(&sts, &zone, &forced).await.status, 200);
    let resources = admin
        .get(&format!("/v1/zones/{zone}/resources"))
        .await
        .expect(200);
    assert_eq!(
        resources.as_array().map(Vec::len),
        Some(1),
        "it has its resource again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_whose_policy_was_archived_decides_again() {
    let stack = Stack::builder()
        .replicas(Service::Gateway, 0)
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let (admin, sts) = (stack.admin(), stack.sts(0));
    let (path, nothing) = ("/v1/local/bootstrap", json!({}));
    let first = admin.post(path, &nothing).await;
    let zone = first.member("zone_id").to_owned();
    let session = session(&sts, &zone, &first).await;
    for archived in [
        vec!["policy-sets"],
        vec!["policies"],
        vec!["policies", "policy-sets"],
    ] {
        let mut gone = first.epoch();
        for list in &archived {
            let list = format!("/v1/zones/{zone}/{list}");
            let found = admin.get(&list).await.expect(200);
            let id = found[0]["id"].as_str().expect("an id");
            let answer = admin.delete(&format!("{list}/{id}")).await;
            assert_eq!(answer.status, 204, "{}", answer.text);
            gone = answer.epoch();
        }
        if archived.contains(&"policy-sets") {
            let sts = sts.clone().with("Caracal-Min-Epoch", &gone);
            assert_eq!(
                mandate(&sts, &zone, &first, &session).await.status,
                403,
                "{archived:?}"
            );
        }
        let answers = join_all((0..4).map(|_| admin.post(path, &nothing))).await;
        for answer in &answers {
            assert_eq!(answer.status, 200, "{archived:?}: {}", answer.text);
            assert!(answer.body.get("app_client_secret").is_none());
        }
        let epoch = |answer: &&Answer| answer.epoch().parse::<i64>().unwrap_or_default();
        let last = answers.iter().max_by_key(epoch).expect("answers");
        let sts = sts.clone().with("Caracal-Min-Epoch", &last.epoch());
        let minted = mandate(&sts, &zone, &first, &session).await;
        assert_eq!(minted.status, 200, "{archived:?}: {}", minted.text);
        for list in ["policies", "policy-sets"] {
            let found = admin.get(&format!("/v1/zones/{zone}/{list}")).await.expect(200);
            assert_eq!(found.as_array().map(Vec::len), Some(1), "{archived:?}: {found}");
        }
    }

    // What somebody put in its place stays.
    let list = format!("/v1/zones/{zone}/policy-sets");
    let mine = admin.post(&list, &json!({"name": "Mine"})).await;
    let mine = format!("{list}/{}", mine.member("id"));
    let policies = admin.get(&format!("/v1/zones/{zone}/policies")).await.expect(200);
    let policy = policies[0]["id"].as_str().expect("an id");
    let policy = format!("/v1/zones/{zone}/policies/{policy}");
    let versions = admin.get(&format!("{policy}/versions")).await.expect(200);
    let manifest = json!({"manifest": [{"policy_version_id": versions[0]["id"]}]});
    let version = admin.post(&format!("{mine}/versions"), &manifest).await;
    let active = json!({"version_id": version.member("id")});
    let activated = admin.post(&format!("{mine}/activate"), &active).await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    assert_eq!(admin.post(path, &nothing).await.status, 200);
    let mine = admin.get(&mine).await.expect(200);
    assert_eq!(mine["active_version_id"], active["version_id"]);
}
