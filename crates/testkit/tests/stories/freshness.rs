//! A new policy reaches every replica: at once for whoever asks for its epoch, within the bound for everyone.

use crate::load::{Load, reconcile, tally};
use caracal_testkit::stack::Service;
use caracal_testkit::world::allowing;
use caracal_testkit::{Stack, World, eventually};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(2);

async fn pairs() -> Stack {
    let two = [Service::Relay, Service::Sts, Service::Gateway];
    two.into_iter()
        .fold(Stack::builder(), |builder, service| builder.replicas(service, 2))
        .start()
        .await
}

#[tokio::test]
async fn two_of_everything_switch_to_a_new_policy_within_the_bound() {
    let stack = pairs().await;
    let mut world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    for index in 0..2 {
        let sts = stack.sts(index).with("Caracal-Min-Epoch", &world.epoch);
        let minted = world.mandate(&sts, &session, "orders:write").await;
        assert_eq!(minted.status, 200, "STS {index}: {}", minted.text);
    }
    for round in 0..4 {
        let open = round % 2 == 1;
        let scopes: &[&str] = if open {
            &["orders:read", "orders:write"]
        } else {
            &["orders:read"]
        };
        let expected = if open { 200 } else { 403 };
        let epoch = world.adopt(&allowing(scopes)).await;
        let answered = Instant::now();
        for index in 0..2 {
            let asked = world
                .mandate(
                    &stack.sts(index).with("Caracal-Min-Epoch", &epoch),
                    &session,
                    "orders:write",
                )
                .await;
            assert_eq!(
                asked.status, expected,
                "STS {index} at epoch {epoch}: {}",
                asked.text
            );
            let gateway = world
                .through(stack.gateway(index), &session)
                .with("X-Caracal-Scope", "orders:write");
            eventually("a gateway that follows", BOUND, || async {
                (gateway.get("/orders").await.status == expected).then_some(())
            })
            .await;
        }
        println!(
            "round {round}: both STS and both gateways follow {:?} after the activation's answer",
            answered.elapsed()
        );
        assert!(answered.elapsed() < BOUND + BOUND);
    }
}

#[tokio::test]
async fn a_tightened_policy_is_activated_while_calls_flow_at_two_of_everything_and_none_fails() {
    let stack = pairs().await;
    let mut world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let load = Load::start(&stack, &world, 2).await;
    let (write, read) = ("orders:write", "orders:read");
    let call = async |world: &World, index: usize, scope: &str| {
        let agent = world
            .through(stack.gateway(index), &session)
            .with("X-Caracal-Scope", scope);
        agent.get("/orders").await
    };
    for scopes in [&[read][..], &[read, write][..], &[read][..]] {
        load.flow(Duration::from_millis(300)).await;
        world.adopt(&allowing(scopes)).await;
        let expected = if scopes.contains(&write) { 200 } else { 403 };
        for index in 0..2 {
            eventually("a gateway that follows", BOUND, || async {
                let answer = call(&world, index, write).await;
                assert!(matches!(answer.status, 200 | 403), "{}", answer.text);
                (answer.status == expected).then_some(())
            })
            .await;
        }
    }
    let calls = load.stop().await;
    assert!(calls.len() > 30, "{} calls", calls.len());
    assert!(calls.iter().all(|call| call.status == 200), "{:?}", tally(&calls));
    reconcile(&stack, &world, &calls).await;
}

#[tokio::test]
async fn an_epoch_that_does_not_exist_yet_is_refused() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let far: i64 = world.epoch.parse::<i64>().expect("an epoch") + 1_000_000;
    let ahead = world
        .mandate(
            &stack.sts(0).with("Caracal-Min-Epoch", &far.to_string()),
            &session,
            "orders:read",
        )
        .await;
    assert_eq!(
        (ahead.status, ahead.member("error")),
        (400, "invalid_request"),
        "{}",
        ahead.text
    );
    let nonsense = world
        .mandate(
            &stack.sts(0).with("Caracal-Min-Epoch", "soon"),
            &session,
            "orders:read",
        )
        .await;
    assert_eq!(
        (nonsense.status, nonsense.member("error")),
        (400, "invalid_request"),
        "{}",
        nonsense.text
    );
}

#[tokio::test]
async fn one_relay_of_two_is_enough_and_each_event_is_published_once() {
    let mut stack = pairs().await;
    let mut world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    stack.kill9(Service::Relay, 0);
    let epoch = world.adopt(&allowing(&["orders:read"])).await;
    for index in 0..2 {
        let denied = world
            .mandate(
                &stack.sts(index).with("Caracal-Min-Epoch", &epoch),
                &session,
                "orders:write",
            )
            .await;
        assert_eq!(denied.status, 403, "STS {index}: {}", denied.text);
    }
    stack.restart(Service::Relay, 0).await;
    world.adopt(&allowing(&["orders:read", "orders:write"])).await;
    eventually("an empty outbox", Duration::from_secs(10), || async {
        (stack
            .database()
            .count("SELECT count(*) FROM outbox WHERE published_at IS NULL")
            .await
            == 0)
            .then_some(())
    })
    .await;
    let rows = stack.database().count("SELECT count(*) FROM outbox").await;
    let context = async_nats::jetstream::new(stack.nats().connect().await);
    let mut stream = context.get_stream("CARACAL_FEED").await.expect("the feed");
    let beats = count(&context, "caracal.feed.heartbeat").await;
    let all = stream.info().await.expect("its state").state.messages;
    assert_eq!(
        i64::try_from(all - beats).expect("a count"),
        rows,
        "one message for each row of the outbox"
    );
}

/// How many messages of the feed have this subject.
async fn count(context: &async_nats::jetstream::Context, subject: &str) -> u64 {
    use futures::TryStreamExt;
    let stream = context.get_stream("CARACAL_FEED").await.expect("the feed");
    let subjects = stream.info_with_subjects(subject).await.expect("its subjects");
    subjects
        .try_collect::<Vec<_>>()
        .await
        .expect("its subjects")
        .into_iter()
        .map(|(_, n)| u64::try_from(n).unwrap_or(0))
        .sum()
}
