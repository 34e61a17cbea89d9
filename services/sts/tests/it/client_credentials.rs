//! Providers that give client credentials: what a governed call gets to carry, and why it is refused when there is nothing
//! (contract §1, "Providers"; §2, "Order").

use crate::provided::{Provided, client, refusal, with};
use caracal_testkit::oauth_server::{CLIENT_SECRET, Manner};
use caracal_testkit::stack::Service;
use caracal_testkit::{Stack, eventually};
use futures::future::join_all;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::EcCurve;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const GRANT: &str = "client_credentials";
const KIND: &str = "oauth2_client_credentials";

fn two_of_each() -> caracal_testkit::stack::builder::Builder {
    Stack::builder()
        .replicas(Service::Sts, 2)
        .replicas(Service::Gateway, 2)
}

#[tokio::test]
async fn many_first_calls_at_once_ask_for_one_token_and_nobody_but_the_upstream_sees_it() {
    let stack = two_of_each().start().await;
    let more = json!({
        "scopes": ["a", "b"], "audience": "https://api.example", "resource": "https://api.example/v1",
        "token_params": {"tenant": "7"},
    });
    let provided = Provided::by_client(&stack, &more).await;
    let session = provided.own_session(&stack).await;
    let mandates = [
        provided.mandate(&stack, &session).await,
        provided.mandate(&stack, &session).await,
    ];
    let calls = (0..20).map(|number| provided.call(&stack, number % 2, &session, "by-session"));
    let answers = join_all(calls).await;
    let by_mandate = [
        provided.call(&stack, 0, &mandates[0], "by-mandate").await,
        provided.call(&stack, 1, &mandates[1], "by-mandate-2").await,
    ];
    for answer in answers.iter().chain(&by_mandate) {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.text.contains("access-"), "{}", answer.text);
    }
    assert_eq!(
        provided.server.let_in(),
        vec!["Bearer access-1"; 22],
        "no caller's own header"
    );
    let asked = provided.server.asked_for(GRANT);
    assert_eq!(asked.len(), 1, "{asked:?}");
    for (name, value) in [
        ("scope", "a b"),
        ("audience", "https://api.example"),
        ("resource", "https://api.example/v1"),
        ("tenant", "7"),
    ] {
        assert_eq!(asked[0].get(name).map(String::as_str), Some(value), "{name}");
    }
    let kept = eventually("the calls in the ledger", Duration::from_secs(10), || async {
        let events = provided.world.events("by-mandate").await;
        (events.len() >= 2).then_some(events)
    });
    for event in kept.await {
        let text = event.to_string();
        assert!(
            !text.contains("access-1") && !text.contains(CLIENT_SECRET),
            "{text}"
        );
    }
    for log in ["sts-0", "sts-1", "gateway-0", "gateway-1", "api-0"] {
        let log = std::fs::read_to_string(stack.logs().join(format!("{log}.log"))).expect("a log");
        assert!(!log.contains("access-1") && !log.contains(CLIENT_SECRET));
    }
}

#[tokio::test]
async fn each_way_of_proving_ourselves_gets_a_token() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_client(&stack, &json!({})).await;
    let session = provided.own_session(&stack).await;
    let key = Jwk::generate_ec_key(EcCurve::P256).expect("a key").to_string();
    for (method, secrets, proof) in [
        (
            "client_secret_post",
            json!({"client_secret": CLIENT_SECRET}),
            "client_secret",
        ),
        ("private_key_jwt", json!({"private_key": key}), "client_assertion"),
    ] {
        let config = with(client(&provided.server), &json!({"client_auth_method": method}));
        provided.bind(&stack, KIND, &config, &secrets).await;
        let answer = provided.call(&stack, 0, &session, method).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text);
        let asked = provided.server.asked_for(GRANT).pop().expect("a request");
        assert!(asked.contains_key(proof), "{method}: {asked:?}");
    }
    // This server knows no public clients.
    let config = with(client(&provided.server), &json!({"client_auth_method": "none"}));
    provided.bind(&stack, KIND, &config, &json!({})).await;
    let answer = provided.call(&stack, 0, &session, "none").await;
    assert_eq!(
        refusal(&answer),
        (403, "access_denied", "provider_refused"),
        "{}",
        answer.text
    );
    let asked = provided.server.asked_for(GRANT).pop().expect("a request");
    assert!(
        asked.contains_key("client_id") && !asked.contains_key("client_secret"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_provider_that_misbehaves_refuses_its_own_calls_with_a_reason_and_soon() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_client(&stack, &json!({})).await;
    let session = provided.own_session(&stack).await;
    let config = client(&provided.server);
    let secrets = json!({"client_secret": CLIENT_SECRET});
    let (down, no) = ("temporarily_unavailable", "access_denied");
    for (manner, expected) in [
        (Manner::Garbage, (503, down, "provider_answer_unusable")),
        (Manner::OtherType, (503, down, "provider_answer_unusable")),
        (Manner::Unusable, (503, down, "provider_answer_unusable")),
        (Manner::Huge, (503, down, "provider_unavailable")),
        (Manner::Redirect, (503, down, "provider_unavailable")),
        (Manner::Broken, (503, down, "provider_unavailable")),
        (Manner::Slow, (503, down, "provider_unavailable")),
        (Manner::Forgetful, (403, no, "provider_refused")),
    ] {
        provided.bind(&stack, KIND, &config, &secrets).await;
        provided.server.behave(manner);
        let before = provided.server.asked().len();
        let id = format!("{manner:?}");
        let started = Instant::now();
        let answer = provided.call(&stack, 0, &session, &id).await;
        assert_eq!(refusal(&answer), expected, "{manner:?}: {}", answer.text);
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{manner:?}: {:?}",
            started.elapsed()
        );
        let mandate = provided.mandate(&stack, &session).await;
        let again = provided.call(&stack, 0, &mandate, "by-mandate").await;
        assert_eq!(refusal(&again), expected, "{manner:?}: {}", again.text);
        assert_eq!(
            provided.server.asked().len() - before,
            1,
            "{manner:?}: left alone for a while"
        );
        let denied = eventually("the refusal in the ledger", Duration::from_secs(10), || async {
            let events = provided.world.events(&id).await;
            events
                .into_iter()
                .find(|event| event["event_type"] == "token_exchange")
        })
        .await;
        assert_eq!(
            (&denied["decision"], &denied["reason"]),
            (&json!("deny"), &json!(expected.2))
        );
    }
    assert!(provided.server.let_in().is_empty());
    // The mandates were refused before their record, so they are not used up.
    provided.server.behave(Manner::Good);
    let mandate = provided.mandate(&stack, &session).await;
    let refused = provided.call(&stack, 0, &mandate, "spared").await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let id = "recovered";
    eventually("a token without a hand", Duration::from_secs(10), || async {
        (provided.call(&stack, 0, &mandate, id).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_its_end() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_client(&stack, &json!({})).await;
    let session = provided.own_session(&stack).await;
    let config = client(&provided.server);
    let secrets = json!({"client_secret": CLIENT_SECRET});
    for (manner, asked_again) in [
        (Manner::Brief(3), 1),
        (Manner::Brief(0), 0),
        (Manner::Unsaid, 0),
        (Manner::Good, 0),
    ] {
        provided.bind(&stack, KIND, &config, &secrets).await;
        provided.server.behave(manner);
        let before = provided.server.asked().len();
        let mandate = provided.mandate(&stack, &session).await;
        for (token, id) in [(&session, "first"), (&session, "second"), (&mandate, "third")] {
            assert_eq!(provided.call(&stack, 0, token, id).await.status, 200);
        }
        assert_eq!(provided.server.asked().len() - before, 1, "{manner:?}");
        tokio::time::sleep(Duration::from_millis(3200)).await;
        let mandate = provided.mandate(&stack, &session).await;
        for (token, id) in [(&mandate, "later"), (&session, "last")] {
            assert_eq!(provided.call(&stack, 0, token, id).await.status, 200);
        }
        assert_eq!(
            provided.server.asked().len() - before,
            1 + asked_again,
            "{manner:?}"
        );
    }
}

#[tokio::test]
async fn a_token_of_another_configuration_is_not_used_again() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_client(&stack, &json!({})).await;
    let session = provided.own_session(&stack).await;
    assert_eq!(provided.call(&stack, 0, &session, "before").await.status, 200);
    let path = provided.world.path(&format!("providers/{}", provided.provider));
    let changed = stack
        .admin()
        .patch(
            &path,
            &json!({"secret_config": {"client_secret": "no longer right"}}),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    provided.epoch = changed.epoch();
    let refused = provided.call(&stack, 0, &session, "after").await;
    assert_eq!(
        refusal(&refused),
        (403, "access_denied", "provider_refused"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_provider_is_asked_only_where_the_rules_allow() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_client(&stack, &json!({"allowed_token_hosts": ["as.example"]})).await;
    let session = provided.own_session(&stack).await;
    let not_allowed = (403, "access_denied", "provider_not_allowed");
    let answer = provided.call(&stack, 0, &session, "unlisted").await;
    assert_eq!(refusal(&answer), not_allowed, "{}", answer.text);
    for (id, endpoint) in [
        ("ourselves", format!("{}/token", stack.url(Service::Sts, 0))),
        ("metadata", "http://169.254.169.254/token".to_owned()),
    ] {
        let secrets = json!({"client_secret": CLIENT_SECRET});
        let config = client(&provided.server);
        provided.bind(&stack, KIND, &config, &secrets).await;
        // As a name that came to mean something else after it was saved.
        let statement = format!(
            "UPDATE providers SET config_json = config_json || '{{\"token_endpoint\": \"{endpoint}\"}}' WHERE id = '{}'",
            provided.provider
        );
        let database = stack.database().connect().await;
        database.batch_execute(&statement).await.expect("it is there");
        provided.epoch = crate::users::bump_epoch(&stack, &provided.world).await;
        let answer = provided.call(&stack, 0, &session, id).await;
        assert_eq!(refusal(&answer), not_allowed, "{id}: {}", answer.text);
    }
    assert!(provided.server.asked().is_empty());
}

#[tokio::test]
async fn a_token_that_the_upstream_refuses_is_dropped_for_a_later_call() {
    let stack = Stack::start().await;
    let provided = Provided::by_client(&stack, &json!({})).await;
    let session = provided.own_session(&stack).await;
    let other = provided.own_session(&stack).await;
    assert_eq!(provided.call(&stack, 0, &session, "good").await.status, 200);
    provided.server.end_access();
    let mandate = provided.mandate(&stack, &other).await;
    for (token, id) in [(&session, "refused"), (&mandate, "refused-too")] {
        let refused = provided.call(&stack, 0, token, id).await;
        assert_eq!(
            refusal(&refused),
            (502, "bad_gateway", "upstream_credential_rejected"),
            "{}",
            refused.text
        );
    }
    assert_eq!(provided.server.asked().len(), 1, "a young one is spared");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mandate = provided.mandate(&stack, &session).await;
    for (token, id) in [(&mandate, "renewed"), (&session, "kept")] {
        let answer = provided.call(&stack, 0, token, id).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(provided.server.asked().len(), 2);
}

#[tokio::test]
async fn an_application_cannot_speak_as_a_gateway() {
    let stack = Stack::start().await;
    let provided = Provided::by_client(&stack, &json!({})).await;
    let session = provided.own_session(&stack).await;
    let fields = [
        ("subject_token", session.as_str()),
        ("resource", provided.identifier.as_str()),
        ("rejected_credential", "x"),
    ];
    let refused = provided.world.token(&stack.sts(0), &fields).await;
    assert_eq!(refusal(&refused), (400, "invalid_request", "not_supported"));
    let body: Value = json!({
        "zone_id": provided.world.zone_id, "application_id": provided.world.application_id,
        "resource": provided.identifier,
    });
    for caller in [
        stack.sts(0),
        stack.sts(0).bearer(&session),
        stack.sts(0).bearer("guess"),
    ] {
        let refused = caller.post("/internal/credentials", &body).await;
        assert_eq!((refused.status, refused.member("error")), (401, "invalid_client"));
    }
    assert!(provided.server.asked().is_empty());
}
