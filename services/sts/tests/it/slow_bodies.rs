//! Bodies: how long they may take, and exactly how large they may be (contract §2).

use crate::hands::text;
use caracal_testkit::settings::GATEWAY_STS_KEY;
use caracal_testkit::{Answer, Service, Stack, World, eventually};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a head, then a byte of its body twice a second; what came back, and after how long.
async fn dripped(stack: &Stack, path: &str, headers: &str) -> (String, Duration) {
    let address = stack.url(Service::Sts, 0);
    let address = address.strip_prefix("http://").expect("a plain address");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: 1000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let started = Instant::now();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            read = reading.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(n) => answer.extend_from_slice(buffer.get(..n).expect("read")),
            },
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                if writing.write_all(b"a").await.is_err() || started.elapsed() > Duration::from_secs(25) {
                    break;
                }
            }
        }
    }
    (String::from_utf8(answer).expect("text"), started.elapsed())
}

#[tokio::test]
async fn a_body_that_drips_is_not_waited_for() {
    let stack = Stack::start().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let gateway = format!("Content-Type: application/json\r\nAuthorization: Bearer {GATEWAY_STS_KEY}\r\n");
    let zone = "/zones/0198c0de-0000-7000-8000-000000000000/oauth/2/token";
    let answers = futures::future::join_all(vec![
        dripped(&stack, "/oauth/2/token", form),
        dripped(&stack, zone, form),
        dripped(&stack, "/oauth/2/introspect", form),
        dripped(&stack, "/oauth/2/revoke", form),
        dripped(&stack, "/internal/directives", &gateway),
        dripped(&stack, "/internal/credentials", &gateway),
    ])
    .await;
    for (answer, took) in answers {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?} after {took:?}");
        assert!(answer.contains("\"reason\":\"body_timeout\""), "{answer}");
        assert!(
            (Duration::from_secs(9)..Duration::from_secs(15)).contains(&took),
            "{took:?}"
        );
    }
}

/// A token request of exactly so many bytes.
async fn of_size(world: &World, stack: &Stack, bytes: usize) -> Answer {
    let body = format!(
        "application_id={}&client_secret={}&filling=",
        world.application_id, world.client_secret
    );
    let body = format!("{body}{}", "a".repeat(bytes - body.len()));
    let fill = |request: reqwest::RequestBuilder| {
        let form = "application/x-www-form-urlencoded; charset=UTF-8";
        request.header("Content-Type", form).body(body)
    };
    let sent = stack.sts(0).send(Method::POST, "/oauth/2/token", fill).await;
    sent.expect("an answer")
}

#[tokio::test]
async fn a_form_may_be_64_kib_and_not_a_byte_more() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let most = of_size(&world, &stack, 65_536).await;
    assert_eq!(most.status, 200, "{}", most.text);
    let over = of_size(&world, &stack, 65_537).await;
    let got = (over.status, over.member("error"), over.member("reason"));
    assert_eq!(
        got,
        (413, "invalid_request", "payload_too_large"),
        "{}",
        over.text
    );
}

#[tokio::test]
async fn no_token_is_issued_that_its_verifiers_would_refuse_for_its_size() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let names: Vec<String> = (0..8)
        .map(|n| format!("resource://{n}/{}", "x".repeat(900)))
        .collect();
    for name in &names {
        let body = json!({"identifier": name, "scopes": ["orders:read"]});
        let made = stack.admin().post(&world.path("resources"), &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let ask = async |id: &str, subject: Option<&str>, count: usize| {
        let mut fields = vec![("scope", "orders:read")];
        fields.extend(subject.map(|token| ("subject_token", token)));
        fields.extend(names.iter().take(count).map(|name| ("resource", name.as_str())));
        world.token(&stack.sts(0).with("X-Request-Id", id), &fields).await
    };
    let sessions = async || stack.database().count("SELECT count(*) FROM sessions").await;
    let before = sessions().await;
    // A mandate names its targets twice, a session once.
    for (id, subject, count) in [
        ("large-mandate", Some(session.as_str()), 4),
        ("large-session", None, 8),
    ] {
        let answer = ask(id, subject, count).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(
            got,
            (400, "invalid_request", "token_too_large"),
            "{}",
            answer.text
        );
        let recorded = eventually("the refusal", Duration::from_secs(10), || async {
            let events = world.events(id).await;
            (events.len() >= count).then_some(events)
        })
        .await;
        let named: std::collections::BTreeSet<String> = recorded
            .iter()
            .filter(|event| event["decision"] == "deny" && event["reason"] == "token_too_large")
            .map(|event| text(&event["metadata_json"], "resource"))
            .collect();
        let asked = names.iter().take(count).cloned().collect();
        assert_eq!(named, asked, "one for each resource: {recorded:?}");
        assert_eq!(recorded.len(), count);
    }
    assert_eq!(sessions().await, before, "nothing is left behind");
    let small = ask("small-mandate", Some(&session), 2).await.expect(200);
    let token = text(&small, "access_token");
    let form = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", &token),
    ];
    let told = sts.form("/oauth/2/introspect", &form).await.expect(200);
    assert_eq!(told["active"], json!(true));

    let large = format!("{session}{}", "A".repeat(8 * 1024));
    let answer = world.mandate(&sts, &large, "orders:read").await;
    let got = (answer.status, answer.member("reason"));
    assert_eq!(got, (400, "subject_token_invalid"), "{}", answer.text);
}
