//! Users' connections at providers: whose token a governed call carries, and how it is renewed (contract §1,
//! "Connections"; §5, `connection_required`).

use crate::provided::{Provided, refusal};
use caracal_testkit::oauth_server::{CLIENT_ID, CLIENT_SECRET, Manner};
use caracal_testkit::stack::Service;
use caracal_testkit::{OauthServer, Stack, eventually};
use futures::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};

const REFRESH: &str = "refresh_token";
const REQUIRED: (u16, &str, &str) = (403, "access_denied", "connection_required");
/// The bound on staleness.
const BOUND: Duration = Duration::from_secs(2);

fn two_of_each() -> caracal_testkit::stack::builder::Builder {
    Stack::builder()
        .replicas(Service::Sts, 2)
        .replicas(Service::Gateway, 2)
}

#[tokio::test]
async fn each_user_calls_with_the_own_connection_until_it_is_revoked() {
    let stack = two_of_each().start().await;
    let mut provided = Provided::by_users(&stack).await;
    let (ann, bob) = (
        provided.user_session(&stack, "ann").await,
        provided.user_session(&stack, "bob").await,
    );
    let own = provided.own_session(&stack).await;
    for session in [&ann, &bob, &own] {
        let mandate = provided.mandate(&stack, session).await;
        for (token, id) in [(session, "by-session"), (&mandate, "by-mandate")] {
            let refused = provided.call(&stack, 0, token, id).await;
            assert_eq!(refusal(&refused), REQUIRED, "{}", refused.text);
        }
    }
    let of_ann = provided.connect(&stack, "ann").await;
    provided.connect(&stack, "bob").await;
    for (session, gateway, token) in [
        (&ann, 0, "access-1"),
        (&bob, 1, "access-2"),
        (&ann, 1, "access-1"),
    ] {
        let mandate = provided.mandate(&stack, session).await;
        for bearer in [session, &mandate] {
            let answer = provided.call(&stack, gateway, bearer, "connected").await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(provided.server.let_in().pop(), Some(format!("Bearer {token}")));
        }
    }
    let refused = provided.call(&stack, 0, &own, "itself").await;
    assert_eq!(refusal(&refused), REQUIRED, "the application itself is no user");
    assert!(provided.server.asked_for(REFRESH).is_empty());

    let mandates = [
        provided.mandate(&stack, &ann).await,
        provided.mandate(&stack, &ann).await,
    ];
    assert_eq!(provided.revoke(&stack, &of_ann).await.status, 200);
    let revoked = Instant::now();
    for (gateway, mandate) in mandates.iter().enumerate() {
        // A gateway that has not heard yet may let this one call through, within the bound and never after it.
        let mut bearer = mandate.clone();
        loop {
            let answer = provided.call(&stack, gateway, &bearer, "revoked").await;
            if answer.status == 403 {
                assert_eq!(refusal(&answer), REQUIRED);
                break;
            }
            assert!(revoked.elapsed() < BOUND, "{}", answer.text);
            bearer.clone_from(&ann);
        }
        let answer = provided.call(&stack, gateway, &ann, "revoked-too").await;
        assert_eq!(refusal(&answer), REQUIRED);
    }
    assert_eq!(provided.call(&stack, 0, &bob, "bob").await.status, 200);
}

#[tokio::test]
async fn of_two_replicas_one_renews_and_both_use_what_it_brought() {
    let stack = two_of_each().start().await;
    let mut provided = Provided::by_users(&stack).await;
    provided.server.behave(Manner::Brief(2));
    let id = provided.connect(&stack, "ann").await;
    provided.server.behave(Manner::Good);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let asking = (0..16).map(|number| provided.credential(&stack, number % 2, Some("ann")));
    for answer in join_all(asking).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.body["credential"]["value"], "Bearer access-2");
    }
    let asked = provided.server.asked_for(REFRESH);
    assert_eq!(
        asked.len(),
        1,
        "the old one would have been taken for stolen: {asked:?}"
    );
    assert_eq!(asked[0]["refresh_token"], "refresh-1");
    assert_eq!(provided.connection(&stack, &id).await["status"], "active");
    let readable =
        "SELECT count(*) FROM provider_connections WHERE position('access-2'::bytea in tokens_sealed) > 0";
    assert_eq!(stack.database().count(readable).await, 0);
    let user = provided.user_session(&stack, "ann").await;
    for gateway in [0, 1] {
        assert_eq!(provided.call(&stack, gateway, &user, "renewed").await.status, 200);
    }
    assert_eq!(provided.server.let_in(), vec!["Bearer access-2"; 2]);
}

#[tokio::test]
async fn a_provider_known_by_its_issuer_renews_where_its_discovery_says() {
    let stack = Stack::start().await;
    let server = OauthServer::start();
    let config = json!({"issuer": server.url(), "client_id": CLIENT_ID});
    let secrets = json!({"client_secret": CLIENT_SECRET});
    let mut provided = Provided::new(&stack, server, "oidc", &config, &secrets).await;
    provided.server.behave(Manner::Brief(1));
    provided.connect(&stack, "ann").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    provided.server.behave(Manner::Good);
    let user = provided.user_session(&stack, "ann").await;
    assert_eq!(provided.call(&stack, 0, &user, "renewed").await.status, 200);
    assert_eq!(provided.server.let_in(), ["Bearer access-2"]);
}

#[tokio::test]
async fn a_connection_that_the_provider_no_longer_renews_lapses_until_the_user_connects_again() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_users(&stack).await;
    provided.server.behave(Manner::Brief(1));
    let id = provided.connect(&stack, "ann").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let user = provided.user_session(&stack, "ann").await;

    provided.server.behave(Manner::Broken);
    let refused = provided.call(&stack, 0, &user, "down").await;
    assert_eq!(
        refusal(&refused),
        (503, "temporarily_unavailable", "provider_unavailable"),
        "{}",
        refused.text
    );
    assert_eq!(
        provided.connection(&stack, &id).await["status"],
        "active",
        "an outage ends nothing"
    );
    provided.server.behave(Manner::Forgetful);
    tokio::time::sleep(Duration::from_secs(5)).await;
    for number in 0..3 {
        let refused = provided.call(&stack, 0, &user, &format!("lapsed-{number}")).await;
        assert_eq!(refusal(&refused), REQUIRED, "{}", refused.text);
    }
    assert_eq!(
        provided.server.asked_for(REFRESH).len(),
        2,
        "nobody asks for what has lapsed"
    );
    assert_eq!(provided.connection(&stack, &id).await["status"], "lapsed");
    let list = |status: &str| {
        provided
            .world
            .path(&format!("provider-connections?status={status}"))
    };
    for (status, count) in [("lapsed", 1), ("active", 0), ("revoked", 0)] {
        let listed = stack.admin().get(&list(status)).await.expect(200);
        assert_eq!(listed.as_array().map(Vec::len), Some(count), "{status}");
    }
    let path = provided
        .world
        .path(&format!("providers/{}/check", provided.provider));
    let body = json!({"user_id": "ann", "resource_id": provided.resource});
    let readiness = stack.admin().post(&path, &body).await;
    assert!(
        readiness.text.contains("connection_required"),
        "{}",
        readiness.text
    );

    provided.server.behave(Manner::Good);
    provided.connect(&stack, "ann").await;
    let answer = provided.call(&stack, 0, &user, "again").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn a_replica_that_dies_while_it_renews_does_not_lose_the_connection() {
    let mut stack = two_of_each().start().await;
    let mut provided = Provided::by_users(&stack).await;
    provided.server.behave(Manner::Brief(1));
    let id = provided.connect(&stack, "ann").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    provided.server.behave(Manner::Late(Duration::from_secs(3)));
    let refused = provided.credential(&stack, 0, Some("ann")).await;
    assert_eq!(
        (refused.status, refused.member("reason")),
        (503, "provider_unavailable"),
        "{}",
        refused.text
    );
    assert_eq!(provided.server.asked_for(REFRESH).len(), 1, "it is under way");
    stack.kill9(Service::Sts, 0);
    provided.server.behave(Manner::Good);
    let renewed = eventually(
        "a renewal by the other replica",
        Duration::from_secs(10),
        || async {
            let answer = provided.credential(&stack, 1, Some("ann")).await;
            (answer.status == 200).then_some(answer)
        },
    )
    .await;
    assert!(
        renewed.body["credential"]["value"]
            .as_str()
            .is_some_and(|value| value.starts_with("Bearer access-")),
        "{}",
        renewed.text
    );
    assert_eq!(provided.connection(&stack, &id).await["status"], "active");
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_a_renewal() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_users(&stack).await;
    provided.server.behave(Manner::Brief(1));
    provided.connect(&stack, "ann").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    provided.server.behave(Manner::Late(Duration::from_secs(1)));
    let asking = provided.credential(&stack, 0, Some("ann"));
    let gone = tokio::time::timeout(Duration::from_millis(300), asking).await;
    assert!(gone.is_err(), "the caller did not wait");
    tokio::time::sleep(Duration::from_secs(2)).await;
    provided.server.behave(Manner::Forgetful);
    let answer = provided.credential(&stack, 0, Some("ann")).await;
    assert_eq!(
        answer.body["credential"]["value"], "Bearer access-2",
        "{}",
        answer.text
    );
    assert_eq!(provided.server.asked_for(REFRESH).len(), 1);
}

#[tokio::test]
async fn a_connection_revoked_while_it_is_renewed_stays_revoked_and_the_control_plane_does_not_wait() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_users(&stack).await;
    provided.server.behave(Manner::Brief(1));
    let id = provided.connect(&stack, "ann").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    provided.server.behave(Manner::Late(Duration::from_millis(1500)));
    let revoking = async {
        eventually("a renewal under way", Duration::from_secs(5), || async {
            (!provided.server.asked_for(REFRESH).is_empty()).then_some(())
        })
        .await;
        provided.revoke(&stack, &id).await
    };
    let (answer, revoked) = tokio::join!(provided.credential(&stack, 0, Some("ann")), revoking);
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    assert!(revoked.took < Duration::from_secs(1), "{:?}", revoked.took);
    assert_eq!(refusal(&answer), REQUIRED, "{}", answer.text);
    let given_back: Vec<String> = provided
        .server
        .asked()
        .into_iter()
        .filter(|asked| asked.path == "/revoke")
        .map(|asked| asked.form["token"].clone())
        .collect();
    assert!(given_back.contains(&"refresh-2".to_owned()), "{given_back:?}");
    let again = provided.credential(&stack, 0, Some("ann")).await;
    assert_eq!(refusal(&again), REQUIRED);
}

#[tokio::test]
async fn a_connection_at_hand_costs_neither_a_statement_nor_a_request() {
    let stack = Stack::start().await;
    let mut provided = Provided::by_users(&stack).await;
    provided.connect(&stack, "ann").await;
    let user = provided.user_session(&stack, "ann").await;
    let read = || -> u64 {
        let executed = stack.postgres().statements("caracal-sts").into_iter();
        executed
            .filter(|(text, _)| text.contains("provider_connections"))
            .map(|(_, times)| times)
            .sum()
    };
    assert_eq!(provided.call(&stack, 0, &user, "first").await.status, 200);
    assert_eq!(read(), 1, "the proxy hears what the STS asks");
    for number in 0..50 {
        let answer = provided.call(&stack, 0, &user, &format!("warm-{number}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(provided.credential(&stack, 0, Some("ann")).await.status, 200);
    }
    assert_eq!(read(), 1);
    assert!(provided.server.asked_for(REFRESH).is_empty());
}
