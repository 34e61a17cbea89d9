//! Sessions that name resources: decided, limited and recorded like any exchange; and the rate of each replica.

use crate::hands::{adopt_all, text};
use crate::step_up::asking_for;
use caracal_testkit::stack::Service;
use caracal_testkit::world::{allowing, claims};
use caracal_testkit::{Answer, Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

fn got(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.member("error"), answer.member("reason"))
}

async fn recorded(world: &World, request_id: &str, count: usize) -> Vec<Value> {
    eventually("the events", Duration::from_secs(10), || async {
        let events = world.events(request_id).await;
        (events.len() >= count).then_some(events)
    })
    .await
}

#[tokio::test]
async fn the_beginning_of_a_session_is_on_record_and_whether_all_of_it_was_granted() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let body = json!({"identifier": "resource://small", "scopes": ["orders:write"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let book = world.resource.as_str();
    for (id, resources, decision, events) in [
        ("plain", &[][..], "allow", 1),
        ("whole", &[book], "allow", 2),
        ("partial", &[book, "resource://small"], "partial", 3),
    ] {
        let mut fields: Vec<(&str, &str)> = resources.iter().map(|name| ("resource", *name)).collect();
        if !resources.is_empty() {
            fields.push(("scope", "orders:read"));
        }
        let sts = stack.sts(0).with("X-Request-Id", id);
        let opened = world.token(&sts, &fields).await;
        assert_eq!(opened.status, 200, "{}", opened.text);
        let said = claims(opened.member("access_token"));
        let events = recorded(&world, id, events).await;
        let begun: Vec<_> = events
            .iter()
            .filter(|event| event["event_type"] == "session.created")
            .collect();
        assert_eq!(begun.len(), 1, "{events:?}");
        let begun = begun.first().expect("one");
        assert_eq!(begun["decision"], json!(decision), "{begun}");
        let metadata = &begun["metadata_json"];
        assert_eq!(
            (
                &metadata["session_id"],
                &metadata["application_id"],
                &metadata["session_type"]
            ),
            (&said["sid"], &json!(world.application_id), &json!("application"))
        );
        assert!(
            metadata["expires_at"].is_string() && metadata["epoch"].is_number(),
            "{metadata}"
        );
        for event in events
            .iter()
            .filter(|event| event["event_type"] == "token_exchange")
        {
            let granted = event["metadata_json"]["resource"] == json!(book);
            let expected = if granted { "allow" } else { "deny" };
            assert_eq!(event["decision"], json!(expected), "{event}");
        }
    }
}

#[tokio::test]
async fn each_replica_has_its_rate_and_sessions_that_name_resources_count() {
    let stack = Stack::builder().replicas(Service::Sts, 2).start().await;
    let world = World::new(&stack).await;
    let zone = format!("/v1/zones/{}", world.zone_id);
    let changed = stack
        .admin()
        .patch(&zone, &json!({"mint_rate_per_minute": 2}))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    for replica in 0..2 {
        let sts = stack.sts(replica).with("Caracal-Min-Epoch", &changed.epoch());
        let narrow = [("resource", world.resource.as_str()), ("scope", "orders:read")];
        let opened = world.token(&sts, &narrow).await;
        assert_eq!(opened.status, 200, "{}", opened.text);
        let minted = world
            .mandate(&sts, opened.member("access_token"), "orders:read")
            .await;
        assert_eq!(minted.status, 200, "{}", minted.text);
        let over = world.token(&sts, &narrow).await;
        assert_eq!(got(&over), (429, "slow_down", "rate_limited"), "{}", over.text);
        assert_eq!(
            world.token(&sts, &[]).await.status,
            200,
            "without a resource it has none"
        );
    }
}

#[tokio::test]
async fn a_session_that_names_resources_of_a_zone_without_an_active_set_is_denied() {
    let stack = Stack::start().await;
    let admin = stack.admin();
    let zone = admin
        .post("/v1/zones", &json!({"name": "Empty"}))
        .await
        .expect(201);
    let at = |below: &str| format!("/v1/zones/{}/{below}", text(&zone, "id"));
    let body = json!({"name": "agent", "registration_method": "managed", "credential_type": "token"});
    let application = admin.post(&at("applications"), &body).await.expect(201);
    let body = json!({"identifier": "resource://a", "scopes": ["read"]});
    assert_eq!(admin.post(&at("resources"), &body).await.status, 201);
    let (id, secret) = (text(&application, "id"), text(&application, "client_secret"));
    let form = [
        ("application_id", id.as_str()),
        ("client_secret", &secret),
        ("resource", "resource://a"),
        ("scope", "read"),
    ];
    let answer = stack.sts(0).form("/oauth/2/token", &form).await;
    assert_eq!(
        got(&answer),
        (403, "access_denied", "no_active_policy_set"),
        "{}",
        answer.text
    );
    let plain = stack
        .sts(0)
        .form("/oauth/2/token", form.get(..2).expect("two"))
        .await;
    assert_eq!(plain.status, 200, "it carries no authority: {}", plain.text);
}

/// Denies one resource without a way out.
fn denying(resource: &str) -> String {
    format!(
        r#"package caracal.authz
result := {{"decision": "deny", "evaluation_status": "complete", "determining_policies": ["no"], "diagnostics": []}} if {{
  input.resource.identifier == "{resource}"
}}"#
    )
}

/// Asks for a proof at one resource, and has no opinion of others.
fn asking_at(resource: &str, proof: &str) -> String {
    format!(
        r#"package caracal.authz
result := {{"decision": "deny", "evaluation_status": "complete", "determining_policies": ["proof"], "diagnostics": [{{"step_up_required": "{proof}"}}]}} if {{
  input.resource.identifier == "{resource}"
  not input.context.challenge_resolved
}}"#
    )
}

#[tokio::test]
async fn a_plain_deny_beats_a_proof_and_of_several_proofs_the_strongest_is_asked_for() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let body = json!({"identifier": "resource://b", "scopes": ["orders:read"]});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let (permit, book) = (allowing(&["orders:read"]), world.resource.as_str());
    let ask = async |policies: &[&str], resources: &[&str]| {
        let mut policies = policies.to_vec();
        policies.push(&permit);
        let epoch = adopt_all(&stack, &world, &policies).await;
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
        let session = world.session(&sts).await;
        let mut fields = vec![("subject_token", session.as_str()), ("scope", "orders:read")];
        fields.extend(resources.iter().map(|resource| ("resource", *resource)));
        world.token(&sts, &fields).await
    };
    let denied = ask(&[&asking_for("human_approval"), &denying(book)], &[book]).await;
    assert_eq!(
        got(&denied),
        (403, "access_denied", "policy_deny"),
        "{}",
        denied.text
    );
    assert!(denied.member("challenge_id").is_empty());
    let (attestation, mfa) = (asking_for("software_attestation"), asking_for("mfa"));
    let human = asking_for("human_approval");
    for (policies, proof) in [
        (vec![attestation.as_str()], "software_attestation"),
        (vec![attestation.as_str(), mfa.as_str()], "mfa"),
        (
            vec![mfa.as_str(), attestation.as_str(), human.as_str()],
            "human_approval",
        ),
    ] {
        let held = ask(&policies, &[book]).await;
        let expected = (401, "interaction_required", "step_up_required");
        assert_eq!(got(&held), expected, "{}", held.text);
        assert_eq!(held.member("challenge_type"), proof);
    }
    let (at_book, at_b) = (
        asking_at(book, "software_attestation"),
        asking_at("resource://b", "mfa"),
    );
    for order in [[book, "resource://b"], ["resource://b", book]] {
        let held = ask(&[&at_book, &at_b], &order).await;
        assert_eq!(
            (held.status, held.member("challenge_type")),
            (401, "mfa"),
            "{}",
            held.text
        );
    }
    // One held resource holds the request, whatever became of the other one.
    let held = ask(&[&at_b, &denying(book)], &[book, "resource://b"]).await;
    assert_eq!(
        (held.status, held.member("challenge_type")),
        (401, "mfa"),
        "{}",
        held.text
    );
    let unknown = ask(&[&asking_for("a_promise")], &[book]).await;
    assert_eq!(
        got(&unknown),
        (403, "access_denied", "policy_deny"),
        "{}",
        unknown.text
    );
}
