//! What is refused when it is saved, and said plainly; what is as good as absent.

use super::given::{all_invalid, application, tally};
use super::{Zone, alone};
use caracal_testkit::stack::{Service, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_public_route_takes_no_parameters_it_does_not_know() {
    let stack = alone().start().await;
    let anybody = stack.anonymous(Service::Api, 0);
    for path in [
        "/v1/policy-templates?limit=1",
        "/openapi.json?x=1",
        "/docs?x=1",
        "/docs/page.js?x",
        "/docs/page.css?x=1",
    ] {
        let refused = anybody.get(path).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_query"),
            "{path}"
        );
    }
    let accept = json!({"token": "cinv_x"});
    let refused = anybody.post("/v1/invitations/accept?x=1", &accept).await;
    assert_eq!((refused.status, refused.member("error")), (400, "invalid_query"));
    let refused = anybody.post("/v1/invitations/accept", &accept).await;
    assert_eq!(refused.member("error"), "invitation_not_found");
    assert_eq!(anybody.get("/v1/policy-templates").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_null_in_a_post_is_absent_and_what_is_missing_is_named() {
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let zone = Zone::new(&stack, "Null").await;
    let [_, version, set, _] = zone.drafted().await;
    for (path, body) in [
        (
            "resources",
            json!({"identifier": "resource://n", "scopes": ["a"], "prefix": null, "operations": null,
            "forward_headers": null, "name": null, "upstream_url": null, "auth_mode": null}),
        ),
        (
            "providers",
            json!({"identifier": "p", "kind": "apikey", "config_json": null, "secret_config": null}),
        ),
        (
            "applications",
            json!({"name": "a", "registration_method": "managed", "traits": null, "consent": null,
            "redirect_uris": null, "expires_in": null}),
        ),
        (
            "subject-issuers",
            json!({"issuer": "https://idp.example", "audience": "a", "subject_prefix": null,
            "jwks_uri": null}),
        ),
        (
            "policies",
            json!({"name": "n", "content": super::ALLOW, "schema_version": null, "description": null}),
        ),
        (
            &format!("policy-sets/{set}/versions"),
            json!({"manifest": [{"policy_version_id": version}],
            "schema_version": null}),
        ),
    ] {
        let made = zone.post(path, &body).await;
        assert_eq!(made.status, 201, "{path}: {}", made.text);
    }
    let token =
        json!({"scope": "global", "read_only": null, "expires_at": null, "name": null, "zone_id": null});
    assert_eq!(zone.admin.post("/v1/admin-tokens", &token).await.status, 201);
    let planted = zone
        .admin
        .post("/v1/local/bootstrap", &json!({"force": null}))
        .await;
    assert_eq!(planted.status, 201, "{}", planted.text);

    let missing = zone
        .post("resources", &json!({"identifier": "resource://m"}))
        .await;
    assert_eq!(
        missing.body["issues"],
        json!([{"path": ["scopes"], "message": "missing field `scopes`"}])
    );
    let manifest = zone
        .post(
            &format!("policy-sets/{set}/versions"),
            &json!({"manifest": ["x"]}),
        )
        .await;
    assert_eq!(
        manifest.body["issues"],
        json!([{"path": ["manifest", 0], "message": "invalid type: string \"x\", expected an object"}])
    );
    let mistyped = zone.admin.post("/v1/admin-tokens", &json!({"scope": true})).await;
    assert_eq!(
        mistyped.body["issues"],
        json!([{"path": ["scope"], "message": "is not of its type"}])
    );
    let empty = zone
        .admin
        .send(Method::POST, &zone.at("policy-sets"), |request| request)
        .await
        .expect("an answer");
    assert_eq!((empty.status, empty.member("error")), (400, "invalid_body"));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_keys_and_credentials_that_could_never_serve_are_not_saved() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Never").await;
    let resource = |member: &str, value: Value| {
        let mut body = json!({"identifier": "resource://a", "scopes": ["a"]});
        body[member] = value;
        body
    };
    let long = format!("https://a.example/{}", "x".repeat(2048));
    let urls = [
        "https://@a.example/",
        "https://:@a.example/",
        "http:a.example",
        "https:///a.example",
        &long,
    ];
    let bad: Vec<Value> = urls
        .iter()
        .map(|url| resource("upstream_url", json!(url)))
        .collect();
    all_invalid(&zone, "resources", &bad).await;
    let headers = [
        "Proxy-Connection",
        "X-Request-Id",
        "X-Real-IP",
        "Keep-Alive",
        "Trailer",
        "X-Forwarded-Host",
    ];
    let bad: Vec<Value> = headers
        .iter()
        .map(|name| resource("forward_headers", json!([name])))
        .collect();
    all_invalid(&zone, "resources", &bad).await;
    let fine = resource("upstream_url", json!("https://a.example/user@/x"));
    assert_eq!(zone.post("resources", &fine).await.status, 201);

    let provider = |kind: &str, config: Value, secrets: Value| json!({"identifier": kind, "kind": kind, "config_json": config, "secret_config": secrets});
    all_invalid(
        &zone,
        "providers",
        &[
            provider("bearer_token", json!({}), json!({"bearer_token": "a\r\nX: y"})),
            provider("api_key", json!({}), json!({"api_key": "a\nb"})),
            provider("api_key", json!({"name": "Cookie"}), json!({"api_key": "a"})),
            provider(
                "api_key",
                json!({"name": "X-Caracal-Scope"}),
                json!({"api_key": "a"}),
            ),
            provider(
                "workload",
                json!({"audience": "a", "ttl_seconds": 3601}),
                json!({}),
            ),
            provider("oauth2", json!({"token_url": long}), json!({})),
        ],
    )
    .await;
    let in_query = provider(
        "api_key",
        json!({"location": "query", "name": "cookie"}),
        json!({"api_key": "\u{fc}"}),
    );
    let in_query = zone.post("providers", &in_query).await;
    assert_eq!(in_query.status, 201, "{}", in_query.text);
    let path = zone.at(&format!("providers/{}", in_query.member("id")));
    let moved = zone
        .admin
        .patch(&path, &json!({"config_json": {"name": "X-Key"}}))
        .await;
    assert_eq!(
        (moved.status, moved.member("error")),
        (400, "invalid_body"),
        "{}",
        moved.text
    );

    let application = |member: &str, value: Value| {
        let kind = if member == "jwks" { "public-key" } else { "url" };
        let mut body = json!({"name": "a", "registration_method": "managed", "credential_type": kind});
        body[member] = value;
        body
    };
    let key = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"});
    all_invalid(
        &zone,
        "applications",
        &[
            application("jwks", json!({"keys": [key]})),
            application("jwks_uri", json!("https://a.example/jwks#x")),
            application("jwks_uri", json!(long)),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_names_are_not_smuggled_into_a_zone_of_a_tenant() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Tenant").await;
    let app = |name: &str, traits: &[&str]| json!({"name": name, "registration_method": "managed", "traits": traits});
    for (path, body) in [
        ("applications", app("a", &[" Caracal.SYS/x"])),
        (
            "subject-issuers",
            json!({"issuer": "https://idp.example", "audience": "a", "subject_prefix": "caracal.sys/"}),
        ),
    ] {
        let refused = zone.post(path, &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "reserved_namespace"),
            "{path}"
        );
    }
    let made = zone
        .post("applications", &app("a", &["b"]))
        .await
        .member("id")
        .to_owned();
    let path = zone.at(&format!("applications/{made}"));
    let refused = zone
        .admin
        .patch(&path, &json!({"traits": ["caracal.sys/x"]}))
        .await;
    assert_eq!(refused.member("error"), "reserved_namespace");
    let invisible = ["\u{200b}caracal.sys/x", "a\u{feff}", "\u{202e}a"];
    all_invalid(&zone, "applications", &invisible.map(|name| app(name, &[]))).await;
    let blocked = invisible.map(|subject| json!({"subject_id": subject}));
    all_invalid(&zone, "subjects/revoke", &blocked).await;

    let itself = format!("/v1/zones/{}", zone.id);
    let mark = |is_system: bool| json!({"is_system": is_system});
    assert_eq!(zone.admin.patch(&itself, &mark(true)).await.status, 200);
    for (path, body) in [
        ("applications", app("caracal.sys/gateway", &[])),
        (
            "resources",
            json!({"identifier": "caracal.sys/r", "scopes": ["a"]}),
        ),
        ("policy-sets", json!({"name": "Caracal.sys/s"})),
    ] {
        let made = zone.post(path, &body).await;
        assert_eq!(made.status, 201, "{path}: {}", made.text);
        let refused = zone.admin.patch(&itself, &mark(false)).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "reserved_namespace"),
            "{path}"
        );
        let item = zone.at(&format!("{path}/{}", made.member("id")));
        assert_eq!(zone.admin.delete(&item).await.status, 204);
    }
    assert_eq!(zone.admin.patch(&itself, &mark(false)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_takes_no_part_of_the_ten() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Quota").await;
    let open = json!({"dcr_enabled": true});
    assert_eq!(
        zone.admin
            .patch(&format!("/v1/zones/{}", zone.id), &open)
            .await
            .status,
        200
    );
    let mut answers = Vec::new();
    for n in 0..30 {
        let body = json!({"name": format!("bad {n}"), "credential_type": "public-key"});
        answers.push(zone.post("applications/dcr", &body).await);
    }
    assert_eq!(tally(&answers, 400, "invalid_body"), 30);
    let flood = futures::future::join_all((0..20).map(|n| {
        let zone = &zone;
        async move {
            zone.post("applications/dcr", &json!({"name": format!("good {n}")}))
                .await
        }
    }))
    .await;
    assert!(tally(&flood, 201, "") >= 10, "the ten are all there");
    let refused = flood
        .iter()
        .find(|answer| answer.status == 429)
        .expect("one too many");
    assert_eq!(
        (refused.member("error"), refused.header("retry-after")),
        ("dcr_rate_limit_exceeded", "1")
    );
}

async fn named_by(zone: &Zone, content: &str, names: &[&str]) -> Vec<String> {
    let policy = json!({"name": format!("p{}", content.len()), "content": content});
    let policy = zone.post("policies", &policy).await;
    assert_eq!(policy.status, 201, "{}", policy.text);
    let [set, version] = zone
        .set_of(policy.member("id"), policy.member("version_id"))
        .await;
    assert_eq!(zone.activate(&set, &version).await.status, 202);
    let mut kept = Vec::new();
    for name in names {
        let app = json!({"name": name, "registration_method": "managed", "credential_type": "token"});
        let app = zone.post("applications", &app).await.member("id").to_owned();
        let path = zone.at(&format!("applications/{app}"));
        let answer = zone
            .admin
            .patch(&path, &json!({"credential_type": "public"}))
            .await;
        if answer.member("error") == "app_referenced_by_active_policy" {
            kept.push((*name).to_owned());
        }
        assert_eq!(zone.admin.delete(&path).await.status, 204);
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_names_an_application_where_it_compares_with_who_asks() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Named").await;
    let direct = "package caracal.authz\n\n# \"comment\"\nresult := {\"decision\": \"allow\", \"determining_policies\": [\"x\"]} \
        if {\n  input.principal.name == `my-agent`\n  input.resource.identifier == \"other\"\n  \"read\" in input.resource.scopes\n}\n";
    let names = [
        "my-agent",
        "allow",
        "deny",
        "complete",
        "x",
        "other",
        "read",
        "comment",
        "principal",
    ];
    assert_eq!(named_by(&zone, direct, &names).await, ["my-agent"]);
    let indirect = "package caracal.authz\n\nfriends := {\"one\", `two`}\n\nroles[\"three\"] := [\"reader\"]\n\n\
        granted := {\"four\": [\"a\"]}\n\nresult := {\"decision\": \"allow\"} if input.principal.name in friends\n\n\
        result := {\"decision\": \"allow\"} if roles[input.principal.name]\n\nresult := {\"decision\": \"allow\"} if {\n  \
        some name in [\"fi\\u0076e\", \"deny\"]\n  name == input.principal.name\n}\n\n\
        result := {\"decision\": \"allow\"} if \"a\" in granted[input.principal.name]\n\n\
        result := {\"decision\": \"allow\"} if \"deny\" != input.principal[\"name\"]\n";
    let names = ["one", "two", "three", "four", "five", "deny", "allow", "six"];
    assert_eq!(
        named_by(&zone, indirect, &names).await,
        ["one", "two", "three", "four", "five", "deny"]
    );
    let blind = "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if input.context.trace_id == \"seven\"\n";
    assert_eq!(named_by(&zone, blind, &["seven", "allow"]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_whose_result_is_no_decision_never_enters_a_set() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Nonsense").await;
    let set = zone
        .post("policy-sets", &json!({"name": "s"}))
        .await
        .member("id")
        .to_owned();
    for (n, (rule, status)) in [
        ("result := \"allow\"", 422),
        ("result contains \"x\"", 422),
        ("result := {\"decision\": \"maybe\"}", 422),
        ("result := {}", 422),
        ("result := {\"decision\": \"allow\"}", 201),
        ("result := \"later\" if input.principal.id != \"\"", 201),
    ]
    .into_iter()
    .enumerate()
    {
        let content = format!("package caracal.authz\n\n{rule}\n");
        let policy = zone
            .post("policies", &json!({"name": format!("p{n}"), "content": content}))
            .await;
        assert_eq!(policy.status, 201, "{rule}: {}", policy.text);
        let manifest = json!({"manifest": [{"policy_version_id": policy.member("version_id")}]});
        let answer = zone.post(&format!("policy-sets/{set}/versions"), &manifest).await;
        assert_eq!(answer.status, status, "{rule}: {}", answer.text);
        if status == 422 {
            assert_eq!(
                (answer.member("error"), &answer.body["issues"][0]["path"]),
                (
                    "invalid_policy_contract",
                    &json!(["manifest", 0, "policy_version_id"])
                )
            );
        }
    }
}

async fn said(stack: &Stack, bytes: &[u8]) -> String {
    let url: url::Url = stack.url(Service::Api, 0).parse().expect("a URL");
    let place = (url.host_str().expect("a host"), url.port().expect("a port"));
    let mut connection = TcpStream::connect(place).await.expect("a connection");
    connection.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    // However it ends.
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http_are_refused_and_not_logged_as_our_fault() {
    let stack = alone().start().await;
    for bytes in [
        "nonsense\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /\u{7} HTTP/1.1\r\n\r\n",
    ] {
        let answer = said(&stack, bytes.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.is_empty(),
            "{answer}"
        );
    }
    let files = std::fs::read_dir(stack.logs()).expect("a folder of logs");
    let logs: String = files
        .map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("a log"))
        .collect();
    assert!(!logs.contains("stream error") && !logs.contains("h1::dispatcher"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_has_at_most_128_characters() {
    let stack = alone().start().await;
    let longest = "aZ9._:-x".repeat(16);
    let named = async |id: &str| {
        let caller = stack.anonymous(Service::Api, 0).with("X-Request-Id", id);
        caller.get("/health").await.header("x-request-id").to_owned()
    };
    assert_eq!(named(&longest).await, longest);
    for odd in [format!("{longest}x"), "a/b".to_owned(), "a b".to_owned()] {
        let minted: uuid::Uuid = named(&odd).await.parse().expect("a UUID");
        assert_eq!(minted.get_version_num(), 7, "{odd}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_one_of_its_application_user_and_resource_and_as_wide_as_it_may_be() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Grants").await;
    let scopes: Vec<String> = (0..64).map(|n| format!("{n:0>200}")).collect();
    let mut resources = Vec::new();
    for name in ["a", "b"] {
        let new = json!({"identifier": format!("resource://{name}"), "scopes": scopes});
        let made = zone.post("resources", &new).await;
        assert_eq!(made.status, 201, "{}", made.text);
        resources.push(made.member("id").to_owned());
    }
    let applications = [application(&zone, "a").await, application(&zone, "b").await];
    for resource in &resources {
        for application in &applications {
            for user in ["ann", "bob"] {
                let new = json!({"application_id": application, "user_id": user, "resource_id": resource, "scopes": scopes});
                let made = zone.post("grants", &new).await;
                assert_eq!(made.status, 201, "{}", made.text);
                let again = zone.post("grants", &new).await;
                assert_eq!(
                    (again.status, again.member("error")),
                    (409, "grant_already_exists")
                );
            }
        }
    }
}
