use super::{Zone, alone};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_testkit::oauth_server::{CLIENT_ID, CLIENT_SECRET, CODE, Manner, OauthServer};
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Answer, Client, eventually};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// A zone with a provider at a real authorization server and a resource behind it.
pub(super) struct Consents {
    pub(super) zone: Zone,
    pub(super) server: OauthServer,
    pub(super) provider: String,
    pub(super) resource: String,
    public: Client,
}

impl Consents {
    pub(super) async fn new(stack: &Stack) -> Self {
        let (zone, server) = (Zone::new(stack, "Consents").await, OauthServer::start());
        let base = server.url();
        let provider = json!({"identifier": "calendar", "kind": "oauth2", "config_json": {
            "authorization_url": format!("{base}/authorize?tenant=7"), "token_url": format!("{base}/token"),
            "revocation_endpoint": format!("{base}/revoke"), "client_id": CLIENT_ID, "scopes": ["calendar.read"],
            "authorization_params": {"prompt": "consent"},
        }, "secret_config": {"client_secret": CLIENT_SECRET}});
        let provider = zone.post("providers", &provider).await;
        assert_eq!(
            (provider.status, provider.member("kind")),
            (201, "oauth2"),
            "{}",
            provider.text
        );
        let provider = provider.member("id").to_owned();
        let resource = json!({"identifier": "resource://calendar", "scopes": ["read"], "credential_provider_id": provider});
        let resource = zone.post("resources", &resource).await;
        assert_eq!(resource.member("auth_mode"), "provider_oauth");
        let resource = resource.member("id").to_owned();
        let public = stack.anonymous(Service::Api, 0);
        Self {
            zone,
            server,
            provider,
            resource,
            public,
        }
    }

    pub(super) fn body(&self, user: &str) -> Value {
        json!({"user_id": user, "resource_id": self.resource, "provider_id": self.provider})
    }

    pub(super) async fn begin(&self, user: &str) -> Value {
        self.zone
            .post("provider-connections/authorize", &self.body(user))
            .await
            .expect(200)
    }

    /// The provider sends the user back.
    pub(super) async fn back(&self, query: &str) -> Answer {
        self.public.get(&format!("/v1/oauth/callback?{query}")).await
    }

    pub(super) async fn connect(&self, user: &str) -> Answer {
        let begun = self.begin(user).await;
        self.back(&format!(
            "state={}&code={CODE}",
            begun["state"].as_str().expect("a state")
        ))
        .await
    }
}

fn parameters(url: &Value) -> HashMap<String, String> {
    let url: url::Url = url.as_str().expect("a URL").parse().expect("a URL");
    url.query_pairs().into_owned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_consents_once_and_the_tokens_are_sealed() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let begun = world.begin("user@example.com").await;
    let sent = parameters(&begun["authorization_url"]);
    let callback = format!("{}/v1/oauth/callback", stack.url(Service::Api, 0));
    for (name, value) in [
        ("tenant", "7"),
        ("prompt", "consent"),
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", callback.as_str()),
        ("code_challenge_method", "S256"),
        ("scope", "calendar.read"),
        ("state", begun["state"].as_str().expect("a state")),
    ] {
        assert_eq!(sent.get(name).map(String::as_str), Some(value), "{name}");
    }
    let state = begun["state"].as_str().expect("a state");
    let finished = world
        .back(&format!("state={state}&code={CODE}&session_state=theirs"))
        .await;
    assert_eq!(
        (finished.status, finished.member("status")),
        (200, "active"),
        "{}",
        finished.text
    );
    assert!(!finished.epoch().is_empty(), "gateways hear of it");

    let asked = world.server.asked();
    let form = &asked[0].form;
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(
        (form["code"].as_str(), form["redirect_uri"].as_str()),
        (CODE, callback.as_str())
    );
    let digest = hex::decode(caracal_jose::sha256_hex(form["code_verifier"].as_bytes())).expect("hex");
    assert_eq!(
        sent["code_challenge"],
        URL_SAFE_NO_PAD.encode(digest),
        "PKCE S256"
    );
    assert!(form["code_verifier"].len() >= 43 && asked[0].authorization.is_some());

    let again = world.back(&format!("state={state}&code={CODE}")).await;
    assert_eq!(
        (again.status, again.member("error")),
        (400, "oauth_state_invalid"),
        "single use"
    );
    assert_eq!(world.server.asked().len(), 1);

    let listed = world
        .zone
        .get("provider-connections?user_id=user@example.com")
        .await;
    let listed_text = listed.text.clone();
    let listed = listed.expect(200);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["scopes"], json!(["calendar.read"]));
    assert!(listed[0]["access_expires_at"].is_string());
    assert!(!listed_text.contains("access-1") && !listed_text.contains("refresh-1"));
    for table in [
        "provider_connections WHERE position('access-1'::bytea in tokens_sealed) > 0",
        "event_spool WHERE position('access-1'::bytea in payload) > 0 OR position('refresh-1'::bytea in payload) > 0",
        "oauth_states WHERE consumed_at IS NULL",
    ] {
        assert_eq!(
            stack
                .database()
                .count(&format!("SELECT count(*) FROM {table}"))
                .await,
            0,
            "{table}"
        );
    }
    let recorded = format!(
        "SELECT count(*) FROM event_spool
         WHERE zone_id = '{}' AND position('admin.connection.create'::bytea in payload) > 0",
        world.zone.id
    );
    assert_eq!(stack.database().count(&recorded).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_a_connection_for_each_resource_and_each_provider() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let zone = &world.zone;
    let first = world.connect("ann").await.expect(200)["id"].clone();
    let base = world.server.url();
    let config = json!({"authorization_url": format!("{base}/authorize"), "token_url": format!("{base}/token"),
        "client_id": CLIENT_ID});
    let other = json!({"identifier": "mail", "kind": "oauth2", "config_json": config,
        "secret_config": {"client_secret": CLIENT_SECRET}});
    let other = zone.post("providers", &other).await.member("id").to_owned();
    let second = json!({"identifier": "resource://mail", "scopes": ["read"], "credential_provider_id": world.provider});
    let second = zone.post("resources", &second).await.member("id").to_owned();
    let connect = async |resource: &str, provider: &str| {
        let body = json!({"user_id": "ann", "resource_id": resource, "provider_id": provider});
        let begun = zone.post("provider-connections/authorize", &body).await;
        assert_eq!(begun.status, 200, "{}", begun.text);
        let back = format!("state={}&code={CODE}", begun.member("state"));
        world.back(&back).await.expect(200)["id"].clone()
    };
    let of_second = connect(&second, &world.provider).await;
    let moved = json!({"credential_provider_id": other});
    let path = zone.at(&format!("resources/{second}"));
    assert_eq!(zone.admin.patch(&path, &moved).await.status, 200);
    let of_other = connect(&second, &other).await;
    let active = zone.get("provider-connections?status=active").await.expect(200);
    let ids = |active: &Value| {
        let rows = active.as_array().expect("a list").iter();
        rows.map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&active), [first, of_second, of_other]);
    for (filter, wanted) in [
        (format!("resource_id={second}"), 2),
        (format!("provider_id={other}"), 1),
    ] {
        let found = zone
            .get(&format!("provider-connections?{filter}"))
            .await
            .expect(200);
        assert_eq!(ids(&found).len(), wanted, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_replaces_and_revoking_tells_the_provider() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let first = world.connect("ann").await.expect(200);
    let second = world.connect("ann").await.expect(200);
    assert_eq!(world.connect("bob").await.status, 200);
    let active = world
        .zone
        .get("provider-connections?status=active")
        .await
        .expect(200);
    assert_eq!(active.as_array().map(Vec::len), Some(2));
    let of = |id: &Value| format!("provider-connections/{}", id.as_str().expect("an id"));
    assert_eq!(
        world.zone.get(&of(&first["id"])).await.expect(200)["status"],
        json!("revoked")
    );
    let path = format!("{}/revoke", of(&second["id"]));
    let revoked = world.zone.post(&path, &json!({})).await;
    assert_eq!(
        (revoked.status, revoked.member("status")),
        (200, "revoked"),
        "{}",
        revoked.text
    );
    let told = world.server.asked().pop().expect("a request");
    assert_eq!(
        (told.path.as_str(), told.form["token"].as_str()),
        ("/revoke", "refresh-2")
    );
    assert_eq!(told.form["token_type_hint"], "refresh_token");
    let again = world.zone.post(&path, &json!({})).await;
    assert_eq!(
        (again.status, again.epoch()),
        (200, revoked.epoch()),
        "again changes nothing"
    );
    let left = world
        .zone
        .get("provider-connections?status=active&user_id=ann")
        .await
        .expect(200);
    assert_eq!(left, json!([]));

    // Those that end with their user, too: at once here, and there when the answer is out.
    assert_eq!(world.connect("cyd").await.status, 200);
    let asked = world.server.asked().len();
    let killed = world
        .zone
        .post("subjects/revoke", &json!({"subject_id": "cyd"}))
        .await;
    assert_eq!(killed.expect(200)["revoked_connections"], 1);
    let told = eventually("the provider is told", Duration::from_secs(10), || async {
        world.server.asked().get(asked).cloned()
    })
    .await;
    assert_eq!(
        (told.path.as_str(), told.form["token"].as_str()),
        ("/revoke", "refresh-4")
    );

    // A provider that is gone does not keep a connection alive.
    let bob = world
        .zone
        .get("provider-connections?user_id=bob")
        .await
        .expect(200)[0]["id"]
        .clone();
    drop(world.server);
    let revoked = world.zone.post(&format!("{}/revoke", of(&bob)), &json!({})).await;
    assert_eq!((revoked.status, revoked.member("status")), (200, "revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_are_told_together_and_also_by_a_service_that_stops() {
    let mut stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let (zone, base) = (&world.zone, world.server.url());
    for n in 0..3 {
        let second = json!({"identifier": format!("calendar-{n}"), "kind": "oauth2", "config_json": {
            "authorization_url": format!("{base}/authorize"), "token_url": format!("{base}/token"),
            "revocation_endpoint": format!("{base}/revoke"), "client_id": CLIENT_ID, "scopes": ["a"],
        }, "secret_config": {"client_secret": CLIENT_SECRET}});
        let provider = zone.post("providers", &second).await;
        let resource = json!({"identifier": format!("resource://{n}"), "scopes": ["a"],
            "upstream_url": "https://up.example/", "credential_provider_id": provider.member("id")});
        let resource = zone.post("resources", &resource).await;
        assert_eq!(resource.status, 201, "{}", resource.text);
        let body = json!({"user_id": "ann", "provider_id": provider.member("id"), "resource_id": resource.member("id"),
            "scopes": ["a", "b", "a"]});
        let begun = zone
            .post("provider-connections/authorize", &body)
            .await
            .expect(200);
        assert_eq!(parameters(&begun["authorization_url"])["scope"], "a b");
        let state = begun["state"].as_str().expect("a state");
        assert_eq!(
            world.back(&format!("state={state}&code={CODE}")).await.status,
            200
        );
    }
    world.server.revoke_after(Duration::from_secs(2));
    let kill = json!({"subject_id": "ann"});
    let killed = zone.post("subjects/revoke", &kill).await.expect(200);
    assert_eq!(killed["revoked_connections"], 3);
    // One after the other would take longer than a service that stops has.
    stack.terminate(Service::Api, 0);
    let told = world
        .server
        .asked()
        .into_iter()
        .filter(|asked| asked.path == "/revoke");
    assert_eq!(told.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_wrong_connects_nobody() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let browser = stack
        .anonymous(Service::Api, 0)
        .with("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for query in ["", "state=never-sent&code=x"] {
        let page = browser.get(&format!("/v1/oauth/callback?{query}")).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (400, "text/html; charset=utf-8")
        );
        assert!(
            page.header("content-security-policy")
                .contains("default-src 'none'")
        );
        assert!(page.text.contains("Not connected"), "{}", page.text);
    }
    for query in [
        "",
        "state=x",
        "code=x",
        "state=x&code=y&code=z",
        "state=x&code=y&error=z",
        "state=x&code=%00",
    ] {
        let refused = world.back(query).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_oauth_callback"),
            "{query}"
        );
    }
    let refused = world.back("state=never-sent&code=x").await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "oauth_state_invalid")
    );

    let state = async || {
        world.begin("ann").await["state"]
            .as_str()
            .expect("a state")
            .to_owned()
    };
    let denied = world
        .back(&format!("state={}&error=access_denied", state().await))
        .await;
    assert_eq!(
        (denied.status, denied.member("error")),
        (400, "provider_oauth_denied")
    );
    assert_eq!(denied.body["detail"], json!({"error": "access_denied"}));

    let (ours, theirs) = (world.server.url(), "https://evil.example");
    let mixed = world
        .back(&format!("state={}&code={CODE}&iss={theirs}", state().await))
        .await;
    assert_eq!(
        (mixed.status, mixed.member("error")),
        (400, "invalid_oauth_callback"),
        "RFC 9207"
    );
    assert!(world.server.asked().is_empty(), "the code never left");
    assert_eq!(
        world
            .back(&format!("state={}&code={CODE}&iss={ours}", state().await))
            .await
            .status,
        200
    );

    let wrong = world.back(&format!("state={}&code=wrong", state().await)).await;
    assert_eq!(
        (wrong.status, wrong.member("error")),
        (502, "provider_token_exchange_failed")
    );
    for manner in [
        Manner::Garbage,
        Manner::Huge,
        Manner::Slow,
        Manner::Redirect,
        Manner::Unusable,
        Manner::Broken,
    ] {
        let state = state().await;
        world.server.behave(manner);
        let refused = world.back(&format!("state={state}&code={CODE}")).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (502, "provider_token_exchange_failed"),
            "{manner:?}"
        );
        assert!(refused.took < std::time::Duration::from_secs(8), "{manner:?}");
        world.server.behave(Manner::Good);
        let burnt = world.back(&format!("state={state}&code={CODE}")).await;
        assert_eq!(
            burnt.member("error"),
            "oauth_state_invalid",
            "{manner:?}: a failed state is used up"
        );
    }

    let late = state().await;
    let expire = "UPDATE oauth_states SET expires_at = now() - interval '1 second' WHERE consumed_at IS NULL";
    stack
        .database()
        .connect()
        .await
        .batch_execute(expire)
        .await
        .expect("time passes");
    let refused = world.back(&format!("state={late}&code={CODE}")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "oauth_state_invalid"),
        "ten minutes"
    );

    let moved = state().await;
    let resource = world.zone.at(&format!("resources/{}", world.resource));
    let bind = async |provider: Value| {
        let bound = json!({"credential_provider_id": provider});
        let bound = world.zone.admin.patch(&resource, &bound).await;
        assert_eq!(bound.status, 200, "{}", bound.text);
    };
    bind(Value::Null).await;
    let refused = world.back(&format!("state={moved}&code={CODE}")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "oauth_state_invalid"),
        "the resource is no longer this provider's"
    );
    bind(json!(world.provider)).await;

    let active = world
        .zone
        .get("provider-connections?status=active")
        .await
        .expect(200);
    assert_eq!(active.as_array().map(Vec::len), Some(1));

    let orphan = state().await;
    let path = world.zone.at(&format!("providers/{}", world.provider));
    assert_eq!(world.zone.admin.delete(&path).await.status, 204);
    let refused = world.back(&format!("state={orphan}&code={CODE}")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "oauth_state_invalid"),
        "an archived provider"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_page_and_two_at_once_leave_one_connection() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let begun = world.begin("ann").await;
    let browser = world
        .public
        .clone()
        .with("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let state = begun["state"].as_str().expect("a state");
    let page = browser
        .get(&format!("/v1/oauth/callback?state={state}&code={CODE}"))
        .await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );

    let states = [world.begin("ann").await, world.begin("ann").await]
        .map(|b| b["state"].as_str().expect("a state").to_owned());
    let [one, two] = states.map(|state| format!("state={state}&code={CODE}"));
    let same = world.begin("bob").await["state"]
        .as_str()
        .expect("a state")
        .to_owned();
    let same = format!("state={same}&code={CODE}");
    let (one, two, three, four) = tokio::join!(
        world.back(&one),
        world.back(&two),
        world.back(&same),
        world.back(&same)
    );
    assert_eq!((one.status, two.status), (200, 200));
    let mut statuses = [three.status, four.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400], "one state, one connection");
    let active = world
        .zone
        .get("provider-connections?status=active")
        .await
        .expect(200);
    assert_eq!(active.as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_found_by_discovery_and_an_impostor_is_not() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let oidc = json!({"identifier": "sso", "kind": "oidc", "config_json": {
        "issuer": world.server.url(), "client_id": CLIENT_ID, "client_auth_method": "client_secret_post",
        "allowed_token_hosts": ["127.0.0.1"], "scopes": ["openid"],
    }, "secret_config": {"client_secret": CLIENT_SECRET}});
    let provider = world.zone.post("providers", &oidc).await.member("id").to_owned();
    let body = json!({"user_id": "ann", "resource_id": world.resource, "provider_id": provider, "scopes": ["a:b", "c"]});
    let unbound = world.zone.post("provider-connections/authorize", &body).await;
    assert_eq!(
        (unbound.status, &unbound.body["issues"][0]["path"]),
        (400, &json!(["resource_id"])),
        "{}",
        unbound.text
    );
    let resource = world.zone.at(&format!("resources/{}", world.resource));
    let bind = json!({"credential_provider_id": provider});
    assert_eq!(world.zone.admin.patch(&resource, &bind).await.status, 200);
    let begun = world
        .zone
        .post("provider-connections/authorize", &body)
        .await
        .expect(200);
    assert_eq!(parameters(&begun["authorization_url"])["scope"], "a:b c");
    let state = begun["state"].as_str().expect("a state");
    assert_eq!(
        world
            .back(&format!("state={state}&code={CODE}&iss={}", world.server.url()))
            .await
            .status,
        200
    );
    assert_eq!(world.server.asked()[0].form["client_secret"], CLIENT_SECRET);

    let path = world.zone.at(&format!("providers/{provider}"));
    let mut narrowed = oidc["config_json"].clone();
    narrowed["allowed_token_hosts"] = json!(["tokens.example"]);
    assert_eq!(
        world
            .zone
            .admin
            .patch(&path, &json!({"config_json": narrowed}))
            .await
            .status,
        200
    );
    let begun = world
        .zone
        .post("provider-connections/authorize", &body)
        .await
        .expect(200);
    let state = begun["state"].as_str().expect("a state");
    let refused = world.back(&format!("state={state}&code={CODE}")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (502, "provider_token_exchange_failed"),
        "a host off the list"
    );
    assert_eq!(world.server.asked().len(), 1);

    world.server.pretend("https://other.example");
    let refused = world.zone.post("provider-connections/authorize", &body).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (502, "provider_discovery_failed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_connect_whom() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let other = Zone::new(&stack, "Other").await;
    let path = "provider-connections/authorize";
    let foreign = other.post(path, &world.body("ann")).await;
    assert_eq!(
        (foreign.status, foreign.member("error")),
        (404, "resource_not_found")
    );
    let mut body = world.body("ann");
    body["provider_id"] = json!(world.resource);
    assert_eq!(
        world.zone.post(path, &body).await.member("error"),
        "provider_not_found"
    );
    let key = world
        .zone
        .post("providers", &json!({"identifier": "key", "kind": "api_key"}))
        .await;
    body["provider_id"] = key.body["id"].clone();
    let refused = world.zone.post(path, &body).await;
    assert_eq!(
        (refused.status, &refused.body["issues"][0]["path"]),
        (400, &json!(["provider_id"]))
    );
    for (field, value) in [
        ("user_id", json!("")),
        ("user_id", json!(" ")),
        ("user_id", json!("a\u{7}")),
        ("user_id", json!("x".repeat(600))),
        ("scopes", json!(["a b"])),
        ("scopes", json!([""])),
        ("scopes", json!("a")),
        ("resource_id", json!("x")),
        ("color", json!(1)),
    ] {
        let mut body = world.body("ann");
        body[field] = value.clone();
        let refused = world.zone.post(path, &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{field} {value}"
        );
    }
    let reader = json!({"scope": "zone", "zone_id": world.zone.id, "read_only": true});
    let reader = world.zone.admin.post("/v1/admin-tokens", &reader).await;
    let reader = world.public.clone().bearer(reader.member("token"));
    let refused = reader.post(&world.zone.at(path), &world.body("ann")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_read_only")
    );
    assert_eq!(
        reader.get(&world.zone.at("provider-connections")).await.status,
        200
    );

    let connected = world.connect("ann").await;
    let item = format!("provider-connections/{}", connected.member("id"));
    for path in [item.clone(), "provider-connections/nonsense".to_owned()] {
        let absent = other.get(&path).await;
        assert_eq!(
            (absent.status, absent.member("error")),
            (404, "connection_not_found"),
            "{path}"
        );
        let absent = other.post(&format!("{path}/revoke"), &json!({})).await;
        assert_eq!(
            (absent.status, absent.member("error")),
            (404, "connection_not_found"),
            "{path}"
        );
    }
    assert_eq!(world.zone.get(&item).await.expect(200)["status"], json!("active"));
    for bad in ["status=asleep", "resource_id=x", "color=red"] {
        let refused = world.zone.get(&format!("provider-connections?{bad}")).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_query"),
            "{bad}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_waits_ten_minutes_and_for_what_is_still_there() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let begun = world.begin("ann").await;
    let ends: chrono::DateTime<chrono::Utc> = begun["expires_at"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    let left = (ends - chrono::Utc::now()).num_seconds();
    assert!((570..=600).contains(&left), "{left}");
    let state = |begun: &Value| begun["state"].as_str().expect("a state").to_owned();
    let resource = world.zone.at(&format!("resources/{}", world.resource));
    assert_eq!(world.zone.admin.delete(&resource).await.status, 204);
    let refused = world.back(&format!("state={}&code={CODE}", state(&begun))).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "oauth_state_invalid"),
        "an archived resource"
    );
    let other = Consents::new(&stack).await;
    let begun = other.begin("ann").await;
    let zone = format!("/v1/zones/{}", other.zone.id);
    assert_eq!(other.zone.admin.delete(&zone).await.status, 204);
    let refused = other.back(&format!("state={}&code={CODE}", state(&begun))).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "oauth_state_invalid"),
        "an archived zone"
    );
    assert!(world.server.asked().is_empty() && other.server.asked().is_empty());
}
