//! RFC 7009: a client gives back what it holds.

use caracal_testkit::stack::Service;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Client, Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(2);

async fn revoke(world: &World, sts: &Client, token: &str) -> Answer {
    let form = [
        ("client_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", token),
        ("token_type_hint", "access_token"),
    ];
    sts.form("/oauth/2/revoke", &form).await
}

async fn active(world: &World, sts: &Client, token: &str) -> bool {
    let form = [
        ("client_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", token),
    ];
    let told = sts.form("/oauth/2/introspect", &form).await.expect(200);
    told.get("active") == Some(&json!(true))
}

#[tokio::test]
async fn where_it_is_given_back_a_token_has_ended_with_the_answer() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let mandate = world.mandate(&sts, &session, "orders:read").await;
    // Nobody else tells this replica of it.
    stack.freeze(Service::Relay, 0);
    for token in [mandate.member("access_token"), &session] {
        assert!(active(&world, &sts, token).await);
        let answer = revoke(&world, &sts, token).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!active(&world, &sts, token).await);
    }
    let refused = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(refused.member("reason"), "session_revoked", "{}", refused.text);
}

#[tokio::test]
async fn a_session_that_is_given_back_has_ended_everywhere_and_on_record() {
    let stack = Stack::builder().replicas(Service::Sts, 2).start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let mandate = world.mandate(&stack.sts(0), &session, "orders:read").await;
    let kept = world.session(&stack.sts(0)).await;
    let answer = revoke(&world, &stack.sts(0).with("X-Request-Id", "give-back"), &session).await;
    assert_eq!(
        (
            answer.status,
            answer.text.as_str(),
            answer.header("Cache-Control")
        ),
        (200, "", "no-store")
    );
    // Whoever asks for that epoch sees it ended at once, on any replica.
    let later = stack.sts(1).with("Caracal-Min-Epoch", &answer.epoch());
    assert_eq!(
        world
            .mandate(&later, &session, "orders:read")
            .await
            .member("reason"),
        "session_revoked"
    );
    assert!(!active(&world, &later, &session).await);
    assert!(
        !active(&world, &later, mandate.member("access_token")).await,
        "nor what came of it"
    );
    assert_eq!(world.mandate(&later, &kept, "orders:read").await.status, 200);
    let gateway = world.through(stack.gateway(0), mandate.member("access_token"));
    eventually("the gateway refuses", BOUND, || async {
        (gateway.get("/orders").await.member("error") == "invalid_token").then_some(())
    })
    .await;

    let sid = claims(&session)["sid"].clone();
    let rows = stack
        .admin()
        .get(&world.path("sessions?status=revoked"))
        .await
        .expect(200);
    assert_eq!(rows.pointer("/rows/0/id"), Some(&sid));
    let recorded = eventually("the record", Duration::from_secs(5), || async {
        world.events("give-back").await.into_iter().next()
    })
    .await;
    assert_eq!(
        (&recorded["event_type"], &recorded["decision"]),
        (&json!("session.revoked"), &json!("allow"))
    );
    assert_eq!(recorded["metadata_json"]["session_id"], sid);
    let again = revoke(&world, &later, &session).await;
    assert_eq!(
        (again.status, again.epoch()),
        (200, answer.epoch()),
        "again changes nothing"
    );
}

#[tokio::test]
async fn a_mandate_that_is_given_back_ends_alone() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let (gone, kept) = (
        world
            .mandate(&sts, &session, "orders:read")
            .await
            .member("access_token")
            .to_owned(),
        world
            .mandate(&sts, &session, "orders:read")
            .await
            .member("access_token")
            .to_owned(),
    );
    let answer = revoke(&world, &sts.clone().with("X-Request-Id", "unused"), &gone).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let gateway = world
        .through(stack.gateway(0), &gone)
        .with("Caracal-Min-Epoch", &answer.epoch());
    let refused = gateway.get("/orders").await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (401, "invalid_token"),
        "{}",
        refused.text
    );
    let sts = sts.with("Caracal-Min-Epoch", &answer.epoch());
    assert!(!active(&world, &sts, &gone).await && active(&world, &sts, &kept).await);
    assert_eq!(
        world.through(stack.gateway(0), &kept).get("/orders").await.status,
        200
    );
    assert_eq!(
        world.mandate(&sts, &session, "orders:read").await.status,
        200,
        "its session goes on"
    );
    let recorded = eventually("the record", Duration::from_secs(5), || async {
        world.events("unused").await.into_iter().next()
    })
    .await;
    assert_eq!(recorded["event_type"], "session.mandate_revoked");
    assert_eq!(recorded["metadata_json"]["jti"], claims(&gone)["jti"]);
}

#[tokio::test]
async fn what_is_not_the_callers_own_is_answered_alike_and_left_alone() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let body = json!({"name": "second", "registration_method": "managed", "credential_type": "token"});
    let made = stack
        .admin()
        .post(&world.path("applications"), &body)
        .await
        .expect(201);
    let text = |name: &str| made[name].as_str().expect("a text");
    let form = [
        ("client_id", text("id")),
        ("client_secret", text("client_secret")),
    ];
    let neighbour = sts
        .form("/oauth/2/token", &form)
        .await
        .member("access_token")
        .to_owned();
    let foreign = other.session(&sts).await;
    let query = format!("SELECT epoch FROM zones WHERE id = '{}'", world.zone_id);
    let before = stack.database().count(&query).await;
    for token in [
        neighbour.as_str(),
        &foreign,
        "x",
        "a.b.c",
        &format!("{neighbour}x"),
    ] {
        let answer = revoke(&world, &sts, token).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{token}");
    }
    assert_eq!(stack.database().count(&query).await, before, "nothing changed");
    assert_eq!(stack.database().count("SELECT count(*) FROM anchors").await, 0);
    assert_eq!(other.mandate(&sts, &foreign, "orders:read").await.status, 200);
}

/// The fields, and the status and error they get.
type BadClient<'a> = (&'a [(&'a str, &'a str)], u16, &'static str);

#[tokio::test]
async fn who_does_not_prove_itself_ends_nothing() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let id = world.application_id.as_str();
    let cases: [BadClient<'_>; 4] = [
        (&[("token", &session)], 401, "invalid_client"),
        (&[("token", &session), ("client_id", id)], 401, "invalid_client"),
        (
            &[("token", &session), ("client_id", id), ("client_secret", "guess")],
            401,
            "invalid_client",
        ),
        (
            &[("client_id", id), ("client_secret", &world.client_secret)],
            400,
            "invalid_request",
        ),
    ];
    for (form, status, error) in cases {
        let answer = sts.form("/oauth/2/revoke", form).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (status, error),
            "{}",
            answer.text
        );
    }
    let gateway = sts.clone().bearer(caracal_testkit::settings::GATEWAY_STS_KEY);
    let answer = gateway.form("/oauth/2/revoke", &[("token", &session)]).await;
    assert_eq!(
        (answer.status, answer.member("error")),
        (401, "invalid_client"),
        "{}",
        answer.text
    );
    let json = sts.post("/oauth/2/revoke", &Value::Null).await;
    assert_eq!(json.status, 415);
    assert_eq!(world.mandate(&sts, &session, "orders:read").await.status, 200);
}

#[tokio::test]
async fn without_its_store_a_revocation_is_refused_rather_than_forgotten() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    stack.postgres().cut();
    let answer = revoke(&world, &stack.sts(0), &session).await;
    assert_eq!(
        (answer.status, answer.member("error")),
        (503, "temporarily_unavailable"),
        "{}",
        answer.text
    );
    stack.postgres().restore();
    eventually("it can be given back again", Duration::from_secs(10), || async {
        (revoke(&world, &stack.sts(0), &session).await.status == 200).then_some(())
    })
    .await;
    eventually("and has ended", BOUND, || async {
        (world.mandate(&stack.sts(0), &session, "orders:read").await.status == 400).then_some(())
    })
    .await;
}
