use super::connection::Consents;
use super::given::{application, private_key, sql};
use super::{ALLOW, Zone, alone};
use caracal_testkit::oauth_server::{CLIENT_ID, CLIENT_SECRET, Manner, OauthServer};
use caracal_testkit::stack::{Service, Stack};
use serde_json::{Value, json};

pub(super) async fn made(zone: &Zone, identifier: &str, kind: &str, config: Value, secrets: Value) -> String {
    let body =
        json!({"identifier": identifier, "kind": kind, "config_json": config, "secret_config": secrets});
    let made = zone.post("providers", &body).await;
    assert_eq!(
        (made.status, made.member("kind")),
        (201, kind),
        "the kind comes back as given: {}",
        made.text
    );
    made.member("id").to_owned()
}

pub(super) async fn checked(zone: &Zone, id: &str, body: &Value) -> Value {
    zone.post(&format!("providers/{id}/check"), body)
        .await
        .expect(200)
}

/// The status of each check by name and target.
fn found(report: &Value) -> Vec<(String, String)> {
    let checks = report["checks"].as_array().expect("checks");
    let text = |check: &Value, name: &str| check[name].as_str().expect("a text").to_owned();
    checks
        .iter()
        .map(|check| {
            (
                format!("{} {}", text(check, "name"), text(check, "target"))
                    .trim()
                    .to_owned(),
                text(check, "status"),
            )
        })
        .collect()
}

pub(super) fn status_of(report: &Value, what: &str) -> String {
    let all = found(report);
    all.iter()
        .find(|(name, _)| name == what)
        .map_or_else(|| format!("no {what} in {all:?}"), |(_, status)| status.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_taken_and_only_its_own_settings() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Kinds").await;
    let token = "https://as.example/token";
    for (kind, config, secrets) in [
        (
            "oauth2",
            json!({"token_url": token, "client_id": "c", "audience": "a", "resource": "r"}),
            json!({"client_secret": "s"}),
        ),
        (
            "oauth2",
            json!({"authorization_url": "https://as.example/a", "token_url": token, "authorization_params": {"prompt": "x"}}),
            json!({}),
        ),
        (
            "oidc",
            json!({"issuer": "https://as.example", "client_id": "c", "scopes": ["openid"]}),
            json!({"private_key": private_key("k")}),
        ),
        (
            "apikey",
            json!({"location": "query", "name": "key"}),
            json!({"api_key": "s"}),
        ),
        (
            "api_key",
            json!({"name": "X-Key", "scheme": "Key"}),
            json!({"api_key": "s"}),
        ),
        ("bearer_token", json!({}), json!({"bearer_token": "s"})),
        (
            "workload",
            json!({"audience": "a", "subject": "s", "ttl_seconds": 60}),
            json!({}),
        ),
        (
            "oauth2_authorization_code",
            json!({"authorization_endpoint": "https://as.example/a", "token_endpoint": token, "client_auth_method": "none"}),
            json!({}),
        ),
        (
            "oauth2_client_credentials",
            json!({"token_endpoint": token, "allowed_token_hosts": ["as.example"], "token_params": {"tenant": "7"}}),
            json!({}),
        ),
    ] {
        let name = format!("{kind}-{}", config.to_string().len());
        made(&zone, &name, kind, config, secrets).await;
    }
    let bare = json!({"token_url": token, "client_id": null, "audience": null, "client_secret": null});
    let bare = made(&zone, "bare", "oauth2", bare, json!({"private_key": null})).await;
    let bare = zone.get(&format!("providers/{bare}")).await.expect(200);
    assert_eq!(
        (&bare["config_json"], &bare["secret_config_keys"]),
        (&json!({"token_url": token}), &json!([])),
        "null is as good as absent"
    );
    for (kind, config, secrets, place) in [
        ("oauth2", json!({"color": null}), json!({}), "config_json"),
        (
            "oauth2_authorization_code",
            json!({"token_endpoint": token, "audience": "a"}),
            json!({}),
            "config_json",
        ),
        (
            "oauth2_authorization_code",
            json!({"token_endpoint": token, "resource": "r"}),
            json!({}),
            "config_json",
        ),
        (
            "oidc",
            json!({"issuer": "https://as.example", "token_endpoint": token}),
            json!({}),
            "config_json",
        ),
        (
            "oidc",
            json!({"issuer": "https://as.example", "authorization_endpoint": "https://as.example/a"}),
            json!({}),
            "config_json",
        ),
        (
            "workload",
            json!({"audience": "a", "issuer": "https://as.example"}),
            json!({}),
            "config_json",
        ),
        (
            "oauth2",
            json!({"token_url": token, "authorization_url": "https://as.example/a",
                "authorization_endpoint": "https://as.example/a"}),
            json!({}),
            "config_json",
        ),
        (
            "oauth2",
            json!({"token_url": token}),
            json!({"private_key": "junk"}),
            "secret_config",
        ),
        (
            "oauth2",
            json!({"token_url": token, "token_endpoint": token}),
            json!({}),
            "config_json",
        ),
        (
            "oauth2",
            json!({"token_url": token, "location": "header"}),
            json!({}),
            "config_json",
        ),
        (
            "oauth2",
            json!({"token_url": "http://169.254.169.254/"}),
            json!({}),
            "config_json",
        ),
        (
            "oauth2",
            json!({"token_url": "ftp://as.example/"}),
            json!({}),
            "config_json",
        ),
        (
            "oauth2",
            json!({"token_params": {"grant_type": "password"}}),
            json!({}),
            "config_json",
        ),
        (
            "oauth2_client_credentials",
            json!({"authorization_endpoint": "https://as.example/a"}),
            json!({}),
            "config_json",
        ),
        (
            "oidc",
            json!({"issuer": "https://as.example", "authorization_params": {"state": "mine"}}),
            json!({}),
            "config_json",
        ),
        (
            "oidc",
            json!({"issuer": "https://as.example", "client_auth_method": "tls"}),
            json!({}),
            "config_json",
        ),
        (
            "workload",
            json!({"audience": "a"}),
            json!({"client_secret": "s"}),
            "secret_config",
        ),
        (
            "bearer_token",
            json!({}),
            json!({"api_key": "s"}),
            "secret_config",
        ),
        ("apikey", json!({"db_password": "s"}), json!({}), "secret_config"),
        ("ldap", json!({}), json!({}), "kind"),
    ] {
        let body =
            json!({"identifier": "bad", "kind": kind, "config_json": config, "secret_config": secrets});
        let refused = zone.post("providers", &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{body}"
        );
        assert_eq!(
            refused.body["issues"][0]["path"][0],
            json!(place),
            "{}",
            refused.text
        );
        assert!(!refused.text.contains("\"s\""), "no secret comes back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_merge_and_null_takes_one_away() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Merge").await;
    let config = json!({"token_url": "https://as.example/token", "client_secret": "in-config"});
    let id = made(
        &zone,
        "p",
        "oauth2",
        config,
        json!({"private_key": private_key("k")}),
    )
    .await;
    let path = zone.at(&format!("providers/{id}"));
    let shown = zone.admin.get(&path).await.expect(200);
    assert_eq!(
        shown["config_json"],
        json!({"token_url": "https://as.example/token"})
    );
    assert_eq!(
        shown["secret_config_keys"],
        json!(["client_secret", "private_key"])
    );
    let kept = zone
        .admin
        .patch(&path, &json!({"secret_config": {"client_secret": "new"}}))
        .await
        .expect(200);
    assert_eq!(
        kept["secret_config_keys"],
        json!(["client_secret", "private_key"]),
        "others stay"
    );
    let gone = zone
        .admin
        .patch(&path, &json!({"secret_config": {"private_key": null}}))
        .await
        .expect(200);
    assert_eq!(gone["secret_config_keys"], json!(["client_secret"]));
    let rotated = zone
        .admin
        .patch(&path, &json!({"config_json": {"client_secret": "newer"}}))
        .await
        .expect(200);
    assert_eq!(
        rotated["config_json"],
        json!({"token_url": "https://as.example/token"}),
        "what names a secret alone changes nothing else"
    );
    for (config, secrets) in [
        (json!({"client_secret": "a"}), json!({"client_secret": null})),
        (json!({"client_secret": "a"}), json!({"client_secret": "b"})),
    ] {
        let torn = json!({"config_json": config, "secret_config": secrets});
        let torn = zone.admin.patch(&path, &torn).await;
        assert_eq!(
            (torn.status, torn.member("error")),
            (400, "invalid_body"),
            "{}",
            torn.text
        );
    }
    let fragment = json!({"config_json": {"token_url": "https://as.example/token#x"}});
    let fragment = zone.admin.patch(&path, &fragment).await;
    assert_eq!(
        (fragment.status, fragment.member("error")),
        (400, "invalid_body"),
        "RFC 6749 \u{a7}3.2"
    );
    let other = zone
        .admin
        .patch(&path, &json!({"kind": "apikey", "config_json": {}}))
        .await;
    assert_eq!(
        (other.status, other.member("error")),
        (400, "invalid_body"),
        "a kind with no use for the secret"
    );
    let both = json!({"kind": "apikey", "config_json": {}, "secret_config": {"client_secret": null, "api_key": "k"}});
    let both = zone.admin.patch(&path, &both).await.expect(200);
    assert_eq!(
        (&both["kind"], &both["secret_config_keys"]),
        (&json!("apikey"), &json!(["api_key"])),
        "unless it is taken away in the same step"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_asks_for_a_token_in_earnest() {
    let stack = alone().start().await;
    let (zone, server) = (Zone::new(&stack, "Ready").await, OauthServer::start());
    let token = format!("{}/token", server.url());
    let config =
        json!({"token_url": token, "client_id": CLIENT_ID, "scopes": ["a", "b"], "audience": "them"});
    let id = made(
        &zone,
        "cc",
        "oauth2",
        config.clone(),
        json!({"client_secret": CLIENT_SECRET}),
    )
    .await;
    let good = checked(&zone, &id, &json!({})).await;
    assert_eq!(good["status"], json!("ready"), "{good}");
    assert_eq!(status_of(&good, "credential client"), "passed");
    assert_eq!(status_of(&good, "endpoint token_endpoint"), "passed");
    assert_eq!(status_of(&good, "policy"), "skipped");
    let asked = server.asked().pop().expect("a token request");
    assert_eq!(
        (asked.form["grant_type"].as_str(), asked.form["scope"].as_str()),
        ("client_credentials", "a b")
    );
    assert_eq!(asked.form["audience"], "them");
    assert!(!good.to_string().contains("access-") && !good.to_string().contains(CLIENT_SECRET));

    for manner in [
        Manner::Garbage,
        Manner::Huge,
        Manner::Redirect,
        Manner::Broken,
        Manner::Unusable,
    ] {
        server.behave(manner);
        let bad = checked(&zone, &id, &json!({})).await;
        assert_eq!(
            (
                bad["status"].as_str(),
                status_of(&bad, "credential client").as_str()
            ),
            (Some("not_ready"), "failed"),
            "{manner:?}"
        );
    }
    server.behave(Manner::Good);
    let path = zone.at(&format!("providers/{id}"));
    assert_eq!(
        zone.admin
            .patch(&path, &json!({"secret_config": {"client_secret": "wrong"}}))
            .await
            .status,
        200
    );
    assert_eq!(
        status_of(&checked(&zone, &id, &json!({})).await, "credential client"),
        "failed"
    );
    assert_eq!(
        zone.admin
            .patch(&path, &json!({"secret_config": {"client_secret": null}}))
            .await
            .status,
        200
    );
    let bare = checked(&zone, &id, &json!({})).await;
    assert_eq!(
        (
            status_of(&bare, "configuration oauth").as_str(),
            status_of(&bare, "credential client").as_str()
        ),
        ("failed", "skipped")
    );

    // Authorization code: an unknown code tells whether the client is accepted.
    let mut code = config.clone();
    code["authorization_url"] = json!(format!("{}/authorize", server.url()));
    code.as_object_mut().expect("an object").remove("audience");
    let id = made(
        &zone,
        "code",
        "oauth2",
        code.clone(),
        json!({"client_secret": CLIENT_SECRET}),
    )
    .await;
    assert_eq!(
        status_of(&checked(&zone, &id, &json!({})).await, "credential client"),
        "passed"
    );
    let id = made(&zone, "wrong", "oauth2", code, json!({"client_secret": "wrong"})).await;
    assert_eq!(
        status_of(&checked(&zone, &id, &json!({})).await, "credential client"),
        "failed"
    );

    let nowhere = json!({"token_url": "http://127.0.0.1:1/token", "client_id": "c"});
    let id = made(&zone, "nowhere", "oauth2", nowhere, json!({"client_secret": "s"})).await;
    assert_eq!(
        status_of(&checked(&zone, &id, &json!({})).await, "endpoint token_endpoint"),
        "failed"
    );
    let own = json!({"token_url": format!("{}/v1/zones", stack.url(Service::Api, 0)), "client_id": "c"});
    let id = made(&zone, "own", "oauth2", own, json!({"client_secret": "s"})).await;
    let own = checked(&zone, &id, &json!({})).await;
    assert!(
        own.to_string().contains("one of Caracal's own addresses"),
        "{own}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_what_each_kind_lacks() {
    let stack = alone().start().await;
    let (zone, server) = (Zone::new(&stack, "Lacks").await, OauthServer::start());
    let nowhere = "http://127.0.0.1:1/";
    for (kind, config, secrets, what, status) in [
        (
            "bearer_token",
            json!({}),
            json!({"bearer_token": "s"}),
            "credential bearer_token",
            "passed",
        ),
        (
            "bearer_token",
            json!({}),
            json!({}),
            "credential bearer_token",
            "failed",
        ),
        ("api_key", json!({}), json!({}), "credential api_key", "failed"),
        (
            "workload",
            json!({"audience": "a"}),
            json!({}),
            "configuration audience",
            "passed",
        ),
        (
            "workload",
            json!({"subject": "s"}),
            json!({}),
            "configuration audience",
            "failed",
        ),
        (
            "oidc",
            json!({"issuer": nowhere}),
            json!({}),
            "endpoint issuer",
            "failed",
        ),
        (
            "oidc",
            json!({"issuer": server.url()}),
            json!({}),
            "endpoint token_endpoint",
            "passed",
        ),
    ] {
        let id = made(
            &zone,
            &format!("{kind} {config} {secrets}"),
            kind,
            config,
            secrets,
        )
        .await;
        let report = checked(&zone, &id, &json!({})).await;
        assert_eq!(status_of(&report, what), status, "{kind}: {report}");
    }
    for endpoint in ["authorization_endpoint", "token_endpoint", "revocation_endpoint"] {
        let mut config = json!({"client_id": CLIENT_ID});
        for name in ["authorization_endpoint", "token_endpoint", "revocation_endpoint"] {
            let there = if name == endpoint {
                nowhere.to_owned()
            } else {
                server.url()
            };
            config[name] = json!(there);
        }
        let secrets = json!({"client_secret": CLIENT_SECRET});
        let id = made(&zone, endpoint, "oauth2", config, secrets).await;
        let report = checked(&zone, &id, &json!({})).await;
        for name in ["authorization_endpoint", "token_endpoint", "revocation_endpoint"] {
            let due = if name == endpoint { "failed" } else { "passed" };
            assert_eq!(status_of(&report, &format!("endpoint {name}")), due, "{report}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_looks_for_the_users_connection_and_asks_policy_what_is_asked() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let zone = &world.zone;
    let asked = json!({"user_id": "ann", "resource_id": world.resource});
    let what = "connection ann";
    let none = checked(zone, &world.provider, &asked).await;
    assert_eq!(status_of(&none, what), "failed", "{none}");
    assert!(none.to_string().contains("connection_required"), "{none}");
    assert_eq!(world.connect("ann").await.status, 200);
    let there = checked(zone, &world.provider, &asked).await;
    assert_eq!(status_of(&there, what), "passed", "{there}");
    sql(&stack, "UPDATE provider_connections SET lapsed_at = now()").await;
    let lapsed = checked(zone, &world.provider, &asked).await;
    assert_eq!(status_of(&lapsed, what), "failed", "{lapsed}");

    let agent = application(zone, "agent").await;
    let path = zone.at(&format!("resources/{}", world.resource));
    let scopes = json!({"scopes": ["read", "write"]});
    assert_eq!(zone.admin.patch(&path, &scopes).await.status, 200);
    let content = "package caracal.authz\n\nresult := {\"decision\": \"allow\", \"determining_policies\": [\"r\"]} if \
        input.context.requested_scopes == [\"read\"]\n";
    let policy = zone
        .post("policies", &json!({"name": "reads", "content": content}))
        .await;
    let [set, version] = zone.set_of("main", policy.member("version_id")).await;
    assert_eq!(zone.activate(&set, &version).await.status, 202);
    for (scopes, status) in [
        (json!(["read"]), "passed"),
        (json!(["write"]), "failed"),
        (Value::Null, "failed"),
    ] {
        let asked = json!({"application_id": agent, "resource_id": world.resource, "scopes": scopes});
        let report = checked(zone, &world.provider, &asked).await;
        assert_eq!(
            status_of(&report, "policy resource://calendar"),
            status,
            "{report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_does_not_go_where_egress_may_not() {
    let stack = alone()
        .env(Service::Api, "ALLOW_PRIVATE_UPSTREAMS", "false")
        .start()
        .await;
    let (zone, server) = (Zone::new(&stack, "Inside").await, OauthServer::start());
    let config = json!({"token_url": "https://as.example/token", "client_id": CLIENT_ID});
    let id = made(
        &zone,
        "p",
        "oauth2",
        config,
        json!({"client_secret": CLIENT_SECRET}),
    )
    .await;
    // As if it had been allowed when it was saved.
    let inside = format!(
        "UPDATE providers SET config_json = jsonb_set(config_json, '{{token_url}}', '\"{}/token\"')",
        server.url()
    );
    sql(&stack, &inside).await;
    let report = checked(&zone, &id, &json!({})).await;
    assert_eq!(
        status_of(&report, "endpoint token_endpoint"),
        "failed",
        "{report}"
    );
    assert_eq!(status_of(&report, "credential client"), "skipped", "{report}");
    assert!(server.asked().is_empty(), "nothing was sent there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_names_are_kept_and_changed() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Names").await;
    let new = json!({"identifier": "p", "kind": "apikey", "name": "The key", "owner_type": "platform"});
    let made = zone.post("providers", &new).await;
    assert_eq!(
        (made.member("name"), made.member("owner_type")),
        ("The key", "platform"),
        "{}",
        made.text
    );
    let path = zone.at(&format!("providers/{}", made.member("id")));
    let changed = json!({"identifier": "q", "name": "Another", "owner_type": "customer"});
    let changed = zone.admin.patch(&path, &changed).await.expect(200);
    assert_eq!(
        (&changed["identifier"], &changed["name"], &changed["owner_type"]),
        (&json!("q"), &json!("Another"), &json!("customer"))
    );
    assert_eq!(zone.admin.get(&path).await.expect(200), changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_looks_at_the_resources_and_asks_policy() {
    let stack = alone().start().await;
    let (zone, server) = (Zone::new(&stack, "Policy").await, OauthServer::start());
    let id = made(&zone, "key", "apikey", json!({}), json!({"api_key": "k"})).await;
    let resource = async |name: &str, upstream: Option<String>, bound: bool| {
        let body = json!({"identifier": name, "scopes": ["read", "write"], "upstream_url": upstream,
            "credential_provider_id": bound.then_some(&id)});
        zone.post("resources", &body).await.member("id").to_owned()
    };
    let up = resource("resource://up", Some(server.url()), true).await;
    resource("resource://down", Some("http://127.0.0.1:1/".to_owned()), true).await;
    let loose = resource("resource://loose", Some(server.url()), false).await;
    let all = checked(&zone, &id, &json!({})).await;
    assert_eq!(status_of(&all, "credential api_key"), "passed");
    assert_eq!(status_of(&all, "resource resource://up"), "passed");
    assert_eq!(status_of(&all, "resource resource://down"), "failed");
    assert_eq!(
        (found(&all).len(), all["status"].as_str()),
        (4, Some("not_ready")),
        "{all}"
    );
    let unbound = checked(&zone, &id, &json!({"resource_id": loose})).await;
    assert_eq!(status_of(&unbound, "resource resource://loose"), "failed");

    let application = json!({"name": "agent", "registration_method": "managed", "credential_type": "token"});
    let application = zone
        .post("applications", &application)
        .await
        .member("id")
        .to_owned();
    let asked = json!({"application_id": application, "resource_id": up});
    let none = checked(&zone, &id, &asked).await;
    assert_eq!(status_of(&none, "policy resource://up"), "failed");
    assert!(none.to_string().contains("no_active_policy_set"));
    let [_, _, set, version] = zone.drafted().await;
    assert_eq!(zone.activate(&set, &version).await.status, 202);
    let allowed = checked(&zone, &id, &asked).await;
    assert_eq!(
        (
            status_of(&allowed, "policy resource://up").as_str(),
            allowed["status"].as_str()
        ),
        ("passed", Some("ready")),
        "{allowed}"
    );
    let beyond = json!({"application_id": application, "resource_id": up, "scopes": ["delete"]});
    let beyond = checked(&zone, &id, &beyond).await;
    assert!(beyond.to_string().contains("scope_exceeds_resource"), "{beyond}");
    denied_by_policy(&zone, &id, &asked, &set).await;
    foreign_ids_are_absent(&stack, &zone, &id, &asked).await;
}

async fn denied_by_policy(zone: &Zone, id: &str, asked: &Value, set: &str) {
    let deny = format!(
        "{}\n",
        ALLOW
            .replace("\"allow\"", "\"deny\"")
            .replace("\"all\"", "\"nobody\"")
    );
    let policy = zone
        .post("policies", &json!({"name": "deny", "content": deny}))
        .await;
    let manifest = json!({"manifest": [{"policy_version_id": policy.member("version_id")}]});
    let version = zone
        .post(&format!("policy-sets/{set}/versions"), &manifest)
        .await
        .member("id")
        .to_owned();
    assert_eq!(zone.activate(set, &version).await.status, 202);
    let denied = checked(zone, id, asked).await;
    assert_eq!(status_of(&denied, "policy resource://up"), "failed");
    assert!(denied.to_string().contains("policy_deny"), "{denied}");
}

async fn foreign_ids_are_absent(stack: &Stack, zone: &Zone, id: &str, asked: &Value) {
    let other = Zone::new(stack, "Other").await;
    let path = format!("providers/{id}/check");
    assert_eq!(
        other.post(&path, &json!({})).await.member("error"),
        "provider_not_found"
    );
    let mine = made(&other, "key", "apikey", json!({}), json!({"api_key": "k"})).await;
    let foreign = other.post(&format!("providers/{mine}/check"), asked).await;
    assert_eq!(
        (foreign.status, foreign.member("error")),
        (404, "resource_not_found")
    );
    let only = json!({"application_id": asked["application_id"]});
    assert_eq!(
        other
            .post(&format!("providers/{mine}/check"), &only)
            .await
            .member("error"),
        "application_not_found"
    );
    let reader = json!({"scope": "zone", "zone_id": zone.id, "read_only": true});
    let reader = zone.admin.post("/v1/admin-tokens", &reader).await;
    let reader = stack.anonymous(Service::Api, 0).bearer(reader.member("token"));
    assert_eq!(
        reader.post(&zone.at(&path), &json!({})).await.status,
        200,
        "read-only tokens may check"
    );
    for bad in [
        json!({"scopes": "read"}),
        json!({"resource_id": 7}),
        json!({"color": 1}),
        json!({"user_id": ""}),
    ] {
        let refused = zone.post(&path, &bad).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{bad}"
        );
    }
}
