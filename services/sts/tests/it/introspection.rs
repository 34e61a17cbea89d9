//! RFC 7662: active or not, and nothing more to those who may not know.

use caracal_testkit::world::claims;
use caracal_testkit::{Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_token_is_active_until_its_session_is_revoked() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let ask = |token: String| {
        let sts = sts.clone();
        let form = [
            ("application_id".to_owned(), world.application_id.clone()),
            ("client_secret".to_owned(), world.client_secret.clone()),
            ("token".to_owned(), token),
        ];
        async move {
            let form: Vec<(&str, &str)> = form
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            sts.form("/oauth/2/introspect", &form).await
        }
    };
    let answer = ask(session.clone()).await.expect(200);
    assert_eq!(
        (&answer["active"], &answer["sub"]),
        (&json!(true), &json!(world.application_id))
    );
    for nonsense in ["x".to_owned(), "a.b.c".to_owned(), format!("{session}x")] {
        assert_eq!(ask(nonsense).await.expect(200), json!({"active": false}));
    }
    let foreign = ask(other.session(&sts).await).await;
    assert!(
        foreign.status == 401 || foreign.body == json!({"active": false}),
        "{}",
        foreign.text
    );

    let sid = claims(&session)["sid"].as_str().expect("a session id").to_owned();
    assert!(world.revoke_session(&sid).await.status < 300);
    eventually("the session is inactive", Duration::from_secs(2), || async {
        (ask(session.clone()).await.body == json!({"active": false})).then_some(())
    })
    .await;
    let answer = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(
        (answer.status, answer.member("reason")),
        (400, "session_revoked"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn what_only_the_token_endpoint_takes_is_nothing_here() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let form = [
        ("client_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", &session),
        ("token_type_hint", "refresh_token"),
        ("grant_type", "password"),
        ("scope", "\"caf\u{e9}\""),
        ("ttl_seconds", "0"),
        ("subject_token_type", "x"),
        ("challenge_id", "x"),
        ("resource", "caf\u{e9}"),
    ];
    let told = sts.form("/oauth/2/introspect", &form).await;
    assert_eq!(told.expect(200)["active"], json!(true));
    let revoked = sts.form("/oauth/2/revoke", &form).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    let later = sts.with("Caracal-Min-Epoch", &revoked.epoch());
    let told = later.form("/oauth/2/introspect", &form).await;
    assert_eq!(told.expect(200), json!({"active": false}));
}

#[tokio::test]
async fn strangers_may_not_ask() {
    let stack = Stack::start().await;
    let answer = stack.sts(0).form("/oauth/2/introspect", &[("token", "x")]).await;
    assert!(matches!(answer.status, 400 | 401), "{}", answer.text);
    let wrong_key = stack
        .sts(0)
        .bearer("nonsense")
        .form("/oauth/2/introspect", &[("token", "x")])
        .await;
    assert_eq!(wrong_key.status, 401, "{}", wrong_key.text);
    let answer = stack
        .sts(0)
        .bearer("nonsense")
        .post("/internal/directives", &json!({}))
        .await;
    assert_eq!(
        (answer.status, answer.member("error")),
        (401, "invalid_client"),
        "{}",
        answer.text
    );
}

/// What a gateway is told of a token.
async fn told_to_a_gateway(stack: &Stack, token: &str) -> Value {
    let gateway = stack.sts(0).bearer(caracal_testkit::settings::GATEWAY_STS_KEY);
    gateway
        .form("/oauth/2/introspect", &[("token", token)])
        .await
        .expect(200)
}

#[tokio::test]
async fn an_application_sees_its_own_zone_only_and_a_gateway_every_claim() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let mandate = world
        .mandate(&sts, &session, "orders:read")
        .await
        .member("access_token")
        .to_owned();
    let ask = async |client: &World, token: &str| {
        let form = [
            ("application_id", client.application_id.as_str()),
            ("client_secret", &client.client_secret),
            ("token", token),
        ];
        sts.form("/oauth/2/introspect", &form).await.expect(200)
    };
    for token in [&session, &mandate] {
        assert_eq!(
            ask(&other, token).await,
            json!({"active": false}),
            "of another zone"
        );
        let told = ask(&world, token).await;
        for claim in claims(token).as_object().expect("claims").keys() {
            assert_eq!(told[claim], claims(token)[claim], "{claim}");
        }
        assert_eq!(
            (&told["active"], &told["token_type"]),
            (&json!(true), &json!("Bearer"))
        );
        assert_eq!(told_to_a_gateway(&stack, token).await, told);
    }
    let body = json!({"name": "shop", "registration_method": "managed", "credential_type": "token"});
    let made = stack
        .admin()
        .post(&world.path("applications"), &body)
        .await
        .expect(201);
    let form = |token| {
        [
            ("application_id", made["id"].as_str().expect("an id")),
            ("client_secret", made["client_secret"].as_str().expect("a secret")),
            ("token", token),
        ]
    };
    let resource_server = sts.form("/oauth/2/introspect", &form(&mandate)).await.expect(200);
    assert_eq!(
        resource_server["active"],
        json!(true),
        "a mandate is meant for others"
    );
    let neighbour = sts.form("/oauth/2/introspect", &form(&session)).await.expect(200);
    assert_eq!(
        neighbour,
        json!({"active": false}),
        "a session is its holder's own"
    );
    for nonsense in ["", "x", "a.b.c", &format!("{mandate}x")] {
        let told = stack.sts(0).bearer(caracal_testkit::settings::GATEWAY_STS_KEY);
        let told = told.form("/oauth/2/introspect", &[("token", nonsense)]).await;
        assert!(
            told.status == 400 && nonsense.is_empty() || told.body == json!({"active": false}),
            "{}",
            told.text
        );
    }

    let application = world.path(&format!("applications/{}", world.application_id));
    assert_eq!(stack.admin().delete(&application).await.status, 204);
    eventually(
        "tokens of an archived application are inactive",
        Duration::from_secs(2),
        || async { (told_to_a_gateway(&stack, &mandate).await == json!({"active": false})).then_some(()) },
    )
    .await;
}
