//! Our own faults: 500, nothing of the cause for the caller, all of it once in the log (contract §2, "Errors").

use caracal_testkit::settings::GATEWAY_STS_KEY;
use caracal_testkit::{Answer, Stack};
use serde_json::{Value, json};

/// A zone whose signing key cannot be opened, which no replica has looked at yet, and an application in it.
async fn broken_zone(stack: &Stack) -> (String, String, String) {
    let admin = stack.admin();
    let zone = admin.post("/v1/zones", &json!({"name": "Broken"})).await;
    let zone = zone.member("id").to_owned();
    let body = json!({"name": "agent", "registration_method": "managed", "credential_type": "token"});
    let made = admin.post(&format!("/v1/zones/{zone}/applications"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let statement = format!("UPDATE signing_keys SET private_sealed = '\\x00' WHERE zone_id = '{zone}'");
    let database = stack.database().connect().await;
    database.batch_execute(&statement).await.expect("broken");
    let (id, secret) = (
        made.member("id").to_owned(),
        made.member("client_secret").to_owned(),
    );
    (zone, id, secret)
}

fn is_a_fault(answer: &Answer, what: &str) {
    let expected = json!({
        "error": "server_error", "reason": "server_error", "request_id": what, "requestId": what,
        "error_description": "The request could not be served; quote the request id.",
    });
    assert_eq!((answer.status, &answer.body), (500, &expected), "{what}");
    assert_eq!(answer.header("Cache-Control"), "no-store", "{what}");
}

#[tokio::test]
async fn a_fault_is_shown_to_nobody_and_logged_once_with_its_whole_chain() {
    let stack = Stack::start().await;
    let (zone, id, secret) = broken_zone(&stack).await;
    let sts = |what: &str| stack.sts(0).with("X-Request-Id", what);
    let form = [
        ("application_id", id.as_str()),
        ("client_secret", &secret),
        ("zone_id", &zone),
        ("token", "a.b.c"),
    ];
    for (what, path) in [
        ("at-token", "/oauth/2/token"),
        ("at-introspect", "/oauth/2/introspect"),
        ("at-revoke", "/oauth/2/revoke"),
    ] {
        is_a_fault(&sts(what).form(path, &form).await, what);
    }
    let keys = format!("/zones/{zone}/.well-known/jwks.json");
    is_a_fault(&sts("at-keys").get(&keys).await, "at-keys");
    let asked = json!({"zone_id": zone, "application_id": id, "resource": "resource://a"});
    for (what, path) in [
        ("at-directives", "/internal/directives"),
        ("at-credentials", "/internal/credentials"),
    ] {
        let answer = sts(what).bearer(GATEWAY_STS_KEY).post(path, &asked).await;
        is_a_fault(&answer, what);
    }

    let log = std::fs::read_to_string(stack.logs().join("sts-0.log")).expect("a log");
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for what in [
        "at-token",
        "at-introspect",
        "at-revoke",
        "at-keys",
        "at-directives",
        "at-credentials",
    ] {
        let said: Vec<_> = lines
            .iter()
            .filter(|line| line["level"] == "ERROR" && line["request_id"] == what)
            .collect();
        assert_eq!(said.len(), 1, "{what}: {said:?}");
        let said = said.first().expect("a line").to_string();
        assert!(said.contains("using key material: "), "the whole chain: {said}");
        assert!(!said.contains(&secret), "{said}");
    }
}
