//! A gateway that no longer hears what changes decides nothing by itself.

use crate::place::Place;
use crate::streams::{BOUND, ending, open, read_until, rest, revoke};
use crate::upstreams::{Manner, Plain};
use caracal_testkit::eventually;
use caracal_testkit::stack::Service;
use serde_json::json;
use std::time::{Duration, Instant};

/// Stops the heartbeat and waits until nobody can be fresh any more: each measures its own clock against PostgreSQL's, so
/// the gateway and the STS cross the bound some milliseconds apart.
async fn silence(place: &mut Place) {
    place.stack.freeze(Service::Relay, 0);
    for (who, metrics) in [
        ("a gateway", place.stack.gateway(0)),
        ("an STS", place.stack.sts(0)),
    ] {
        eventually(
            &format!("{who} that is behind"),
            Duration::from_secs(10),
            || async {
                let text = metrics.get("/metrics").await.text;
                let lag = text
                    .lines()
                    .find_map(|line| line.strip_prefix("caracal_feed_lag_seconds "))?;
                (lag.parse::<f64>().ok()? > BOUND.as_secs_f64()).then_some(())
            },
        )
        .await;
    }
}

#[tokio::test]
async fn behind_each_call_is_confirmed_and_a_revocation_holds_at_once() {
    let mut place = Place::new().await;
    let resource = place.order_book();
    let mandates = [
        place.mandate(&resource, "orders:read").await,
        place.mandate(&resource, "orders:read").await,
    ];
    let stalling = Plain::start(Manner::Stalls).await;
    let stream = place.resource("stalling", &stalling.url, &json!({})).await;
    let running = place.mandate(&stream, "orders:read").await;
    let mut connection = open(&place, &running, &stream, "behind-1", "").await;
    read_until(&mut connection, "data: 1").await;
    silence(&mut place).await;

    let [first, second] = &mandates;
    let confirmed = place.world.through(place.stack.gateway(0), first).get("/x").await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text);
    let revoked = revoke(&place).await;
    let refused = place
        .world
        .through(place.stack.gateway(0), second)
        .get("/x")
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (401, "invalid_token"),
        "{}",
        refused.text
    );
    let (_, took) = rest(&mut connection, revoked).await;
    assert!(took < BOUND, "the running exchange was cut after {took:?}");
    place.stack.thaw(Service::Relay, 0);
    assert_eq!(ending(&place, "behind-1").await["outcome"], "revoked");
}

#[tokio::test]
async fn behind_and_without_an_sts_nothing_passes_and_nothing_goes_on() {
    let mut place = Place::new().await;
    let resource = place.order_book();
    let mandate = place.mandate(&resource, "orders:read").await;
    let stalling = Plain::start(Manner::Stalls).await;
    let stream = place.resource("stalling", &stalling.url, &json!({})).await;
    let running = place.mandate(&stream, "orders:read").await;
    let mut connection = open(&place, &running, &stream, "alone-1", "").await;
    read_until(&mut connection, "data: 1").await;

    silence(&mut place).await;
    place.stack.kill9(Service::Sts, 0);
    let since = Instant::now();
    let refused = place
        .world
        .through(place.stack.gateway(0), &mandate)
        .get("/x")
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (503, "temporarily_unavailable"),
        "{}",
        refused.text
    );
    assert!(place.world.upstream.seen().is_empty());
    rest(&mut connection, since).await;
    place.stack.thaw(Service::Relay, 0);
    place.stack.restart(Service::Sts, 0).await;
    assert_eq!(ending(&place, "alone-1").await["outcome"], "unconfirmed");
    eventually(
        "a gateway that recovers without a hand",
        Duration::from_secs(10),
        || async {
            let answer = place
                .world
                .through(place.stack.gateway(0), &mandate)
                .get("/x")
                .await;
            (answer.status == 200).then_some(())
        },
    )
    .await;
}

/// More than are asked about at once.
const MANY: usize = 40;

#[tokio::test]
async fn behind_and_with_an_sts_that_hangs_every_exchange_still_ends_in_time() {
    let mut place = Place::new().await;
    let stalling = Plain::start(Manner::Stalls).await;
    let stream = place.resource("stalling", &stalling.url, &json!({})).await;
    let mut connections = Vec::new();
    for number in 0..MANY {
        let running = place.mandate(&stream, "orders:read").await;
        let mut connection = open(&place, &running, &stream, &format!("hung-{number}"), "").await;
        read_until(&mut connection, "data: 1").await;
        connections.push(connection);
    }
    place.stack.freeze(Service::Sts, 0);
    place.stack.freeze(Service::Relay, 0);
    let since = Instant::now();
    for connection in &mut connections {
        let (_, took) = rest(connection, since).await;
        assert!(took < BOUND + Duration::from_millis(1_500), "cut after {took:?}");
    }
    place.stack.thaw(Service::Sts, 0);
    place.stack.thaw(Service::Relay, 0);
    assert_eq!(ending(&place, "hung-0").await["outcome"], "unconfirmed");
}
