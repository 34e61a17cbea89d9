//! `kill -9` of each service under load: nothing is admitted without a record, nothing acknowledged is lost, and all
//! of it comes back without a hand.

use crate::load::{Load, reconcile};
use caracal_testkit::stack::Service;
use caracal_testkit::{Stack, World};
use std::time::Duration;

async fn survives(service: Service) {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let load = Load::start(&stack, &world, 1).await;
    load.flow(Duration::from_millis(700)).await;
    stack.kill9(service, 0);
    load.flow(Duration::from_millis(400)).await;
    stack.restart(service, 0).await;
    load.flow(Duration::from_millis(700)).await;
    let calls = load.stop().await;

    reconcile(&stack, &world, &calls).await;
    let last: Vec<_> = calls.iter().rev().take(1).map(|call| call.status).collect();
    assert!(calls.iter().any(|call| call.status == 200));
    let session = world.session(&stack.sts(0)).await;
    let after = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read")
        .get("/orders")
        .await;
    assert_eq!(
        after.status, 200,
        "calls go on by themselves (last under load: {last:?}): {}",
        after.text
    );
}

#[tokio::test]
async fn of_the_sts() {
    survives(Service::Sts).await;
}

#[tokio::test]
async fn of_the_gateway() {
    survives(Service::Gateway).await;
}

#[tokio::test]
async fn of_the_relay() {
    survives(Service::Relay).await;
}

#[tokio::test]
async fn of_the_ledger() {
    survives(Service::Audit).await;
}

#[tokio::test]
async fn of_the_control_plane() {
    survives(Service::Api).await;
}
