//! Agents, delegations and root sessions end what runs under them, at the gateway (contract §4); the other anchors are in
//! its own tests.

use crate::hands::{Hands, bounds, second};
use caracal_testkit::stack::Service;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Stack, World, client};
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const BOUND: Duration = Duration::from_secs(2);

/// An upstream that begins an answer and then says nothing for ever.
async fn stalling() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = connection.read(&mut head).await;
                let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n";
                let _ = connection.write_all(begun).await;
                std::future::pending::<()>().await;
            });
        }
    });
    url
}

/// The resource of the tests; its epoch.
async fn resource(stack: &Stack, world: &World) -> Answer {
    let body = json!({"identifier": "resource://stalling", "scopes": ["orders:read"], "upstream_url": stalling().await});
    let made = stack.admin().post(&world.path("resources"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made
}

/// A call that has begun and does not end by itself.
async fn running(stack: &Stack, mandate: &str, epoch: &str) -> reqwest::Response {
    let mut running = client()
        .get(format!("{}/events", stack.url(Service::Gateway, 0)))
        .bearer_auth(mandate)
        .header("X-Caracal-Resource", "resource://stalling")
        .header("Caracal-Min-Epoch", epoch)
        .send()
        .await
        .expect("an answer");
    assert_eq!(running.status().as_u16(), 200);
    let begun = running.chunk().await.expect("it is open");
    assert_eq!(begun.as_deref(), Some(&b"begun"[..]));
    running
}

/// It must end within the bound, and not as if it were complete. Answers how long that took.
async fn assert_cut(mut running: reqwest::Response, by: &str) -> Duration {
    let ended = Instant::now();
    let rest = tokio::time::timeout(BOUND, running.chunk())
        .await
        .expect("an end in time");
    assert!(rest.is_err(), "{by}: it looks complete: {rest:?}");
    ended.elapsed()
}

#[tokio::test]
async fn a_root_session_ends_what_runs_on_a_session_below_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let hands = Hands::of(&stack, &world);
    let made = resource(&stack, &world).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &made.epoch());
    let sid = |token: &str, name: &str| claims(token)[name].as_str().expect("an id").to_owned();
    let root = sid(&world.session(&sts).await, "sid");
    let hanging = Some(root.parse().expect("an id"));
    let agent = hands.agent_below(hanging, &world.application_id, 3600).await;
    let below = world
        .token(&sts, &[("agent_session_id", &agent.to_string())])
        .await;
    let below = below.member("access_token");
    let mandate = [
        ("subject_token", below),
        ("resource", "resource://stalling"),
        ("scope", "orders:read"),
    ];
    let mandate = world.token(&sts, &mandate).await;
    let mandate = mandate.member("access_token");
    assert_eq!(sid(mandate, "root_sid"), root);
    assert_ne!(sid(mandate, "sid"), root);
    let (running, other) = (
        running(&stack, mandate, &made.epoch()).await,
        world.session(&sts).await,
    );
    let epoch = hands.end_below(root.parse().expect("an id")).await;
    let took = assert_cut(running, "by its root session").await;
    println!("a root session's end cut it after {took:?}");
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let after = world.mandate(&sts, below, "orders:read").await;
    assert_eq!((after.status, after.member("reason")), (400, "session_revoked"));
    assert_eq!(world.mandate(&sts, &other, "orders:read").await.status, 200);
}

#[tokio::test]
async fn an_edge_and_an_agent_end_what_runs_under_them() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let hands = Hands::of(&stack, &world);
    let made = resource(&stack, &world).await;
    let receiver = second(&stack, &world, "receiver").await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &made.epoch());
    let session = receiver.token(&sts, &[]).await.member("access_token").to_owned();
    let root = hands.agent(&world.application_id, 3600).await;
    for by_agent in [false, true] {
        let agent = hands.agent(&receiver.id, 3600).await;
        let from = (root, world.application_id.as_str());
        let edge = hands
            .edge(from, (agent, &receiver.id), None, bounds("orders:read", 1))
            .await;
        let (agent_id, edge_id) = (agent.to_string(), edge.id.to_string());
        let fields = [
            ("subject_token", session.as_str()),
            ("agent_session_id", &agent_id),
            ("delegation_edge_id", &edge_id),
            ("resource", "resource://stalling"),
            ("scope", "orders:read"),
        ];
        let minted = receiver.token(&sts, &fields).await;
        assert_eq!(minted.status, 200, "{}", minted.text);
        let running = running(&stack, minted.member("access_token"), &made.epoch()).await;
        if by_agent {
            hands.terminate_agent(agent).await;
        } else {
            hands.revoke_edge(edge.id).await;
        }
        let by = if by_agent { "by its agent" } else { "by its edge" };
        let took = assert_cut(running, by).await;
        println!("{by}: cut after {took:?}");
    }
}
