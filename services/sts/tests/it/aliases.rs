//! The gateway's address of a resource is the resource: wherever names are compared, and to policy (contract §2).

use crate::hands::{Hands, adopt_all};
use crate::step_up::asking_for;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Client, Service, Stack, World, eventually};
use serde_json::json;
use std::time::Duration;

fn alias_of(stack: &Stack, world: &World) -> String {
    let gateway = stack.url(Service::Gateway, 0);
    format!("{gateway}/r/{}/{}", world.zone_id, world.resource_id)
}

async fn mandate(world: &World, sts: &Client, session: &str, resources: &[&str]) -> Answer {
    let mut fields = vec![("subject_token", session), ("scope", "orders:read")];
    fields.extend(resources.iter().map(|resource| ("resource", *resource)));
    world.token(sts, &fields).await
}

#[tokio::test]
async fn policy_and_ledger_know_the_resource_by_its_name_and_the_answer_by_the_one_asked_for() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let alias = alias_of(&stack, &world);
    let by_name = r#"package caracal.authz
result := {"decision": "allow", "evaluation_status": "complete", "determining_policies": ["p"], "diagnostics": []} if {
  input.resource.identifier == "resource://order-book"
}"#;
    let epoch = world.adopt(by_name).await;
    let sts = stack
        .sts(0)
        .with("Caracal-Min-Epoch", &epoch)
        .with("X-Request-Id", "by-alias");
    let session = world.session(&stack.sts(0)).await;
    let minted = mandate(&world, &sts, &session, &[&alias]).await;
    let answer = minted.clone().expect(200);
    assert_eq!(answer["target_resources"], json!([alias]));
    assert_eq!(answer["upstreams"].as_object().expect("upstreams").len(), 1);
    assert!(answer["upstreams"].get(&alias).is_some(), "{answer}");
    let token = minted.member("access_token");
    assert_eq!(
        (&claims(token)["aud"], &claims(token)["target"]),
        (&json!([alias]), &json!([alias]))
    );
    let event = eventually("its record", Duration::from_secs(10), || async {
        world.events("by-alias").await.into_iter().next()
    })
    .await;
    assert_eq!(event["metadata_json"]["resource"], json!(world.resource));
    let place = format!("/r/{}/{}/orders", world.zone_id, world.resource_id);
    let passed = stack.gateway(0).bearer(token).get(&place).await;
    assert_eq!(passed.status, 200, "{}", passed.text);

    for both in [
        [alias.as_str(), &world.resource],
        [&world.resource, alias.as_str()],
    ] {
        let once = mandate(
            &world,
            &stack.sts(0).with("X-Request-Id", "both"),
            &session,
            &both,
        )
        .await;
        let once = once.expect(200);
        assert_eq!(once["target_resources"], json!([both[0]]), "decided once");
    }
    let events = eventually("two records", Duration::from_secs(10), || async {
        let events = world.events("both").await;
        (events.len() >= 2).then_some(events)
    })
    .await;
    assert_eq!(events.len(), 2, "one for each request");
}

#[tokio::test]
async fn no_other_resource_takes_the_gateways_address_of_one() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let alias = alias_of(&stack, &world);
    let gateway = stack.url(Service::Gateway, 0);
    let mut epoch = String::new();
    for (identifier, prefix) in [(gateway.as_str(), true), (&alias, false)] {
        let body = json!({"identifier": identifier, "prefix": prefix, "scopes": ["orders:read"]});
        let made = stack.admin().post(&world.path("resources"), &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        epoch = made.epoch();
    }
    let sts = stack
        .sts(0)
        .with("Caracal-Min-Epoch", &epoch)
        .with("X-Request-Id", "whose");
    let session = world.session(&stack.sts(0)).await;
    let minted = mandate(&world, &sts, &session, &[&alias]).await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    let event = eventually("its record", Duration::from_secs(10), || async {
        world.events("whose").await.into_iter().next()
    })
    .await;
    assert_eq!(event["metadata_json"]["resource"], json!(world.resource));
}

#[tokio::test]
async fn the_gateways_address_of_a_resource_has_one_spelling() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let alias = alias_of(&stack, &world);
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let loud = alias.replace(&world.resource_id, &world.resource_id.to_uppercase());
    let bare = alias.replace(&world.resource_id, &world.resource_id.replace('-', ""));
    for (asked, expected) in [
        (alias.clone(), 200),
        (format!("{alias}/"), 200),
        (format!("{alias}//"), 400),
        (format!("{alias}/orders"), 400),
        (format!("{alias}?a=b"), 400),
        (alias.replace("/r/", "//r/"), 400),
        (alias.replace("/r/", "/r//"), 400),
        (loud, 400),
        (bare, 400),
    ] {
        let answer = mandate(&world, &sts, &session, &[&asked]).await;
        assert_eq!(answer.status, expected, "{asked}: {}", answer.text);
        if expected == 400 {
            assert_eq!(answer.member("reason"), "unknown_resource", "{asked}");
        }
    }
}

#[tokio::test]
async fn a_ceiling_holds_whichever_name_it_was_set_by() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let alias = alias_of(&stack, &world);
    let sts = stack.sts(0);
    let body = json!({"identifier": "resource://other", "scopes": ["orders:read"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    for (limit, asked) in [
        (alias.as_str(), world.resource.as_str()),
        (&world.resource, &alias),
    ] {
        let fields = [("resource", limit), ("scope", "orders:read")];
        let session = world.token(&sts, &fields).await;
        let session = session.member("access_token");
        assert_eq!(claims(session)["target"], json!([limit]));
        let minted = mandate(&world, &sts, session, &[asked]).await;
        assert_eq!(minted.status, 200, "{asked}: {}", minted.text);
        let beyond = mandate(&world, &sts, session, &["resource://other"]).await;
        let got = (beyond.status, beyond.member("reason"));
        assert_eq!(got, (403, "session_ceiling"), "{}", beyond.text);
    }
}

#[tokio::test]
async fn a_ceiling_on_a_prefix_resource_covers_what_lies_below_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let base = "https://api.example/v1";
    let body = json!({"identifier": base, "prefix": true, "scopes": ["orders:read"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let sts = stack.sts(0);
    let below = format!("{base}/orders/7");
    for (limit, asked, status) in [
        (base, below.as_str(), 200),
        (base, base, 200),
        (&below, &below, 200),
        (&below, base, 403),
        (&below, "https://api.example/v1/orders/8", 403),
    ] {
        let session = world
            .token(&sts, &[("resource", limit), ("scope", "orders:read")])
            .await;
        let minted = mandate(&world, &sts, session.member("access_token"), &[asked]).await;
        assert_eq!(minted.status, status, "{limit} {asked}: {}", minted.text);
        if status == 200 {
            assert_eq!(
                minted.body["target_resources"],
                json!([asked]),
                "what was asked for"
            );
        } else {
            assert_eq!(minted.member("reason"), "session_ceiling", "{}", minted.text);
        }
    }
}

#[tokio::test]
async fn a_challenge_is_for_the_resource_by_any_of_its_names_and_for_no_other() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let alias = alias_of(&stack, &world);
    let body = json!({"identifier": "resource://other", "scopes": ["orders:read"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let epoch = adopt_all(&stack, &world, &[&asking_for("mfa")]).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let (session, another) = (world.session(&sts).await, world.session(&sts).await);
    let held = mandate(&world, &sts, &session, &[&alias]).await;
    assert_eq!(held.status, 401, "{}", held.text);
    let (id, secret) = (held.member("challenge_id"), held.member("challenge_secret"));
    assert!(Hands::of(&stack, &world).satisfy(id).await);
    let retry = async |session: &str, resources: &[&str]| {
        let mut fields = vec![
            ("subject_token", session),
            ("scope", "orders:read"),
            ("challenge_id", id),
            ("challenge_response", secret),
        ];
        fields.extend(resources.iter().map(|resource| ("resource", *resource)));
        world.token(&sts, &fields).await
    };
    for (session, resources) in [
        (&another, &[world.resource.as_str()][..]),
        (&session, &["resource://other"]),
        (&session, &[world.resource.as_str(), "resource://other"]),
    ] {
        let other = retry(session, resources).await;
        let got = (other.status, other.member("error"), other.member("reason"));
        assert_eq!(
            got,
            (400, "invalid_grant", "challenge_mismatch"),
            "{resources:?}: {}",
            other.text
        );
    }
    let helper = crate::hands::second(&stack, &world, "helper").await;
    let theirs = helper.token(&sts, &[]).await;
    let fields = [
        ("subject_token", theirs.member("access_token")),
        ("scope", "orders:read"),
        ("resource", &world.resource),
        ("challenge_id", id),
        ("challenge_response", secret),
    ];
    let stolen = helper.token(&sts, &fields).await;
    let got = (stolen.status, stolen.member("reason"));
    assert_eq!(
        got,
        (400, "challenge_invalid"),
        "another principal's: {}",
        stolen.text
    );
    let met = retry(&session, &[&world.resource]).await;
    assert_eq!(met.status, 200, "{}", met.text);
}
