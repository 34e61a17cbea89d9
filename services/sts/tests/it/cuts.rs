//! Agents and delegations end what runs under them, at the gateway (contract §4); the other anchors are in its own tests.

use crate::hands::{Hands, bounds, second};
use caracal_testkit::stack::Service;
use caracal_testkit::{Stack, World, client};
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

#[tokio::test]
async fn an_edge_and_an_agent_end_what_runs_under_them() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let hands = Hands::of(&stack, &world);
    let body = json!({"identifier": "resource://stalling", "scopes": ["orders:read"], "upstream_url": stalling().await});
    let made = stack.admin().post(&world.path("resources"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
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
        let mut running = client()
            .get(format!("{}/events", stack.url(Service::Gateway, 0)))
            .bearer_auth(minted.member("access_token"))
            .header("X-Caracal-Resource", "resource://stalling")
            .header("Caracal-Min-Epoch", made.epoch())
            .send()
            .await
            .expect("an answer");
        assert_eq!(running.status().as_u16(), 200);
        let begun = running.chunk().await.expect("it is open");
        assert_eq!(begun.as_deref(), Some(&b"begun"[..]));
        if by_agent {
            hands.terminate_agent(agent).await;
        } else {
            hands.revoke_edge(edge.id).await;
        }
        let ended = Instant::now();
        let rest = tokio::time::timeout(BOUND, running.chunk())
            .await
            .expect("an end in time");
        assert!(rest.is_err(), "by_agent {by_agent}: it looks complete: {rest:?}");
        println!("by_agent {by_agent}: cut after {:?}", ended.elapsed());
    }
}
