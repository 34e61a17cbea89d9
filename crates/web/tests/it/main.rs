//! The conventions of the contract, on a small application.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{HttpResponse, dev::ServiceResponse};
use caracal_domain::clock::FixedClock;
use caracal_domain::id::{PolicyId, ZoneId};
use caracal_web::{
    CurrentRequestId, JsonBody, MinEpoch, PathId, QueryParams, Shell, app, endpoint, settled, to_completion,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use validator::Validate;

#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Thing {
    #[validate(length(min = 1, message = "must not be empty"))]
    name: String,
    #[serde(default)]
    #[validate(nested)]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Part {
    #[validate(range(max = 9, message = "at most 9"))]
    size: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    limit: Option<u32>,
}

async fn create(body: JsonBody<Thing>) -> HttpResponse {
    let total: u32 = body.0.parts.iter().map(|part| part.size).sum();
    HttpResponse::Created().json(json!({"name": body.0.name, "total": total}))
}

async fn list(query: QueryParams<Filter>, epoch: MinEpoch, id: CurrentRequestId) -> HttpResponse {
    let epoch = match epoch.get() {
        Ok(epoch) => json!(epoch),
        Err(_) => json!("malformed"),
    };
    HttpResponse::Ok().json(json!({"limit": query.0.limit, "epoch": epoch, "id": id.0.as_str()}))
}

async fn policy(_zone: PathId<ZoneId>, _policy: PathId<PolicyId>) -> HttpResponse {
    HttpResponse::Ok().finish()
}

fn shell() -> Shell {
    let clock = FixedClock(chrono::DateTime::from_timestamp(1_790_000_000, 0).expect("in range"));
    Shell::new(Arc::new(clock), Arc::new(AtomicUsize::new(0)), |_, _, _, _| {})
}

async fn answer(request: TestRequest) -> (StatusCode, Value, ServiceResponse<()>) {
    let service = init_service(app(&shell(), |config| {
        config
            .service(endpoint("/things").get(list).post(create))
            .service(endpoint("/v1/zones/{zone_id}/policies/{id}").get(policy));
    }))
    .await;
    let response = call_service(&service, request.to_request()).await;
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let bytes = to_bytes(body).await.map_err(|_| ()).expect("a body");
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (head.status(), json, ServiceResponse::new(request, head))
}

fn post(body: &str) -> TestRequest {
    TestRequest::post()
        .uri("/things")
        .insert_header(("content-type", "application/json"))
        .set_payload(body.to_owned())
}

#[actix_web::test]
async fn a_request_id_is_accepted_or_minted_and_always_shown() {
    let ask = |id: &str| {
        TestRequest::get()
            .uri("/things")
            .insert_header(("X-Request-Id", id))
    };
    let (_, body, response) = answer(ask("abc.DEF_1:2-3")).await;
    assert_eq!(body["id"], "abc.DEF_1:2-3");
    assert_eq!(
        response.headers().get("x-request-id").expect("shown"),
        "abc.DEF_1:2-3"
    );

    for bad in ["has blank", &"x".repeat(129), "semi;colon", ""] {
        let (_, body, response) = answer(ask(bad)).await;
        let minted = body["id"].as_str().expect("a text").to_owned();
        assert_eq!(
            minted
                .parse::<ZoneId>()
                .expect("an id")
                .as_uuid()
                .get_version_num(),
            7
        );
        assert_eq!(
            response.headers().get("x-request-id").expect("shown"),
            minted.as_str()
        );
    }
    let (status, _, response) = answer(TestRequest::get().uri("/nowhere")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(response.headers().contains_key("x-request-id"));
}

#[actix_web::test]
async fn unknown_routes_and_wrong_methods_have_the_envelope() {
    let (status, body, _) = answer(TestRequest::get().uri("/nowhere")).await;
    assert_eq!(
        (status, body),
        (StatusCode::NOT_FOUND, json!({"error": "not_found"}))
    );

    let (status, body, response) = answer(TestRequest::delete().uri("/things")).await;
    assert_eq!(
        (status, body),
        (
            StatusCode::METHOD_NOT_ALLOWED,
            json!({"error": "method_not_allowed"})
        )
    );
    assert_eq!(
        response.headers().get("allow").expect("an Allow"),
        "GET, HEAD, POST"
    );
}

#[actix_web::test]
async fn a_body_is_strict_and_says_where_it_is_wrong() {
    assert_eq!(
        answer(post(r#"{"name":"a","parts":[{"size":3}]}"#)).await.0,
        StatusCode::CREATED
    );
    let cases: [(&str, Value); 11] = [
        ("{", json!([])),
        ("", json!([])),
        ("[]trailing", json!([])),
        (r#"{"name":"a","surprise":1}"#, json!(["surprise"])),
        (r#"{"name":7}"#, json!(["name"])),
        (
            r#"{"name":"a","parts":[{"size":1},{"size":"x"}]}"#,
            json!(["parts", 1, "size"]),
        ),
        (
            r#"{"name":"a","parts":[{"size":10}]}"#,
            json!(["parts", 0, "size"]),
        ),
        (r#"{"name":"a\u0000"}"#, json!([])),
        (r#"{"parts":[]}"#, json!(["name"])),
        (r#"{"name":"a","name":"b"}"#, json!(["name"])),
        (r#"{"name":"a","parts":[{}]}"#, json!(["parts", 0, "size"])),
    ];
    for (text, path) in cases {
        let (status, body, _) = answer(post(text)).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_body")),
            "{text}"
        );
        assert_eq!(body["issues"][0]["path"], path, "{text}: {body}");
        let message = body["issues"][0]["message"].as_str().expect("a text");
        assert!(!message.contains(" at line "), "{message}");
    }
    let (_, body, _) = answer(post(r#"{"name":"a","parts":[7]}"#)).await;
    assert_eq!(
        body["issues"][0]["message"],
        "invalid type: integer `7`, expected an object"
    );
    let (_, body, _) = answer(post("{\"name\": \"a\",\n oops")).await;
    assert_eq!(
        (&body["issues"][0]["line"], &body["issues"][0]["column"]),
        (&json!(2), &json!(2)),
        "{body}"
    );
}

#[actix_web::test]
async fn other_media_types_and_large_bodies_are_refused() {
    let plain = TestRequest::post()
        .uri("/things")
        .insert_header(("content-type", "text/plain"))
        .set_payload("{}");
    let (status, body, _) = answer(plain).await;
    assert_eq!(
        (status, body["error"].as_str()),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("unsupported_media_type"))
    );
    let typed = |media_type: &'static str| {
        let request = TestRequest::post().uri("/things");
        request
            .insert_header(("content-type", media_type))
            .set_payload(r#"{"name":"a"}"#)
    };
    for (media_type, status) in [
        ("application/json; charset=UTF-8", StatusCode::CREATED),
        ("application/json;charset=\"utf-8\"", StatusCode::CREATED),
        (
            "application/json; charset=latin1",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            "application/json; a=b; charset=utf-16",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
    ] {
        assert_eq!(answer(typed(media_type)).await.0, status, "{media_type}");
    }
    let (status, body, _) = answer(TestRequest::post().uri("/things")).await;
    assert_eq!(
        (status, body["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_body")),
        "no body at all"
    );
    let (status, body, _) = answer(post(&format!(r#"{{"name":"{}"}}"#, "x".repeat(1024 * 1024)))).await;
    assert_eq!(
        (status, body["error"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("payload_too_large"))
    );
}

#[actix_web::test]
async fn a_query_is_strict() {
    assert_eq!(
        answer(TestRequest::get().uri("/things?limit=7")).await.1["limit"],
        7
    );
    for query in ["limit=x", "limit=1&limit=2", "other=1", "limit=%00"] {
        let (status, body, _) = answer(TestRequest::get().uri(&format!("/things?{query}"))).await;
        assert_eq!(
            (status, body["error"].as_str()),
            (StatusCode::BAD_REQUEST, Some("invalid_query")),
            "{query}"
        );
    }
}

#[actix_web::test]
async fn a_malformed_id_is_that_objects_404() {
    let zone = "0198c0de-0000-7000-8000-000000000001";
    assert_eq!(
        answer(TestRequest::get().uri(&format!("/v1/zones/{zone}/policies/{zone}")))
            .await
            .0,
        StatusCode::OK
    );
    let (status, body, _) = answer(TestRequest::get().uri(&format!("/v1/zones/x/policies/{zone}"))).await;
    assert_eq!(
        (status, body["error"].as_str()),
        (StatusCode::NOT_FOUND, Some("zone_not_found"))
    );
    let (status, body, _) = answer(TestRequest::get().uri(&format!("/v1/zones/{zone}/policies/x"))).await;
    assert_eq!(
        (status, body["error"].as_str()),
        (StatusCode::NOT_FOUND, Some("policy_not_found"))
    );
}

#[actix_web::test]
async fn the_least_epoch_is_read_from_its_header() {
    let ask = |value: &'static str| {
        TestRequest::get()
            .uri("/things")
            .insert_header(("Caracal-Min-Epoch", value))
    };
    assert_eq!(
        answer(TestRequest::get().uri("/things")).await.1["epoch"],
        Value::Null
    );
    assert_eq!(answer(ask("42")).await.1["epoch"], 42);
    for bad in ["-1", "x", "1.5", "99999999999999999999"] {
        assert_eq!(answer(ask(bad)).await.1["epoch"], "malformed", "{bad}");
    }
}

#[actix_web::test]
async fn answers_are_observed_by_their_pattern_and_counted_until_the_body_ends() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let in_flight = Arc::new(AtomicUsize::new(0));
    let clock = FixedClock(chrono::DateTime::from_timestamp(1_790_000_000, 0).expect("in range"));
    let log = Arc::clone(&seen);
    let shell = Shell::new(
        Arc::new(clock),
        Arc::clone(&in_flight),
        move |method, route, status, _| {
            log.lock()
                .expect("no panic")
                .push(format!("{method} {route} {status}"));
        },
    );
    let service = init_service(app(&shell, |config| {
        config.service(endpoint("/v1/zones/{zone_id}/policies/{id}").get(policy));
    }))
    .await;
    let response = call_service(
        &service,
        TestRequest::get().uri("/v1/zones/x/policies/y").to_request(),
    )
    .await;
    assert_eq!(in_flight.load(Ordering::SeqCst), 1, "the body is not sent yet");
    drop(response);
    assert_eq!(in_flight.load(Ordering::SeqCst), 0);
    assert_eq!(
        *seen.lock().expect("no panic"),
        ["GET /v1/zones/{zone_id}/policies/{id} 404"]
    );
}

#[actix_web::test]
async fn work_completes_when_its_caller_is_dropped() {
    let done = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&done);
    let work = to_completion(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        mark.store(true, Ordering::SeqCst);
    });
    tokio::time::timeout(Duration::from_millis(5), work)
        .await
        .expect_err("dropped half way");
    assert!(!done.load(Ordering::SeqCst));
    settled(Duration::from_secs(2)).await;
    assert!(done.load(Ordering::SeqCst));
}
