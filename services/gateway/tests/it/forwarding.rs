//! What reaches the upstream, and what comes back.

use crate::place::Place;
use crate::upstreams::{Manner, Plain};
use serde_json::json;

const PLAIN_ANSWER: &str = "HTTP/1.1 201 Created\r\nServer: secret\r\nX-Powered-By: magic\r\nSet-Cookie: a=b\r\nAlt-Svc: h3\r\n\
                            X-Caracal-Zone: no\r\nConnection: close, X-Private\r\nX-Private: 1\r\nX-Public: 2\r\nETag: \"e\"\r\n\
                            Content-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn headers_pass_by_the_list_and_the_mandate_only_in_its_own_mode() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Says(PLAIN_ANSWER)).await;
    let own = place
        .resource("own", &upstream.url, &json!({"forward_headers": ["X-Tenant"]}))
        .await;
    let none = place
        .resource("none", &upstream.url, &json!({"auth_mode": "none"}))
        .await;
    let answer = place
        .agent(&own)
        .await
        .with("X-Tenant", "7")
        .with("X-Other", "no")
        .with("Cookie", "a=b")
        .with("X-Forwarded-For", "203.0.113.9")
        .with("If-Match", "\"x\"")
        .with("X-Request-Id", "forward-1")
        .get("/%61/b?q=1&q=2")
        .await;
    assert_eq!((answer.status, answer.text.as_str()), (201, "hello"));
    assert_eq!(
        (
            answer.header("etag"),
            answer.header("x-public"),
            answer.header("x-request-id")
        ),
        ("\"e\"", "2", "forward-1")
    );
    for dropped in [
        "server",
        "x-powered-by",
        "set-cookie",
        "alt-svc",
        "x-caracal-zone",
        "x-private",
    ] {
        assert!(!answer.headers.contains_key(dropped), "{dropped}");
    }
    let head = upstream.heard().pop().expect("it was heard").to_ascii_lowercase();
    assert!(head.starts_with("get /a/b?q=1&q=2 http/1.1\r\n"), "{head}");
    for line in [
        "x-tenant: 7",
        "x-forwarded-for: 127.0.0.1",
        "if-match: \"x\"",
        "x-request-id: forward-1",
        "authorization: bearer ey",
    ] {
        assert!(head.contains(&format!("\r\n{line}")), "{line} in {head}");
    }
    for gone in ["x-other", "cookie", "203.0.113.9", "x-caracal-resource"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    place.agent(&none).await.get("/").await;
    let head = upstream.heard().pop().expect("it was heard").to_ascii_lowercase();
    assert!(!head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn a_key_in_the_query_replaces_the_callers() {
    let place = Place::new().await;
    let upstream = Plain::start(Manner::Says(PLAIN_ANSWER)).await;
    let provider = place
        .provider(&json!({"location": "query", "name": "api_key"}), "the real one")
        .await;
    let base = format!("{}/base", upstream.url);
    let resource = place
        .resource("keyed", &base, &json!({"credential_provider_id": provider}))
        .await;
    let answer = place
        .agent(&resource)
        .await
        .get("/x?api_key=mine&%61PI_KEY=mine&y=1")
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let head = upstream.heard().pop().expect("it was heard");
    assert!(
        head.starts_with("GET /base/x?y=1&api_key=the%20real%20one HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(!head.to_ascii_lowercase().contains("authorization"), "{head}");
}

#[tokio::test]
async fn what_is_wrong_with_the_upstream_is_told_apart() {
    let place = Place::new().await;
    let provider = place.provider(&json!({}), "k").await;
    let refusing = Plain::start(Manner::Says(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    ))
    .await;
    let keyed = json!({"credential_provider_id": provider});
    let hanging = Plain::start(Manner::Hangs).await;
    let broken = Plain::start(Manner::Says("nonsense\r\n\r\n")).await;
    for (name, url, more, status, error, reason) in [
        (
            "refusing",
            refusing.url.as_str(),
            &keyed,
            502,
            "bad_gateway",
            "upstream_credential_rejected",
        ),
        (
            "hanging",
            hanging.url.as_str(),
            &json!({}),
            504,
            "gateway_timeout",
            "upstream_timeout",
        ),
        (
            "broken",
            broken.url.as_str(),
            &json!({}),
            502,
            "bad_gateway",
            "upstream_unreachable",
        ),
        (
            "closed",
            "http://127.0.0.1:9",
            &json!({}),
            502,
            "bad_gateway",
            "upstream_unreachable",
        ),
    ] {
        let resource = place.resource(name, url, more).await;
        let answer = place.agent(&resource).await.get("/").await;
        let seen = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(seen, (status, error, reason), "{name}: {}", answer.text);
        assert!(answer.header("WWW-Authenticate").is_empty(), "{name}");
    }
    let own = place.resource("own-401", &refusing.url, &json!({})).await;
    assert_eq!(
        place.agent(&own).await.get("/").await.status,
        401,
        "without a provider it is the upstream's own answer"
    );
}

#[tokio::test]
async fn redirects_and_empty_answers_pass_as_they_are() {
    let place = Place::new().await;
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let unchanged = "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nConnection: close\r\n\r\n";
    for (name, text, status) in [("moved", moved, 302), ("unchanged", unchanged, 304)] {
        let upstream = Plain::start(Manner::Says(text)).await;
        let resource = place.resource(name, &upstream.url, &json!({})).await;
        let answer = place.agent(&resource).await.get("/").await;
        assert_eq!((answer.status, answer.text.as_str()), (status, ""), "{name}");
    }
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nConnection: close\r\n\r\n";
    let upstream = Plain::start(Manner::Says(length)).await;
    let resource = place.resource("head", &upstream.url, &json!({})).await;
    let head = place
        .agent(&resource)
        .await
        .send(reqwest::Method::HEAD, "/", |request| request)
        .await
        .expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, "1234"));
}
