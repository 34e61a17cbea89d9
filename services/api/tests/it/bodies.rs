//! Bodies as they travel: their types, their sizes, and none at all.

use super::connection::Consents;
use super::given::{application, session};
use super::step_up::challenge;
use super::{Zone, alone};
use caracal_testkit::Answer;
use caracal_testkit::stack::Service;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: usize = 1024 * 1024;

async fn post(zone: &Zone, path: &str, media_type: Option<&str>, body: Vec<u8>) -> Answer {
    let fill = |request: reqwest::RequestBuilder| match media_type {
        Some(media_type) => request.header("content-type", media_type).body(body),
        None => request.body(body),
    };
    zone.admin
        .send(Method::POST, path, fill)
        .await
        .expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_json_by_its_media_type_and_a_mebibyte_at_most() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Types").await;
    let path = zone.at("policy-sets");
    let body = |name: &str| json!({"name": name}).to_string().into_bytes();
    for (n, media_type) in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/merge-patch+json",
        "application/vnd.caracal+json;v=1",
    ]
    .into_iter()
    .enumerate()
    {
        let made = post(&zone, &path, Some(media_type), body(&format!("set {n}"))).await;
        assert_eq!(made.status, 201, "{media_type}: {}", made.text);
    }
    for media_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("text/json"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonp"),
        Some("multipart/form-data"),
    ] {
        let refused = post(&zone, &path, media_type, body("refused")).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (415, "unsupported_media_type"),
            "{media_type:?}"
        );
    }
    let padded = |length: usize| {
        let mut text = body("padded");
        text.resize(length, b' ');
        text
    };
    let over = post(&zone, &path, Some("application/json"), padded(MIB + 1)).await;
    assert_eq!((over.status, over.member("error")), (413, "payload_too_large"));
    let over = reqwest::Body::wrap_stream(futures::stream::iter(
        padded(MIB + 1)
            .chunks(65_536)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect::<Vec<_>>(),
    ));
    let fill =
        |request: reqwest::RequestBuilder| request.header("content-type", "application/json").body(over);
    let over = zone
        .admin
        .send(Method::POST, &path, fill)
        .await
        .expect("an answer");
    assert_eq!(
        (over.status, over.member("error")),
        (413, "payload_too_large"),
        "in chunks"
    );
    let whole = post(&zone, &path, Some("application/json"), padded(MIB)).await;
    assert_eq!(whole.status, 201, "{}", whole.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_may_be_left_out_is_read_when_it_is_there() {
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let world = Consents::new(&stack).await;
    let zone = &world.zone;
    let agent = application(zone, "agent").await;
    let connection = world.connect("ann").await.member("id").to_owned();
    let session = session(&stack, zone, &agent, "ann").await;
    let waiting = challenge(&stack, zone, &agent, "5 minutes").await;
    for path in [
        "/v1/local/bootstrap".to_owned(),
        zone.at(&format!("applications/{agent}/rotate-secret")),
        zone.at(&format!("sessions/{session}/revoke")),
        zone.at(&format!("provider-connections/{connection}/revoke")),
        zone.at(&format!("providers/{}/check", world.provider)),
        zone.at(&format!("step-up-challenges/{waiting}/satisfy")),
    ] {
        let json = Some("application/json");
        for bad in ["{\"surprise\": 1}", "[]", "{", "null"] {
            let refused = post(zone, &path, json, bad.into()).await;
            assert_eq!(
                (refused.status, refused.member("error")),
                (400, "invalid_body"),
                "{path} {bad}"
            );
        }
        let refused = post(zone, &path, Some("text/plain"), "{}".into()).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (415, "unsupported_media_type"),
            "{path}"
        );
        let refused = post(zone, &path, json, vec![b' '; MIB + 1]).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (413, "payload_too_large"),
            "{path}"
        );
        let done = zone
            .admin
            .send(Method::POST, &path, |request| request)
            .await
            .expect("an answer");
        assert!(
            matches!(done.status, 200 | 201),
            "{path}: {} {}",
            done.status,
            done.text
        );
        if path.ends_with("/satisfy") {
            continue; // counts once
        }
        for (media_type, body) in [
            (json, ""),
            (json, "{}"),
            (Some("application/x-www-form-urlencoded"), ""),
            (None, ""),
        ] {
            let done = post(zone, &path, media_type, body.into()).await;
            assert!(
                done.status == 200,
                "{path} {media_type:?} {body:?}: {} {}",
                done.status,
                done.text
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body_and_options_is_no_method() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Methods").await;
    for (path, allow) in [
        (format!("/v1/zones/{}", zone.id), "DELETE, GET, HEAD, PATCH"),
        (zone.at("resources"), "GET, HEAD, POST"),
        (zone.at("signing-keys/rotate"), "POST"),
    ] {
        let options = zone
            .admin
            .send(Method::OPTIONS, &path, |request| request)
            .await
            .expect("an answer");
        assert_eq!(
            (options.status, options.member("error")),
            (405, "method_not_allowed"),
            "{path}"
        );
        let mut allowed: Vec<&str> = options.header("allow").split(", ").collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(", "), allow, "{path}");
        if !allow.contains("HEAD") {
            continue;
        }
        let (get, head) = (
            zone.admin.get(&path).await,
            zone.admin
                .send(Method::HEAD, &path, |request| request)
                .await
                .expect("an answer"),
        );
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("etag"), get.header("etag"), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    let absent = zone.at("resources/nonsense");
    let absent = zone
        .admin
        .send(Method::HEAD, &absent, |request| request)
        .await
        .expect("an answer");
    assert_eq!(absent.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoded_body_and_a_name_that_stands_twice_are_refused() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Once").await;
    let path = zone.at("policy-sets");
    for (coding, status) in [("gzip", 415), ("foo", 415), ("identity", 201)] {
        let fill = |request: reqwest::RequestBuilder| {
            request
                .header("content-encoding", coding)
                .json(&json!({"name": coding}))
        };
        let answer = zone
            .admin
            .send(Method::POST, &path, fill)
            .await
            .expect("an answer");
        assert_eq!(answer.status, status, "{coding}: {}", answer.text);
    }
    let provider = |config: &str| format!(r#"{{"identifier":"p","kind":"oauth2","config_json":{config}}}"#);
    let url = r#""token_url":"https://as.example/token""#;
    for (path, body) in [
        (path.clone(), r#"{"name":"a","name":"a"}"#.to_owned()),
        (
            zone.at("providers"),
            provider(&format!(r#"{{{url},"client_id":"a","client_id":"b"}}"#)),
        ),
        (
            zone.at("applications"),
            r#"{"name":"a","credential_type":"public-key","jwks":{"keys":[],"keys":[]}}"#.to_owned(),
        ),
    ] {
        let refused = post(&zone, &path, Some("application/json"), body.clone().into_bytes()).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{body}: {}",
            refused.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let stack = alone().start().await;
    let address = stack.url(Service::Api, 0);
    let address = address.strip_prefix("http://").expect("a plain address");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST /v1/invitations/accept HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 4096];
    let reading = tokio::time::timeout(Duration::from_secs(15), stream.read(&mut answer));
    let length = reading.await.expect("an answer in time").expect("an answer");
    let answer = String::from_utf8_lossy(answer.get(..length).expect("what was read"));
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains(r#"{"error":"request_timeout"}"#), "{answer}");
}
