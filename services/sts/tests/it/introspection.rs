//! RFC 7662: active or not, and nothing more to those who may not know.

use caracal_testkit::world::claims;
use caracal_testkit::{Stack, World, eventually};
use serde_json::json;
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
