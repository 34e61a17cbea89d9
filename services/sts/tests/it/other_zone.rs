//! An attacker with everything valid in a zone of their own gets nothing of another one, at any endpoint.

use crate::hands::{Hands, bounds, second};
use crate::step_up::asking_for;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Service, Stack, World};
use serde_json::json;

fn got(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.member("reason"))
}

/// An agent of the victim's, and an edge that it redeems.
async fn agent_and_edge(stack: &Stack, victim: &World) -> (String, String) {
    let hands = Hands::of(stack, victim);
    let agent = hands.agent(&victim.application_id, 3600).await;
    let giver = second(stack, victim, "giver").await;
    let from = hands.agent(&giver.id, 3600).await;
    let ends = ((from, giver.id.as_str()), (agent, victim.application_id.as_str()));
    let edge = hands.edge(ends.0, ends.1, None, bounds("orders:read", 1)).await;
    (agent.to_string(), edge.id.to_string())
}

/// What is added to the attacker's own session and resource, and what is said of it.
type Stolen<'a> = (&'a [(&'a str, &'a str)], u16, &'static str);

#[tokio::test]
async fn at_the_token_endpoint_nothing_of_another_zone_is_of_use() {
    let stack = Stack::start().await;
    let (attacker, victim) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let (own, theirs) = (attacker.session(&sts).await, victim.session(&sts).await);
    let (agent, edge) = agent_and_edge(&stack, &victim).await;
    let gateway = stack.url(Service::Gateway, 0);
    let alias = format!("{gateway}/r/{}/{}", victim.zone_id, victim.resource_id);
    let fields = [
        ("subject_token", theirs.as_str()),
        ("resource", &alias),
        ("scope", "orders:read"),
    ];
    assert_eq!(
        victim.token(&sts, &fields).await.status,
        200,
        "it is a name of the resource"
    );

    let sid = claims(&theirs)["sid"].as_str().expect("an id").to_owned();
    let resource = ("resource", attacker.resource.as_str());
    let subject = ("subject_token", own.as_str());
    let as_agent = ("agent_session_id", agent.as_str());
    // An agent of the attacker's own does not make the edge theirs.
    let mine = Hands::of(&stack, &attacker)
        .agent(&attacker.application_id, 3600)
        .await
        .to_string();
    let redeeming = ("delegation_edge_id", edge.as_str());
    let cases: [Stolen<'_>; 8] = [
        (
            &[("subject_token", &theirs), resource],
            400,
            "subject_token_wrong_zone",
        ),
        (
            &[subject, ("actor_token", &theirs), resource],
            400,
            "actor_token_wrong_zone",
        ),
        (
            &[subject, ("session_id", &sid), resource],
            400,
            "session_mismatch",
        ),
        (&[subject, as_agent, resource], 403, "agent_session_not_usable"),
        (&[as_agent], 403, "agent_session_not_usable"),
        (
            &[subject, ("resource", &alias), ("scope", "orders:read")],
            400,
            "unknown_resource",
        ),
        (
            &[subject, as_agent, redeeming, resource],
            403,
            "agent_session_not_usable",
        ),
        (
            &[subject, ("agent_session_id", &mine), redeeming, resource],
            403,
            "delegation_not_found",
        ),
    ];
    for (fields, status, reason) in cases {
        let answer = attacker.token(&sts, fields).await;
        assert_eq!(got(&answer), (status, reason), "{fields:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_client_of_one_zone_is_nobody_in_another_and_a_proof_given_there_is_none_here() {
    let stack = Stack::start().await;
    let (attacker, mut victim) = (World::new(&stack).await, World::new(&stack).await);
    let client = [
        ("application_id", attacker.application_id.as_str()),
        ("client_secret", &attacker.client_secret),
    ];
    let named = [client[0], client[1], ("zone_id", &victim.zone_id)];
    let in_zone = format!("/zones/{}/oauth/2/token", victim.zone_id);
    for (path, form) in [("/oauth/2/token", &named[..]), (in_zone.as_str(), &client[..])] {
        let answer = stack.sts(0).form(path, form).await;
        assert_eq!(got(&answer), (401, "invalid_client"), "{}", answer.text);
    }
    let (own, theirs) = (
        attacker.session(&stack.sts(0)).await,
        victim.session(&stack.sts(0)).await,
    );
    let epoch = victim.adopt(&asking_for("mfa")).await;
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let held = victim.mandate(&sts, &theirs, "orders:read").await;
    let (id, response) = (held.member("challenge_id"), held.member("challenge_secret"));
    assert!(Hands::of(&stack, &victim).satisfy(id).await);
    let shown = [
        ("resource", victim.resource.as_str()),
        ("scope", "orders:read"),
        ("challenge_id", id),
        ("challenge_response", response),
    ];
    let stolen = [&[("subject_token", own.as_str())][..], &shown[..]].concat();
    let good = [&[("subject_token", theirs.as_str())][..], &shown[..]].concat();
    let answer = attacker.token(&stack.sts(0), &stolen).await;
    assert_eq!(got(&answer), (400, "challenge_invalid"), "{}", answer.text);
    assert_eq!(
        victim.token(&sts, &good).await.status,
        200,
        "and it is still good for its owner"
    );
}

#[tokio::test]
async fn introspection_and_revocation_know_nothing_of_another_zones_token_and_the_poll_tells_no_secret() {
    let stack = Stack::start().await;
    let (attacker, mut victim) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let session = victim.session(&sts).await;
    let minted = victim.mandate(&sts, &session, "orders:read").await;
    let mandate = minted.member("access_token").to_owned();
    let victims_zone = ("zone_id", victim.zone_id.as_str());
    for token in [session.as_str(), &mandate] {
        let form = [
            ("application_id", attacker.application_id.as_str()),
            ("client_secret", &attacker.client_secret),
            ("token", token),
        ];
        let told = sts.form("/oauth/2/introspect", &form).await;
        assert_eq!((told.status, told.body), (200, json!({"active": false})));
        let given_back = sts.form("/oauth/2/revoke", &form).await;
        assert_eq!((given_back.status, given_back.text.as_str()), (200, ""));
        let in_zone = [form[0], form[1], form[2], victims_zone];
        for endpoint in ["/oauth/2/introspect", "/oauth/2/revoke"] {
            let answer = sts.form(endpoint, &in_zone).await;
            assert_eq!(
                got(&answer),
                (401, "invalid_client"),
                "{endpoint}: {}",
                answer.text
            );
        }
    }
    let gateway = victim.through(stack.gateway(0), &mandate).get("/orders").await;
    assert_eq!(gateway.status, 200, "nothing was ended: {}", gateway.text);

    let epoch = victim.adopt(&asking_for("mfa")).await;
    let at = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
    let held = victim.mandate(&at, &session, "orders:read").await;
    let polled = sts
        .get(&format!("/step-up/{}", held.member("challenge_id")))
        .await
        .expect(200);
    let mut members: Vec<_> = polled.as_object().expect("members").keys().collect();
    members.sort();
    assert_eq!(
        members,
        ["challenge_type", "consumed", "expires_at", "id", "satisfied"]
    );
    let theirs = attacker.path(&format!(
        "step-up-challenges/{}/satisfy",
        held.member("challenge_id")
    ));
    let elsewhere = stack.admin().post(&theirs, &json!({})).await;
    assert_eq!(
        elsewhere.status, 404,
        "it is not of that zone: {}",
        elsewhere.text
    );
}
