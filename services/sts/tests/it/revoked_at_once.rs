//! Revocations that come together have effect once, and whoever asks learns the epoch that shows it (RFC 7009).

use crate::hands::text;
use caracal_testkit::stack::Service;
use caracal_testkit::world::claims;
use caracal_testkit::{Stack, World, eventually};
use futures::future::join_all;
use std::time::Duration;

#[tokio::test]
async fn of_many_revocations_of_one_token_one_has_effect() {
    let stack = Stack::builder().replicas(Service::Sts, 2).start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
    // Both replicas know the application's secret, so that nothing but the revocation takes time.
    world.session(&stack.sts(1)).await;
    let (sid, jti) = (
        text(&claims(&session), "sid"),
        text(&claims(minted.member("access_token")), "jti"),
    );
    let of_zone = format!("SELECT epoch FROM zones WHERE id = '{}'", world.zone_id);
    let epoch = async || stack.database().count(&of_zone).await;
    for (token, event_type, member, value) in [
        (
            minted.member("access_token"),
            "session.mandate_revoked",
            "jti",
            &jti,
        ),
        (session.as_str(), "session.revoked", "session_id", &sid),
    ] {
        let form = [
            ("client_id", world.application_id.as_str()),
            ("client_secret", &world.client_secret),
            ("token", token),
        ];
        let before = epoch().await;
        let clients: Vec<_> = (0..16).map(|n| stack.sts(n % 2)).collect();
        let answers = join_all(clients.iter().map(|sts| sts.form("/oauth/2/revoke", &form))).await;
        let after = epoch().await;
        let moved = format!(
            "SELECT count(*) FROM zones WHERE id = '{}' AND previous_epoch = {before} AND epoch = {after}",
            world.zone_id
        );
        assert_eq!(stack.database().count(&moved).await, 1, "the epoch moved once");
        for answer in &answers {
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(answer.epoch(), after.to_string(), "the epoch that shows it");
        }
        let recorded = format!(
            "SELECT count(*) FROM audit_events WHERE zone_id = '{}' AND event_type = '{event_type}' \
             AND metadata_json->>'{member}' = '{value}'",
            world.zone_id
        );
        eventually("its record", Duration::from_secs(10), || async {
            (stack.database().count(&recorded).await > 0).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(stack.database().count(&recorded).await, 1, "{event_type}");
    }
}

#[tokio::test]
async fn an_expired_token_is_inactive_and_as_good_as_revoked() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let short = world.token(&sts, &[("ttl_seconds", "2")]).await;
    let form = [
        ("client_id", world.application_id.as_str()),
        ("client_secret", world.client_secret.as_str()),
        ("token", short.member("access_token")),
    ];
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let told = sts.form("/oauth/2/introspect", &form).await;
    assert_eq!(told.clone().expect(200), serde_json::json!({"active": false}));
    assert_eq!(told.header("Cache-Control"), "no-store");
    let before = stack.database().count("SELECT count(*) FROM anchors").await;
    let given_back = sts.form("/oauth/2/revoke", &form).await;
    assert_eq!((given_back.status, given_back.text.as_str()), (200, ""));
    let after = stack.database().count("SELECT count(*) FROM anchors").await;
    assert_eq!(before, after, "there is nothing to end");
}

#[tokio::test]
async fn a_root_session_ends_with_the_session_below_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let root = world.session(&sts).await;
    let hands = crate::hands::Hands::of(&stack, &world);
    let sid = text(&claims(&root), "sid").parse().expect("an id");
    let agent = hands.agent_below(Some(sid), &world.application_id, 3600).await;
    let below = world
        .token(&sts, &[("agent_session_id", &agent.to_string())])
        .await;
    let below = below.member("access_token").to_owned();
    assert_eq!(claims(&below)["root_sid"], claims(&root)["sid"]);
    let mandate = world.mandate(&sts, &below, "orders:read").await;
    let form = |token: &str| -> Vec<(&'static str, String)> {
        vec![
            ("client_id", world.application_id.clone()),
            ("client_secret", world.client_secret.clone()),
            ("token", token.to_owned()),
        ]
    };
    let ask = async |sts: &caracal_testkit::Client, path: &str, token: &str| {
        let form = form(token);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sts.form(path, &form).await
    };
    let revoked = ask(&sts, "/oauth/2/revoke", &root).await;
    let later = stack.sts(0).with("Caracal-Min-Epoch", &revoked.epoch());
    for token in [root.as_str(), &below, mandate.member("access_token")] {
        let told = ask(&later, "/oauth/2/introspect", token).await;
        assert_eq!(told.expect(200), serde_json::json!({"active": false}));
    }
    let refused = world.mandate(&later, &below, "orders:read").await;
    assert_eq!(
        (refused.status, refused.member("reason")),
        (400, "session_revoked")
    );
}
