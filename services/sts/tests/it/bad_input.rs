//! Everything malformed: refused with the contract's own words, never a 500, never a token.

use crate::discovery::has_the_shape;
use caracal_testkit::{Stack, World};
use reqwest::Method;

#[tokio::test]
async fn the_form_must_be_a_form() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let form = "application/x-www-form-urlencoded";
    let huge = format!("scope={}", "a".repeat(70_000));
    let cases: [(&str, &str, &str, u16, &str); 9] = [
        (
            "/oauth/2/token",
            "application/json",
            "{}",
            415,
            "unsupported_media_type",
        ),
        ("/oauth/2/token", "", "a=b", 415, "unsupported_media_type"),
        ("/oauth/2/token", form, &huge, 413, "payload_too_large"),
        ("/oauth/2/token?zone_id=x", form, "a=b", 400, "query_not_allowed"),
        ("/oauth/2/token", form, "scope=%ff", 400, "malformed_form"),
        ("/oauth/2/token", form, "foo=%zz", 400, "malformed_form"),
        ("/oauth/2/introspect", form, "token=%2", 400, "malformed_form"),
        ("/oauth/2/token", form, "zone_id=1", 400, "malformed_id"),
        ("/zones/zone/oauth/2/token", form, "a=b", 400, "malformed_id"),
    ];
    for (path, media_type, body, status, reason) in cases {
        let fill = |request: reqwest::RequestBuilder| {
            let request = request.body(body.to_owned());
            if media_type.is_empty() {
                request
            } else {
                request.header("Content-Type", media_type)
            }
        };
        let answer = sts.send(Method::POST, path, fill).await.expect("an answer");
        assert_eq!(
            (answer.status, answer.member("reason")),
            (status, reason),
            "{path} {media_type}: {}",
            answer.text
        );
        assert_eq!(
            (answer.member("error"), answer.header("Cache-Control")),
            ("invalid_request", "no-store")
        );
    }
    drop(world);
}

/// The fields, and the status, error and reason they get.
type BadFields<'a> = (&'a [(&'a str, &'a str)], u16, &'static str, &'static str);

#[tokio::test]
async fn every_bad_field_has_its_own_reason() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let resource = world.resource.as_str();
    let cases: [BadFields<'_>; 12] = [
        (
            &[("scope", "a"), ("scope", "b")],
            400,
            "invalid_request",
            "repeated_parameter",
        ),
        (&[("ttl_seconds", "0")], 400, "invalid_request", "invalid_ttl"),
        (&[("ttl_seconds", "-5")], 400, "invalid_request", "invalid_ttl"),
        (&[("ttl_seconds", "1e3")], 400, "invalid_request", "invalid_ttl"),
        (
            &[("subject_token", &session)],
            400,
            "invalid_request",
            "missing_resource",
        ),
        (
            &[
                ("subject_token", &session),
                ("resource", resource),
                ("scope", "A B"),
            ],
            400,
            "invalid_scope",
            "scope_exceeds_resource",
        ),
        (
            &[("subject_token", "x"), ("resource", resource)],
            400,
            "invalid_grant",
            "subject_token_invalid",
        ),
        (
            &[("subject_token", "a.b.c"), ("resource", resource)],
            400,
            "invalid_grant",
            "subject_token_invalid",
        ),
        (
            &[("requested_token_type", "urn:x")],
            400,
            "invalid_request",
            "unsupported_token_type",
        ),
        (
            &[("delegation_edge_id", "x")],
            400,
            "invalid_request",
            "malformed_id",
        ),
        (&[("method", "GET")], 400, "invalid_request", "not_supported"),
        (
            &[("resource", "caf\u{e9}")],
            400,
            "invalid_request",
            "malformed_form",
        ),
    ];
    for (fields, status, error, reason) in cases {
        let answer = world.token(&sts, fields).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(got, (status, error, reason), "{fields:?}: {}", answer.text);
    }
    let grant = [("grant_type", "password")];
    assert_eq!(
        sts.form("/oauth/2/token", &grant).await.member("error"),
        "unsupported_grant_type"
    );
}

#[tokio::test]
async fn a_tampered_session_token_is_no_session() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let (head, signature) = session.rsplit_once('.').expect("a compact JWS");
    let flipped: String = signature.chars().rev().collect();
    for token in [
        format!("{head}.{flipped}"),
        format!("{head}."),
        format!("{session}="),
        format!("{session}.x"),
        session.chars().take(session.len() / 2).collect(),
        format!(" {session}"),
    ] {
        let answer = world.mandate(&sts, &token, "orders:read").await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (400, "invalid_grant"),
            "{}",
            answer.text
        );
    }
    assert_eq!(world.mandate(&sts, &session, "orders:read").await.status, 200);
}

#[tokio::test]
async fn unknown_routes_and_methods_have_the_envelope() {
    let stack = Stack::start().await;
    let sts = stack.sts(0);
    let missing = sts.get("/oauth/3/token").await;
    assert_eq!((missing.status, missing.member("error")), (404, "not_found"));
    has_the_shape(&missing);
    for path in [
        "/step-up/x",
        "/step-up/0198c0de-0000-7000-8000-000000000000",
        "/step-up/0198c0de-0000-7000-8000-000000000000?wait=x",
        "/zones/x/oauth/2/authorize",
        "/internal/directives",
        "/zones/x/.well-known/openid-configuration",
    ] {
        let refused = sts.get(path).await;
        assert!((400..500).contains(&refused.status), "{path}: {}", refused.text);
        has_the_shape(&refused);
    }
    for path in ["/oauth/2/token", "/oauth/2/introspect", "/oauth/2/revoke"] {
        let wrong = sts.get(path).await;
        let got = (wrong.status, wrong.member("error"), wrong.member("reason"));
        assert_eq!(got, (405, "method_not_allowed", "method_not_allowed"), "{path}");
        assert_eq!(wrong.member("request_id"), wrong.header("X-Request-Id"));
        assert_eq!(
            (wrong.header("Allow"), wrong.header("Cache-Control")),
            ("POST", "no-store")
        );
        for method in [Method::HEAD, Method::PUT, Method::OPTIONS] {
            let wrong = sts.send(method.clone(), path, |request| request).await;
            let wrong = wrong.expect("an answer");
            assert_eq!(
                (wrong.status, wrong.header("Allow")),
                (405, "POST"),
                "{method} {path}"
            );
        }
    }
    let keys = sts
        .send(Method::DELETE, "/.well-known/jwks.json", |request| request)
        .await;
    let keys = keys.expect("an answer");
    assert_eq!(
        (keys.status, keys.header("Allow")),
        (405, "GET, HEAD"),
        "{}",
        keys.text
    );
    has_the_shape(&keys);
}
