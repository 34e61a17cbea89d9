//! Who acts for whom (RFC 8693 §4.1; contract §2).

use crate::hands::Hands;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Client, Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A second application of the zone: id, secret.
async fn second(stack: &Stack, world: &World) -> (String, String) {
    let body = json!({"name": "helper", "registration_method": "managed", "credential_type": "token"});
    let made = stack.admin().post(&world.path("applications"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    (
        made.member("id").to_owned(),
        made.member("client_secret").to_owned(),
    )
}

async fn session_of(sts: &Client, id: &str, secret: &str, ttl: &str) -> String {
    let form = [
        ("application_id", id),
        ("client_secret", secret),
        ("ttl_seconds", ttl),
    ];
    sts.form("/oauth/2/token", &form)
        .await
        .member("access_token")
        .to_owned()
}

async fn act(world: &World, sts: &Client, subject: &str, actor: &str) -> Answer {
    let fields = [
        ("subject_token", subject),
        ("actor_token", actor),
        ("actor_token_type", ACCESS_TOKEN),
        ("resource", world.resource.as_str()),
        ("scope", "orders:read"),
    ];
    world.token(sts, &fields).await
}

fn refusal(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.member("error"), answer.member("reason"))
}

#[tokio::test]
async fn an_actor_is_named_in_the_mandate_and_seen_by_policy() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let (id, secret) = second(&stack, &world).await;
    let rego = format!(
        r#"package caracal.authz

import rego.v1

result := {{"decision": "allow", "evaluation_status": "complete", "determining_policies": ["actor"], "diagnostics": []}} if {{
  input.context.actor_claims.sub == "{id}"
}}
"#
    );
    let epoch = world.adopt(&rego).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let subject = world.session(&sts).await;
    let actor = session_of(&sts, &id, &secret, "300").await;
    assert_eq!(
        world.mandate(&sts, &subject, "orders:read").await.status,
        403,
        "without the actor"
    );
    let minted = act(&world, &sts, &subject, &actor).await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let (mandate, acting) = (claims(minted.member("access_token")), claims(&actor));
    assert_eq!(
        (&mandate["sub"], &mandate["client_id"]),
        (&json!(world.application_id), &json!(world.application_id))
    );
    let expected = json!({
        "sub": id, "sub_type": "application", "client_id": id, "sid": acting["sid"], "root_sid": acting["root_sid"],
    });
    assert_eq!(mandate["act"], expected);
    assert!(
        mandate["exp"].as_i64() <= acting["exp"].as_i64(),
        "it does not outlive the actor's session"
    );
    // The gateway takes it as any mandate.
    let through = world
        .through(stack.gateway(0), minted.member("access_token"))
        .get("/orders")
        .await;
    assert_eq!(through.status, 200, "{}", through.text);
}

#[tokio::test]
async fn what_cannot_act_is_refused_each_for_its_reason() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let (id, secret) = second(&stack, &world).await;
    let sts = stack.sts(0);
    let subject = world.session(&sts).await;
    let own = world.session(&sts).await;
    for same in [&subject, &own] {
        let answer = act(&world, &sts, &subject, same).await;
        assert_eq!(refusal(&answer), (400, "invalid_request", "actor_is_subject"));
    }
    let actor = session_of(&sts, &id, &secret, "2").await;
    let mandate = world
        .mandate(&sts, &subject, "orders:read")
        .await
        .member("access_token")
        .to_owned();
    let foreign = other.session(&sts).await;
    for (token, reason) in [
        (mandate.as_str(), "actor_token_wrong_use"),
        (&foreign, "actor_token_wrong_zone"),
        ("a.b.c", "actor_token_invalid"),
        (&format!("{actor}x"), "actor_token_invalid"),
    ] {
        let answer = act(&world, &sts, &subject, token).await;
        assert_eq!(
            refusal(&answer),
            (400, "invalid_grant", reason),
            "{}",
            answer.text
        );
    }
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let answer = act(&world, &sts, &subject, &actor).await;
    assert_eq!(refusal(&answer), (400, "invalid_grant", "actor_token_expired"));

    for (fields, reason) in [
        (&[("actor_token", subject.as_str())][..], "actor_without_subject"),
        (&[("actor_token_type", ACCESS_TOKEN)], "stray_parameter"),
        (
            &[("actor_token", &subject), ("actor_token_type", "urn:x")],
            "unsupported_token_type",
        ),
    ] {
        let answer = world.token(&sts, fields).await;
        assert_eq!(
            refusal(&answer),
            (400, "invalid_request", reason),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_token_ends_with_whoever_acts_in_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let (id, secret) = second(&stack, &world).await;
    let sts = stack.sts(0);
    let subject = world.session(&sts).await;
    let actor = session_of(&sts, &id, &secret, "600").await;
    let mandate = act(&world, &sts, &subject, &actor)
        .await
        .member("access_token")
        .to_owned();
    let sid: Value = claims(&actor)["sid"].clone();
    assert_eq!(
        world.revoke_session(sid.as_str().expect("an id")).await.status,
        200
    );
    eventually("the actor is refused", Duration::from_secs(2), || async {
        (act(&world, &sts, &subject, &actor).await.member("reason") == "actor_revoked").then_some(())
    })
    .await;
    let gateway = world.through(stack.gateway(0), &mandate);
    eventually(
        "the gateway refuses what it acted in",
        Duration::from_secs(2),
        || async { (gateway.get("/orders").await.member("error") == "invalid_token").then_some(()) },
    )
    .await;
    assert_eq!(
        world.mandate(&sts, &subject, "orders:read").await.status,
        200,
        "the subject goes on"
    );
}

/// The subject is who asks: a user, an application, or an agent of that.
#[tokio::test]
async fn nobody_acts_for_itself_however_it_is_written() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let (hands, sts) = (Hands::of(&stack, &world), stack.sts(0));
    let plain = world.session(&sts).await;
    let issuer = claims(&plain)["iss"].as_str().expect("an issuer").to_owned();
    let user = hands.user_session(&world, &issuer, "ada").await;
    let agent = hands.agent(&world.application_id, 3600).await.to_string();
    let bound = world.token(&sts, &[("agent_session_id", &agent)]).await;
    let bound = bound.member("access_token");
    let itself = (400, "invalid_request", "actor_is_subject");
    let wrong = (400, "invalid_grant", "actor_token_wrong_use");
    for (subject, actor, named, expected) in [
        (&*user, &*user, "", itself),
        (&plain, &user, "", wrong),
        (&plain, bound, &*agent, itself),
        (bound, bound, "", itself),
        (&plain, &plain, &agent, (200, "", "")),
        (&plain, bound, "", (200, "", "")),
    ] {
        let mut fields = vec![
            ("subject_token", subject),
            ("actor_token", actor),
            ("actor_token_type", ACCESS_TOKEN),
            ("resource", world.resource.as_str()),
            ("scope", "orders:read"),
        ];
        if !named.is_empty() {
            fields.push(("agent_session_id", named));
        }
        let answer = world.token(&sts, &fields).await;
        assert_eq!(refusal(&answer), expected, "{}", answer.text);
    }
}
