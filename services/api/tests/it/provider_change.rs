//! Providers that change, and the resources that are bound to them.

use super::given::application;
use super::provider::{checked, made, status_of};
use super::{Zone, alone};
use caracal_testkit::oauth_server::OauthServer;
use caracal_testkit::stack::Service;
use serde_json::{Value, json};

async fn bound(zone: &Zone, name: &str, provider: &str, extra: &Value) -> String {
    let mut body = json!({"identifier": format!("resource://{name}"), "scopes": ["read"],
        "credential_provider_id": provider});
    for (field, value) in extra.as_object().expect("an object") {
        body[field] = value.clone();
    }
    let made = zone.post("resources", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    zone.at(&format!("resources/{}", made.member("id")))
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_follow_the_kind_of_their_provider() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Follows").await;
    let id = made(&zone, "p", "apikey", json!({}), json!({"api_key": "k"})).await;
    let follows = bound(&zone, "follows", &id, &json!({})).await;
    let shows_none = bound(&zone, "none", &id, &json!({"auth_mode": "none"})).await;
    let archived = bound(&zone, "archived", &id, &json!({})).await;
    assert_eq!(zone.admin.delete(&archived).await.status, 204);
    let before = zone.admin.get(&follows).await;
    assert_eq!(before.member("auth_mode"), "provider_apikey");
    let path = zone.at(&format!("providers/{id}"));
    // In one step: another kind, and the secret of the old one taken away.
    let patch = json!({"kind": "oauth2", "config_json": {"token_url": "https://as.example/token", "client_id": "c"},
        "secret_config": {"api_key": null, "client_secret": "s"}});
    let changed = zone.admin.patch(&path, &patch).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.body["secret_config_keys"], json!(["client_secret"]));
    let after = zone.admin.get(&follows).await;
    assert_eq!(after.member("auth_mode"), "provider_oauth");
    assert_ne!(after.header("etag"), before.header("etag"), "a visible change");
    let stale = zone
        .admin
        .clone()
        .with("If-Match", before.header("etag"))
        .patch(&follows, &json!({"name": "x"}))
        .await;
    assert_eq!(stale.status, 412);
    let none = zone.admin.get(&shows_none).await;
    assert_eq!((none.member("auth_mode"), none.header("etag")), ("none", "\"1\""));
    assert_eq!(super::given::deeds(&stack, &zone, "resource.update").await, 1);
    // The other name of the same kind changes nothing of them.
    let same = json!({"kind": "oauth2_client_credentials"});
    assert_eq!(zone.admin.patch(&path, &same).await.status, 200);
    assert_eq!(
        zone.admin.get(&follows).await.header("etag"),
        after.header("etag")
    );
    for patch in [
        json!({"secret_config": {"api_key": null}}),
        json!({"secret_config": {"bearer_token": null}}),
    ] {
        let refused = zone.admin.patch(&path, &patch).await;
        assert_eq!(
            refused.member("error"),
            "invalid_body",
            "what is not there cannot be taken away: {patch}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_header_that_carries_the_key_is_kept_from_being_forwarded() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Headers").await;
    let headers = json!({"forward_headers": ["X-API-Key", "X-Tenant"]});
    let forwards = async |provider: &str, extra: Value| {
        let mut body = headers.clone();
        body["identifier"] = json!(format!("resource://{provider}{extra}").replace(['"', '{', '}', ' '], ""));
        body["scopes"] = json!(["read"]);
        body["credential_provider_id"] = json!(provider);
        for (field, value) in extra.as_object().expect("an object") {
            body[field] = value.clone();
        }
        zone.post("resources", &body).await
    };
    let plain = made(&zone, "plain", "apikey", json!({}), json!({"api_key": "k"})).await;
    let refused = forwards(&plain, json!({})).await;
    assert_eq!(
        refused.body["issues"][0]["path"],
        json!(["forward_headers", 0]),
        "{}",
        refused.text
    );
    let none = forwards(&plain, json!({"auth_mode": "none"})).await;
    assert_eq!(none.status, 201, "no key is sent: {}", none.text);
    let item = zone.at(&format!("resources/{}", none.member("id")));
    let back = zone
        .admin
        .patch(&item, &json!({"auth_mode": "provider_apikey"}))
        .await;
    assert_eq!(
        (back.status, back.member("error")),
        (400, "invalid_body"),
        "{}",
        back.text
    );
    for (name, kind, config, secrets) in [
        (
            "query",
            "api_key",
            json!({"location": "query", "name": "key"}),
            json!({"api_key": "k"}),
        ),
        (
            "other",
            "apikey",
            json!({"name": "X-Other-Key"}),
            json!({"api_key": "k"}),
        ),
        ("bearer", "bearer_token", json!({}), json!({"bearer_token": "t"})),
    ] {
        let id = made(&zone, name, kind, config, secrets).await;
        let made = forwards(&id, json!({})).await;
        assert_eq!(made.status, 201, "{name}: {}", made.text);
        if kind == "bearer_token" {
            continue;
        }
        let path = zone.at(&format!("providers/{id}"));
        let clash = zone
            .admin
            .patch(&path, &json!({"config_json": {"name": "x-api-key"}}))
            .await;
        assert_eq!(
            clash.body["issues"][0]["path"],
            json!(["config_json", "name"]),
            "{name}: {}",
            clash.text
        );
        let free = zone
            .admin
            .patch(&path, &json!({"config_json": {"name": "X-Free"}}))
            .await;
        assert_eq!(free.status, 200, "{name}: {}", free.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_outlives_its_provider() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Outlives").await;
    let id = made(&zone, "p", "apikey", json!({}), json!({})).await;
    let item = bound(&zone, "r", &id, &json!({})).await;
    let path = zone.at(&format!("providers/{id}"));
    assert_eq!(
        zone.admin.patch(&path, &json!({})).await.member("error"),
        "no_fields"
    );
    assert_eq!(zone.admin.delete(&path).await.status, 204);
    for gone in [
        zone.admin.delete(&path).await,
        zone.admin.get(&path).await,
        zone.admin.patch(&path, &json!({"name": "x"})).await,
        zone.admin.post(&format!("{path}/check"), &json!({})).await,
    ] {
        assert_eq!((gone.status, gone.member("error")), (404, "provider_not_found"));
    }
    let renamed = zone.admin.patch(&item, &json!({"name": "renamed"})).await;
    assert_eq!(
        (
            renamed.status,
            renamed.member("auth_mode"),
            renamed.member("credential_provider_id")
        ),
        (200, "provider_apikey", id.as_str()),
        "{}",
        renamed.text
    );
    let named = json!({"credential_provider_id": id});
    let refused = zone.admin.patch(&item, &named).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (404, "provider_not_found")
    );
    let new = json!({"identifier": "resource://new", "scopes": ["read"], "credential_provider_id": id});
    let refused = zone.post("resources", &new).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (404, "provider_not_found")
    );
    let freed = zone
        .admin
        .patch(&item, &json!({"credential_provider_id": null}))
        .await
        .expect(200);
    assert_eq!(freed["auth_mode"], "caracal_jwt");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_or_locates_is_shown_wherever_it_stands() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Shown").await;
    let id = made(
        &zone,
        "p",
        "oauth2",
        json!({"client_secret": "s"}),
        json!({
            "token_url": "https://as.example/token", "client_id": "c", "allowed_token_hosts": ["as.example"],
            "token_params": {"tenant": "7"},
        }),
    )
    .await;
    let shown = zone.get(&format!("providers/{id}")).await.expect(200);
    assert_eq!(
        shown["config_json"],
        json!({
            "token_url": "https://as.example/token", "client_id": "c", "allowed_token_hosts": ["as.example"],
            "token_params": {"tenant": "7"},
        })
    );
    assert_eq!(shown["secret_config_keys"], json!(["client_secret"]));
    // Not secrets by their endings, and no settings either.
    for name in ["token_uri", "token_scheme", "secret_name", "api_key_header"] {
        let body = json!({"identifier": "bad", "kind": "oauth2", "secret_config": {name: "x"}});
        let refused = zone.post("providers", &body).await;
        assert_eq!(
            refused.body["issues"][0]["path"],
            json!(["config_json", name]),
            "{}",
            refused.text
        );
    }
    let body = json!({"identifier": "bad", "kind": "oauth2", "config_json": {"refresh_token": "x"}});
    let refused = zone.post("providers", &body).await;
    assert_eq!(
        refused.body["issues"][0]["path"],
        json!(["secret_config", "refresh_token"]),
        "{}",
        refused.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_looks_at_every_resource_and_knows_the_grant() {
    let stack = alone()
        .env(Service::Api, "ALLOW_PRIVATE_UPSTREAMS", "true")
        .start()
        .await;
    let (zone, server) = (Zone::new(&stack, "Ready").await, OauthServer::start());
    let id = made(&zone, "key", "apikey", json!({}), json!({"api_key": "k"})).await;
    let upstream = json!({"upstream_url": server.url()});
    let mut last = String::new();
    for n in 0..23 {
        last = bound(&zone, &format!("r{n}"), &id, &upstream).await;
    }
    let report = checked(&zone, &id, &json!({})).await;
    for n in 0..23 {
        assert_eq!(status_of(&report, &format!("resource resource://r{n}")), "passed");
    }
    let agent = application(&zone, "agent").await;
    let content = "package caracal.authz\n\nresult := {\"decision\": \"allow\", \"determining_policies\": [\"g\"]} if \
        input.grant.user_id == \"ann\"\n";
    let policy = zone
        .post("policies", &json!({"name": "granted", "content": content}))
        .await;
    assert_eq!(policy.status, 201, "{}", policy.text);
    let [set, version] = zone.set_of("main", policy.member("version_id")).await;
    assert_eq!(zone.activate(&set, &version).await.status, 202);
    let resource = last.rsplit('/').next().expect("an id").to_owned();
    let asked = json!({"application_id": agent, "user_id": "ann", "resource_id": resource});
    let what = "policy resource://r22";
    assert_eq!(status_of(&checked(&zone, &id, &asked).await, what), "failed");
    let grant =
        json!({"application_id": agent, "user_id": "ann", "resource_id": resource, "scopes": ["read"]});
    let grant = zone.post("grants", &grant).await;
    assert_eq!(grant.status, 201, "{}", grant.text);
    assert_eq!(status_of(&checked(&zone, &id, &asked).await, what), "passed");
    let itself = json!({"application_id": agent, "resource_id": resource});
    assert_eq!(
        status_of(&checked(&zone, &id, &itself).await, what),
        "failed",
        "for itself it has none"
    );
    let revoked = zone
        .admin
        .delete(&zone.at(&format!("grants/{}", grant.member("id"))))
        .await;
    assert_eq!(revoked.status, 204);
    assert_eq!(status_of(&checked(&zone, &id, &asked).await, what), "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_and_changing_at_once_leave_no_stale_mode() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "At once").await;
    let id = made(&zone, "p", "apikey", json!({}), json!({})).await;
    let path = zone.at(&format!("providers/{id}"));
    let items = futures::future::join_all((0..4).map(|n| {
        let (zone, id) = (&zone, &id);
        async move { bound(zone, &format!("first{n}"), id, &json!({})).await }
    }))
    .await;
    let kinds = ["workload", "apikey"].map(|kind| json!({"kind": kind, "config_json": {}}));
    let change = futures::future::join_all((0..8).map(|n| zone.admin.patch(&path, &kinds[n % 2])));
    let bind = futures::future::join_all((0..8).map(|n| {
        let (zone, id) = (&zone, &id);
        async move { bound(zone, &format!("second{n}"), id, &json!({})).await }
    }));
    let rename = futures::future::join_all((0..16).map(|n| {
        let (zone, item) = (&zone, &items[n % 4]);
        async move { zone.admin.patch(item, &json!({"name": format!("n{n}")})).await }
    }));
    let (changed, bound, renamed) = futures::join!(change, bind, rename);
    for answer in changed.iter().chain(&renamed) {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let kind = zone.admin.get(&path).await;
    let mode = if kind.member("kind") == "workload" {
        "provider_oauth"
    } else {
        "provider_apikey"
    };
    for item in items.iter().chain(&bound) {
        assert_eq!(zone.admin.get(item).await.member("auth_mode"), mode);
    }
}
