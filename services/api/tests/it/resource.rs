use super::{Zone, alone};
use caracal_testkit::stack::Service;
use serde_json::{Value, json};

fn resource(extra: &Value) -> Value {
    let mut body = json!({"identifier": "resource://orders", "scopes": ["orders:read", "orders:write"]});
    for (name, value) in extra.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_made_changed_and_archived() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Resources").await;
    let body = resource(&json!({
        "name": "Orders", "prefix": true, "upstream_url": "https://orders.example/base",
        "operations": [{"method": "GET", "path": "/orders/{id}/**", "scope": "orders:read"}],
        "forward_headers": ["X-Tenant"],
    }));
    let made = zone.post("resources", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    for field in [
        "name",
        "prefix",
        "upstream_url",
        "operations",
        "forward_headers",
        "scopes",
        "identifier",
    ] {
        assert_eq!(made.body[field], body[field], "{field}");
    }
    assert_eq!(made.member("auth_mode"), "caracal_jwt", "without a provider");
    let path = zone.at(&format!("resources/{}", made.member("id")));
    let again = zone.post("resources", &body).await;
    assert_eq!(
        (again.status, again.member("error")),
        (409, "resource_already_exists")
    );

    let patch = json!({
        "prefix": false, "upstream_url": null, "auth_mode": "none",
        "operations": [{"method": "POST", "path": "/orders", "scope": "orders:write"}],
        "forward_headers": ["X-Team", "X-Other"],
    });
    let changed = zone.admin.patch(&path, &patch).await;
    assert_eq!(
        (changed.status, changed.header("etag")),
        (200, "\"2\""),
        "{}",
        changed.text
    );
    for (field, value) in patch.as_object().expect("an object") {
        assert_eq!(&changed.body[field], value, "{field}");
    }
    assert_eq!(zone.admin.get(&path).await.expect(200), changed.body);
    let stale = zone.admin.clone().with("If-Match", "\"1\"");
    assert_eq!(
        stale.patch(&path, &json!({"prefix": true})).await.member("error"),
        "version_conflict"
    );
    assert_eq!(stale.delete(&path).await.status, 412);
    assert_eq!(
        zone.admin.patch(&path, &json!({})).await.member("error"),
        "no_fields"
    );
    assert_eq!(zone.admin.delete(&path).await.status, 204);
    assert_eq!(zone.admin.get(&path).await.member("error"), "resource_not_found");
    assert_eq!(
        zone.post("resources", &body).await.status,
        201,
        "an archived one does not keep its identifier"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_follows_the_provider() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Modes").await, Zone::new(&stack, "Other").await);
    let provider = async |zone: &Zone, name: &str, kind: &str| {
        zone.post("providers", &json!({"identifier": name, "kind": kind}))
            .await
            .member("id")
            .to_owned()
    };
    let (key, oauth) = (
        provider(&zone, "key", "bearer_token").await,
        provider(&zone, "oauth", "oauth2").await,
    );
    let made = zone
        .post("resources", &resource(&json!({"credential_provider_id": key})))
        .await;
    assert_eq!(made.member("auth_mode"), "provider_apikey");
    let path = zone.at(&format!("resources/{}", made.member("id")));
    let moved = zone
        .admin
        .patch(&path, &json!({"credential_provider_id": oauth}))
        .await
        .expect(200);
    assert_eq!(moved["auth_mode"], json!("provider_oauth"));
    let refused = zone
        .admin
        .patch(&path, &json!({"auth_mode": "provider_apikey"}))
        .await;
    assert_eq!(
        (refused.status, &refused.body["issues"][0]["path"]),
        (400, &json!(["auth_mode"]))
    );
    let none = zone
        .admin
        .patch(&path, &json!({"auth_mode": "none"}))
        .await
        .expect(200);
    assert_eq!(none["auth_mode"], json!("none"));
    let kept = zone
        .admin
        .patch(&path, &json!({"name": "Renamed"}))
        .await
        .expect(200);
    assert_eq!(kept["auth_mode"], json!("none"), "what was chosen stays");
    let same = json!({"credential_provider_id": kept["credential_provider_id"]});
    let same = zone.admin.patch(&path, &same).await.expect(200);
    assert_eq!(
        same["auth_mode"],
        json!("none"),
        "also where its provider is named again"
    );
    let freed = zone
        .admin
        .patch(&path, &json!({"credential_provider_id": null}))
        .await
        .expect(200);
    assert_eq!(freed["auth_mode"], json!("caracal_jwt"));
    let foreign = provider(&other, "theirs", "apikey").await;
    let absent = zone
        .admin
        .patch(&path, &json!({"credential_provider_id": foreign}))
        .await;
    assert_eq!(
        (absent.status, absent.member("error")),
        (404, "provider_not_found")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_resource_may_not_be() {
    let stack = alone()
        .env(Service::Api, "ALLOW_PRIVATE_UPSTREAMS", "false")
        .start()
        .await;
    let zone = Zone::new(&stack, "Refused").await;
    let operation =
        |method: &str, path: &str, scope: &str| json!([{"method": method, "path": path, "scope": scope}]);
    let mut wrong = vec![
        ("scopes", json!([])),
        ("scopes", json!(["agent:lifecycle"])),
        ("scopes", json!(["A B"])),
        ("identifier", json!("")),
        ("identifier", json!("resource://a b")),
        ("identifier", json!("resource://\u{e9}")),
        ("name", json!(" ")),
        ("prefix", json!("yes")),
        ("auth_mode", json!("provider_apikey")),
        ("auth_mode", json!("magic")),
        ("operations", operation("get", "/a", "orders:read")),
        ("operations", operation("CONNECT", "/a", "orders:read")),
        ("operations", operation("GET", "a", "orders:read")),
        ("operations", operation("GET", "/a/../b", "orders:read")),
        ("operations", operation("GET", "/**/b", "orders:read")),
        ("operations", operation("GET", "/a?b=c", "orders:read")),
        ("operations", operation("GET", "/a", "orders:delete")),
        ("operations", json!([{"method": "GET", "path": "/a"}])),
        ("credential_provider_id", json!("x")),
        ("color", json!("red")),
    ];
    for url in [
        "ftp://a.example/",
        "http://user@a.example/",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://2130706433/",
        "https://a.example/?q=1",
        "https://a.example/#f",
        "x",
    ] {
        wrong.push(("upstream_url", json!(url)));
    }
    for header in [
        "Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Forwarded",
        "X-Forwarded-For",
        "X-Caracal-Scope",
        "Connection",
        "Transfer-Encoding",
        "TE",
        "Upgrade",
        "Keep-Alive",
        "a b",
        "",
    ] {
        wrong.push(("forward_headers", json!([header])));
    }
    for (field, value) in wrong {
        let refused = zone.post("resources", &resource(&json!({field: value}))).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{field} {value}"
        );
    }
    assert_eq!(zone.get("resources").await.expect(200), json!([]));
    assert_eq!(stack.database().count("SELECT count(*) FROM resources").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_own_header_is_not_forwarded() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Headers").await;
    let config = json!({"identifier": "key", "kind": "apikey", "config_json": {"name": "X-Upstream-Key"}});
    let key = zone.post("providers", &config).await.member("id").to_owned();
    let plain = zone
        .post("providers", &json!({"identifier": "plain", "kind": "apikey"}))
        .await
        .member("id")
        .to_owned();
    for (provider, header) in [(&key, "x-upstream-KEY"), (&plain, "X-Api-Key")] {
        let body =
            resource(&json!({"credential_provider_id": provider, "forward_headers": ["X-Tenant", header]}));
        let refused = zone.post("resources", &body).await;
        assert_eq!(
            (refused.status, &refused.body["issues"][0]["path"]),
            (400, &json!(["forward_headers", 1])),
            "{header}: {}",
            refused.text
        );
    }
    let body = resource(&json!({"credential_provider_id": plain, "forward_headers": ["X-Upstream-Key"]}));
    let made = zone.post("resources", &body).await;
    assert_eq!(
        made.status, 201,
        "another provider's header is any other: {}",
        made.text
    );
    let path = zone.at(&format!("resources/{}", made.member("id")));
    let refused = zone
        .admin
        .patch(&path, &json!({"credential_provider_id": key}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "invalid_body"),
        "also when the provider changes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_stay_within_the_scopes() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Operations").await;
    let operations = json!([{"method": "GET", "path": "/", "scope": "orders:write"}]);
    let made = zone
        .post("resources", &resource(&json!({"operations": operations})))
        .await;
    let path = zone.at(&format!("resources/{}", made.member("id")));
    let refused = zone.admin.patch(&path, &json!({"scopes": ["orders:read"]})).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "invalid_body"),
        "{}",
        refused.text
    );
    let both = json!({"scopes": ["orders:read"], "operations": [{"method": "GET", "path": "/", "scope": "orders:read"}]});
    assert_eq!(zone.admin.patch(&path, &both).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_is_held_to_the_rules_of_a_new_resource() {
    let stack = alone()
        .env(Service::Api, "ALLOW_PRIVATE_UPSTREAMS", "false")
        .start()
        .await;
    let zone = Zone::new(&stack, "Patched").await;
    let made = zone.post("resources", &resource(&json!({}))).await;
    let path = zone.at(&format!("resources/{}", made.member("id")));
    for patch in [
        json!({"upstream_url": "http://127.0.0.1/"}),
        json!({"upstream_url": "http://169.254.169.254/"}),
        json!({"upstream_url": "https://user@a.example/"}),
        json!({"upstream_url": "ftp://a.example/"}),
        json!({"forward_headers": ["Authorization"]}),
        json!({"forward_headers": ["X-Tenant", "X-Forwarded-For"]}),
        json!({"forward_headers": ["x-caracal-scope"]}),
        json!({"forward_headers": ["a b"]}),
        json!({"scopes": []}),
        json!({"scopes": null}),
        json!({"auth_mode": "provider_oauth"}),
    ] {
        let refused = zone.admin.patch(&path, &patch).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{patch}: {}",
            refused.text
        );
    }
    assert_eq!(zone.admin.get(&path).await.header("etag"), "\"1\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_addresses_come_back_as_they_were_given() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Given").await;
    let body = json!({"identifier": "resource://given", "scopes": ["write", "read", "write"],
        "upstream_url": "https://orders.example"});
    let made = zone.post("resources", &body).await.expect(201);
    assert_eq!(
        (&made["scopes"], &made["upstream_url"]),
        (&json!(["write", "read"]), &body["upstream_url"]),
        "in their order, each once"
    );
    let path = zone.at(&format!("resources/{}", made["id"].as_str().expect("an id")));
    let patch = json!({"scopes": ["z", "a"], "upstream_url": "http://orders.example:80/base"});
    let changed = zone.admin.patch(&path, &patch).await.expect(200);
    assert_eq!(
        (&changed["scopes"], &changed["upstream_url"]),
        (&patch["scopes"], &patch["upstream_url"])
    );
    let odd = json!({"upstream_url": "HTTPS://Orders.Example/x"});
    let changed = zone.admin.patch(&path, &odd).await.expect(200);
    assert_eq!(changed["upstream_url"], "https://orders.example/x");
    let plain = json!({"identifier": "resource://plain", "scopes": ["read"]});
    let plain = zone.post("resources", &plain).await.expect(201);
    for (field, value) in [
        ("prefix", json!(false)),
        ("upstream_url", Value::Null),
        ("credential_provider_id", Value::Null),
    ] {
        assert_eq!(plain.get(field), Some(&value), "{field} was not given");
    }
}
