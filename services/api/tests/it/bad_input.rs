use super::given::ABSENT;
use super::{ALLOW, Zone, alone};
use caracal_api::routes::{Route, TABLE};
use caracal_testkit::stack::Service;
use reqwest::Method;
use serde_json::{Value, json};

/// Whether the body may be left out there.
fn may_be_left_out(path: &str) -> bool {
    let ends = ["/satisfy", "/rotate-secret", "/check", "/bootstrap", "/revoke"];
    ends.iter().any(|end| path.ends_with(end)) && !path.ends_with("/subjects/revoke")
}

/// Every route that takes a body, with one that would do.
async fn bodies(
    zone: &Zone,
    [policy, version, set, set_version]: &[String; 4],
) -> Vec<(Method, String, Value)> {
    let post = |path: String, body: Value| (Method::POST, path, body);
    let mut patches = Vec::new();
    for (noun, body) in [
        (
            "applications",
            json!({"name": "patched", "registration_method": "managed"}),
        ),
        (
            "resources",
            json!({"identifier": "resource://patched", "scopes": ["read"]}),
        ),
        ("providers", json!({"identifier": "patched", "kind": "apikey"})),
    ] {
        let id = zone.post(noun, &body).await.member("id").to_owned();
        patches.push((
            Method::PATCH,
            zone.at(&format!("{noun}/{id}")),
            json!({"name": "patched"}),
        ));
    }
    let issuer = json!({"issuer": "https://patched.example", "audience": "a", "subject_prefix": "p|"});
    let id = zone
        .post("subject-issuers", &issuer)
        .await
        .member("id")
        .to_owned();
    patches.push((
        Method::PATCH,
        zone.at(&format!("subject-issuers/{id}")),
        json!({"audience": "b"}),
    ));
    let others = vec![
        post("/v1/zones".into(), json!({"name": "z"})),
        (
            Method::PATCH,
            format!("/v1/zones/{}", zone.id),
            json!({"name": "z"}),
        ),
        post("/v1/admin-tokens".into(), json!({"scope": "global"})),
        post("/v1/policies/validate".into(), json!({"content": ALLOW})),
        post("/v1/local/bootstrap".into(), json!({"force": false})),
        post(
            zone.at("applications"),
            json!({"name": "a", "registration_method": "managed"}),
        ),
        post(zone.at("applications/dcr"), json!({"name": "a"})),
        post(
            zone.at("resources"),
            json!({"identifier": "resource://a", "scopes": ["read"]}),
        ),
        post(zone.at("providers"), json!({"identifier": "p", "kind": "apikey"})),
        post(zone.at("policies"), json!({"name": "p", "content": ALLOW})),
        post(
            zone.at(&format!("policies/{policy}/versions")),
            json!({"content": ALLOW}),
        ),
        post(zone.at("policy-sets"), json!({"name": "s"})),
        post("/v1/invitations/accept".into(), json!({"token": "t"})),
        post(
            zone.at("invitations"),
            json!({"email": "a@b.example", "role": "viewer"}),
        ),
        post(
            zone.at("grants"),
            json!({"application_id": policy, "user_id": "u", "resource_id": policy, "scopes": ["read"]}),
        ),
        post(
            zone.at("subject-issuers"),
            json!({"issuer": "https://i.example", "audience": "a", "subject_prefix": "i|"}),
        ),
        post(zone.at("subjects/revoke"), json!({"subject_id": "u"})),
        post(
            zone.at(&format!("step-up-challenges/{policy}/satisfy")),
            json!({"satisfied_by": "somebody"}),
        ),
        post(zone.at("signing-keys/rotate"), json!({"mode": "graceful"})),
        post(
            zone.at(&format!("policy-sets/{set}/versions")),
            json!({"manifest": [{"policy_version_id": version}]}),
        ),
        post(
            zone.at(&format!("policy-sets/{set}/activate")),
            json!({"version_id": set_version}),
        ),
        post(
            zone.at(&format!("policy-sets/{set}/simulate")),
            json!({"version_id": set_version, "input": {}}),
        ),
        post(
            zone.at(&format!("policy-sets/{set}/replay")),
            json!({"version_id": set_version, "since": "2026-01-01T00:00:00Z"}),
        ),
        post(
            zone.at(&format!("providers/{policy}/check")),
            json!({"user_id": "u", "scopes": ["read"], "resource_id": policy, "application_id": policy}),
        ),
        post(
            zone.at("provider-connections/authorize"),
            json!({"user_id": "u", "resource_id": policy, "provider_id": policy, "scopes": ["read"]}),
        ),
        post(
            zone.at(&format!("provider-connections/{policy}/revoke")),
            json!({}),
        ),
        post(
            zone.at(&format!("applications/{policy}/rotate-secret")),
            json!({}),
        ),
        post(zone.at(&format!("sessions/{policy}/revoke")), json!({})),
    ];
    patches.into_iter().chain(others).collect()
}

/// Every operation that takes a body, by the description of the API.
fn with_a_body() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(caracal_api::openapi::document()).expect("JSON");
    let takes = |route: &&Route| {
        document["paths"][route.path][route.method]
            .get("requestBody")
            .is_some()
    };
    let named = |route: &Route| (route.method.to_uppercase(), route.path.to_owned());
    TABLE.iter().filter(takes).map(named).collect()
}

fn fits(path: &str, pattern: &str) -> bool {
    let (path, pattern): (Vec<_>, Vec<_>) = (path.split('/').collect(), pattern.split('/').collect());
    let same = |(here, there): (&&str, &&str)| here == there || (there.starts_with('{') && here.len() == 36);
    path.len() == pattern.len() && path.iter().zip(&pattern).all(same)
}

/// The same body with one member said twice.
fn twice(body: &Value) -> String {
    let first = body.as_object().and_then(|members| members.iter().next());
    let Some((name, value)) = first else {
        return "{\"a\":1,\"a\":1}".to_owned();
    };
    let text = body.to_string();
    format!("{{\"{name}\":{value},{}", text.trim_start_matches('{'))
}

/// The same body with one member of another type.
fn distorted(body: &Value) -> Vec<Value> {
    let members = body.as_object().expect("an object");
    let wrong = [
        json!(null),
        json!(7),
        json!({"a": [1]}),
        json!([[]]),
        json!("\u{0}"),
        json!(""),
        json!("x".repeat(5000)),
        json!("\u{202e}\u{200f}\u{0}\u{1f4a9}\u{fffe}"),
        json!("\u{202e}\u{200b}\u{1f4a9}\u{fffe} e\u{301}"),
        json!("'; DROP TABLE zones; --"),
        json!(i64::MAX),
        json!(-1.5e300),
    ];
    members
        .keys()
        .flat_map(|key| wrong.iter().map(move |value| (key, value)))
        .map(|(key, value)| {
            let mut body = body.clone();
            body[key] = value.clone();
            body
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_the_callers_and_told_in_the_envelope() {
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let zone = Zone::new(&stack, "Sweep").await;
    let drafted = zone.drafted().await;
    let bodies = bodies(&zone, &drafted).await;
    for (method, pattern) in with_a_body() {
        let covered = bodies
            .iter()
            .any(|(by, path, _)| by.as_str() == method && fits(path, &pattern));
        assert!(covered, "give {method} {pattern} a body");
    }
    for (method, path, body) in bodies {
        let send = async |content_type: &str, bytes: Vec<u8>| {
            let fill = |request: reqwest::RequestBuilder| {
                request
                    .header("content-type", content_type.to_owned())
                    .body(bytes)
            };
            zone.admin
                .send(method.clone(), &path, fill)
                .await
                .expect("an answer")
        };
        let mut unknown = body.clone();
        unknown["surprise"] = json!(1);
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        for bad in [
            "",
            "{",
            "null",
            "[]",
            "7",
            "\"x\"",
            "{\"a\":1}{",
            &unknown.to_string(),
            &deep,
            "\u{feff}{}",
            "{\"name\": \"\\ud800\"}",
            &twice(&body),
        ] {
            if bad.is_empty() && may_be_left_out(&path) {
                continue;
            }
            let answer = send("application/json", bad.as_bytes().to_vec()).await;
            assert_eq!(
                (answer.status, answer.member("error")),
                (400, "invalid_body"),
                "{method} {path} {bad:.80}"
            );
            assert!(
                answer.body["issues"][0]["message"].is_string(),
                "{method} {path} {}",
                answer.text
            );
        }
        let answer = send("application/json", vec![0xff, 0xfe]).await;
        assert_eq!(answer.member("error"), "invalid_body", "{path}");
        let answer = send("text/plain", body.to_string().into_bytes()).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (415, "unsupported_media_type"),
            "{path}"
        );
        let huge = json!({"name": "x".repeat(1_100_000)}).to_string().into_bytes();
        let answer = send("application/json", huge).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (413, "payload_too_large"),
            "{path}"
        );
        for bad in distorted(&body) {
            let answer = send("application/json", bad.to_string().into_bytes()).await;
            assert!(
                answer.status < 500,
                "{method} {path} {:.200} -> {}",
                bad.to_string(),
                answer.text
            );
            assert!(
                answer.status < 300 || !answer.member("error").is_empty(),
                "{path} {}",
                answer.text
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_another_zone_and_ids_that_are_none_are_not_found() {
    let stack = alone().start().await;
    let (mine, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Other").await);
    let [policy, version, set, set_version] = mine.drafted().await;
    let application = mine
        .post(
            "applications",
            &json!({"name": "a", "registration_method": "managed"}),
        )
        .await;
    let resource = mine
        .post(
            "resources",
            &json!({"identifier": "resource://a", "scopes": ["read"]}),
        )
        .await;
    let provider = mine
        .post("providers", &json!({"identifier": "p", "kind": "apikey"}))
        .await;
    for (noun, id, code) in [
        ("applications", application.member("id"), "application_not_found"),
        ("resources", resource.member("id"), "resource_not_found"),
        ("providers", provider.member("id"), "provider_not_found"),
        ("policies", policy.as_str(), "policy_not_found"),
        ("policy-sets", set.as_str(), "policy_set_not_found"),
    ] {
        assert_eq!(mine.get(&format!("{noun}/{id}")).await.status, 200, "{noun}");
        for id in [
            id,
            "nonsense",
            "0198C0DE-0000-7000-8000-000000000000",
            "..%2f",
            "%00",
        ] {
            let answer = other.get(&format!("{noun}/{id}")).await;
            assert_eq!(
                (answer.status, answer.member("error")),
                (404, code),
                "{noun}/{id}"
            );
            let answer = other.admin.delete(&other.at(&format!("{noun}/{id}"))).await;
            assert_eq!(
                (answer.status, answer.member("error")),
                (404, code),
                "{noun}/{id}"
            );
        }
    }
    let foreign = json!({"identifier": "resource://b", "scopes": ["read"], "credential_provider_id": provider.member("id")});
    assert_eq!(
        other.post("resources", &foreign).await.member("error"),
        "provider_not_found"
    );
    let theirs = other
        .post("policy-sets", &json!({"name": "s"}))
        .await
        .member("id")
        .to_owned();
    let foreign = json!({"manifest": [{"policy_version_id": version}]});
    let refused = other
        .post(&format!("policy-sets/{theirs}/versions"), &foreign)
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (404, "policy_version_not_found")
    );
    let refused = other
        .post(
            &format!("policy-sets/{theirs}/activate"),
            &json!({"version_id": set_version}),
        )
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (404, "version_not_found")
    );
    let refused = other.post(&format!("sessions/{policy}/revoke"), &json!({})).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (404, "session_not_found")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_something_else_and_zones_that_are_none_are_not_found() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Versions").await;
    let [policy, version, set, set_version] = zone.drafted().await;
    let second = zone
        .post("policies", &json!({"name": "second", "content": ALLOW}))
        .await;
    let of_second = second.member("version_id");
    let [_, of_second_set] = zone.set_of("second", of_second).await;
    for (path, own, of_another, code) in [
        (
            format!("policies/{policy}/versions"),
            version.as_str(),
            of_second,
            "policy_version_not_found",
        ),
        (
            format!("policy-sets/{set}/versions"),
            set_version.as_str(),
            of_second_set.as_str(),
            "version_not_found",
        ),
    ] {
        let shown = zone.get(&format!("{path}/{own}")).await;
        assert_eq!((shown.status, shown.member("id")), (200, own), "{path}");
        for id in ABSENT.iter().copied().chain([of_another]) {
            let absent = zone.get(&format!("{path}/{id}")).await;
            assert_eq!(
                (absent.status, absent.member("error")),
                (404, code),
                "{path}/{id}"
            );
        }
    }

    let patch = json!({"name": "x"});
    for id in ABSENT {
        let path = format!("/v1/zones/{id}");
        for absent in [
            zone.admin.get(&path).await,
            zone.admin.patch(&path, &patch).await,
            zone.admin.delete(&path).await,
            zone.admin.get(&format!("{path}/resources")).await,
        ] {
            assert_eq!(
                (absent.status, absent.member("error")),
                (404, "zone_not_found"),
                "{path}: {}",
                absent.text
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_to_the_table_of_routes_get_the_envelope_too() {
    let stack = alone().start().await;
    let admin = stack.admin();
    for path in ["/", "/v1", "/v1/nothing", "/v1/zones/x/y/z/w"] {
        let answer = admin.get(path).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (404, "not_found"),
            "{path}"
        );
    }
    let answer = admin
        .send(Method::PUT, "/v1/zones", |request| request)
        .await
        .expect("an answer");
    assert_eq!(
        (answer.status, answer.member("error")),
        (405, "method_not_allowed")
    );
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
    assert_eq!(
        admin.post("/v1/local/bootstrap", &json!({})).await.status,
        201,
        "the test stack allows it"
    );
}
