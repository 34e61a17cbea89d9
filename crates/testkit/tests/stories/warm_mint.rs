//! A warm mint asks PostgreSQL nothing (issue 2, "Speed and size"), neither an application's own nor one that a gateway
//! asks for, for a call of the application's.

use caracal_testkit::{Answer, Client, Stack, World};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Longer than any task in the background of the STS rests between two queries.
const IDLE: Duration = Duration::from_secs(12);
const MINTS: usize = 300;
const CALLS: usize = 100;
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Everything the STS and the gateway had PostgreSQL execute.
fn executed(stack: &Stack) -> BTreeMap<String, u64> {
    let mut all = stack.postgres().statements("caracal-sts");
    for (text, times) in stack.postgres().statements("caracal-gateway") {
        *all.entry(text).or_default() += times;
    }
    all
}

/// What was executed since.
fn since(stack: &Stack, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let now = executed(stack).into_iter().map(|(text, times)| {
        let times = times - before.get(&text).copied().unwrap_or_default();
        (text, times)
    });
    now.filter(|(_, times)| *times > 0).collect()
}

async fn mint(world: &World, sts: &Client, session: &str, resources: &[&str]) -> Answer {
    let mut fields = vec![
        ("subject_token", session),
        ("subject_token_type", ACCESS_TOKEN),
        ("scope", "orders:read"),
    ];
    fields.extend(resources.iter().map(|resource| ("resource", *resource)));
    let minted = world.token(sts, &fields).await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    minted
}

#[tokio::test]
async fn warm_mints_and_governed_calls_execute_no_statement() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let other = "resource://other-book";
    let body = json!({"identifier": other, "scopes": ["orders:read"], "upstream_url": world.upstream.url()});
    let made = stack.admin().post(&world.path("resources"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);

    let sts = stack.sts(0);
    let warming = sts.clone().with("Caracal-Min-Epoch", &made.epoch());
    let session = world.session(&warming).await;
    for resources in [
        &[world.resource.as_str()][..],
        &[other],
        &[&world.resource, other],
    ] {
        mint(&world, &warming, &session, resources).await;
    }
    // With a session token the gateway has a mandate made for each call: method, path and all.
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    let warm = agent.clone().with("Caracal-Min-Epoch", &made.epoch());
    assert_eq!(warm.get("/orders").await.status, 200);
    assert!(
        executed(&stack).keys().any(|text| text.contains("zones")),
        "the proxy hears what the STS asks: {:#?}",
        executed(&stack)
    );

    let before = executed(&stack);
    tokio::time::sleep(IDLE).await;
    let idle = since(&stack, &before);

    let before = executed(&stack);
    let started = Instant::now();
    for number in 0..MINTS {
        let both = [world.resource.as_str(), other];
        let resources = if number % 3 == 0 { &both[..] } else { &both[..1] };
        mint(&world, &sts, &session, resources).await;
    }
    for number in 0..CALLS {
        let called = agent.get(&format!("/orders?page={number}")).await;
        assert_eq!(called.status, 200, "{}", called.text);
    }
    let took = started.elapsed();
    let minting = since(&stack, &before);
    println!(
        "{MINTS} mints and {CALLS} calls in {took:?}; idle for {IDLE:?}: {idle:#?}; while minting: {minting:#?}"
    );

    assert!(took < IDLE, "the two intervals cannot be compared: {took:?}");
    for (text, times) in &minting {
        // A record that JetStream did not take in time lies in the spool: the machine was slow, not the mint unwarm.
        let background = if text.contains("event_spool") {
            u64::try_from((MINTS + CALLS) / 10).expect("a small number")
        } else {
            idle.get(text).copied().unwrap_or_default()
        };
        assert!(
            *times <= background,
            "{times} times while minting, {background} while idle: {text}"
        );
    }
}
