//! A mandate passes once, whatever is done with it.

use caracal_testkit::stack::Service;
use caracal_testkit::{Stack, World};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn of_many_simultaneous_uses_at_two_gateways_exactly_one_passes() {
    let stack = Stack::builder().replicas(Service::Gateway, 2).start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    for round in 0..5 {
        let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
        let mandate = minted.member("access_token");
        let calls = (0..12).map(|number| {
            let id = format!("round-{round}-{number}");
            let agent = world
                .through(stack.gateway(number % 2), mandate)
                .with("X-Request-Id", &id);
            async move { agent.get("/orders").await }
        });
        let answers = join_all(calls).await;
        let passed = answers.iter().filter(|answer| answer.status == 200).count();
        let refused = answers
            .iter()
            .filter(|answer| answer.status == 401 && answer.member("reason") == "replay_detected");
        let shown: Vec<_> = answers
            .iter()
            .map(|answer| (answer.status, answer.member("reason")))
            .collect();
        assert_eq!((passed, refused.count()), (1, 11), "round {round}: {shown:?}");
        assert_eq!(world.upstream.seen().len(), round + 1);
    }
}

#[tokio::test]
async fn a_call_refused_before_its_record_does_not_use_the_mandate_up() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
    let mandate = minted.member("access_token");
    let nameless = stack.gateway(0).bearer(mandate).get("/orders").await;
    assert_eq!(
        (nameless.status, nameless.member("error")),
        (400, "invalid_request"),
        "{}",
        nameless.text
    );
    let foreign = stack
        .gateway(0)
        .bearer(mandate)
        .with("X-Caracal-Resource", "resource://other")
        .get("/orders")
        .await;
    assert_eq!(
        (foreign.status, foreign.member("error")),
        (403, "access_denied"),
        "{}",
        foreign.text
    );
    for path in ["/a/../orders", "/a/%2e%2E/orders", "/./orders", "/a/..%2forders"] {
        let status = raw(&stack.url(Service::Gateway, 0), path, mandate, &world.resource).await;
        assert!(status.starts_with("HTTP/1.1 400 "), "{path}: {status}");
    }
    assert!(world.upstream.seen().is_empty());
    let passed = world.through(stack.gateway(0), mandate).get("/orders").await;
    assert_eq!(passed.status, 200, "{}", passed.text);
}

/// A request whose path no client library has tidied up. Answers the status line.
async fn raw(base: &str, path: &str, mandate: &str, resource: &str) -> String {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("the gateway is there");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {mandate}\r\n\
         X-Caracal-Resource: {resource}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer.lines().next().unwrap_or_default().to_owned()
}
