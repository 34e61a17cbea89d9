//! Every POST that writes, sent twice with one key: the second answer is the first, but for its secrets.

use super::connection::Consents;
use super::given::{application, session};
use super::step_up::challenge;
use super::{ALLOW, alone};
use caracal_api::routes::TABLE;
use caracal_testkit::stack::Stack;
use serde_json::{Value, json};

/// Stores nothing, so that a key has nothing to keep.
const WITHOUT_KEYS: [&str; 4] = [
    "/v1/policies/validate",
    "/v1/zones/{zone_id}/policy-sets/{id}/simulate",
    "/v1/zones/{zone_id}/policy-sets/{id}/replay",
    "/v1/zones/{zone_id}/providers/{id}/check",
];
const SECRETS: [&str; 3] = ["client_secret", "app_client_secret", "token"];

/// A route, the path and the body of a request, and the status it is answered with.
type Request = (&'static str, String, Value, u16);

/// One request or more for each route, with all that it names there.
async fn requests(stack: &Stack, world: &Consents) -> Vec<Request> {
    let zone = &world.zone;
    let opened = zone
        .admin
        .patch(&format!("/v1/zones/{}", zone.id), &json!({"dcr_enabled": true}))
        .await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    let [policy, policy_version, set, set_version] = zone.drafted().await;
    let agent = application(zone, "agent").await;
    let sessions = [
        session(stack, zone, &agent, "ann").await,
        session(stack, zone, &agent, "bob").await,
    ];
    let waiting = challenge(stack, zone, &agent, "5 minutes").await;
    let connection = world.connect("ann").await.member("id").to_owned();
    let ended = format!("sessions/{}/revoke", sessions[1]);
    assert_eq!(zone.post(&ended, &json!({})).await.status, 200);
    let at = |route: &'static str, id: &str, body: Value, status: u16| {
        let path = route.replace("{zone_id}", &zone.id).replace("{id}", id);
        (route, path, body, status)
    };
    let invitation = json!({"email": "c@b.example", "role": "admin"});
    let invitation = zone.post("invitations", &invitation).await;
    let accepted = json!({"token": invitation.member("token")});
    let grant =
        json!({"application_id": agent, "user_id": "ann", "resource_id": world.resource, "scopes": ["read"]});
    let rotate = "/v1/zones/{zone_id}/signing-keys/rotate";
    let revoke_session = "/v1/zones/{zone_id}/sessions/{id}/revoke";
    let new = |name: &str, method: &str| json!({"name": name, "registration_method": method, "credential_type": "token"});
    vec![
        at("/v1/zones", "", json!({"name": "z"}), 201),
        at("/v1/local/bootstrap", "", json!({}), 201),
        at("/v1/local/bootstrap", "", json!({"force": true}), 200),
        at("/v1/admin-tokens", "", json!({"scope": "global"}), 201),
        at(rotate, "", json!({"mode": "graceful"}), 202),
        at(rotate, "", json!({"mode": "emergency"}), 200),
        at("/v1/zones/{zone_id}/applications", "", new("a", "managed"), 201),
        at("/v1/zones/{zone_id}/applications", "", new("b", "dcr"), 201),
        at(
            "/v1/zones/{zone_id}/applications/dcr",
            "",
            json!({"name": "c"}),
            201,
        ),
        at(
            "/v1/zones/{zone_id}/applications/{id}/rotate-secret",
            &agent,
            json!({}),
            200,
        ),
        at(
            "/v1/zones/{zone_id}/resources",
            "",
            json!({"identifier": "resource://r", "scopes": ["read"]}),
            201,
        ),
        at(
            "/v1/zones/{zone_id}/providers",
            "",
            json!({"identifier": "p", "kind": "apikey", "secret_config": {"api_key": "k"}}),
            201,
        ),
        at(
            "/v1/zones/{zone_id}/provider-connections/authorize",
            "",
            world.body("bob"),
            200,
        ),
        at(
            "/v1/zones/{zone_id}/provider-connections/{id}/revoke",
            &connection,
            json!({}),
            200,
        ),
        at(
            "/v1/zones/{zone_id}/policies",
            "",
            json!({"name": "p", "content": ALLOW}),
            201,
        ),
        at(
            "/v1/zones/{zone_id}/policies/{id}/versions",
            &policy,
            json!({"content": ALLOW}),
            201,
        ),
        at("/v1/zones/{zone_id}/policy-sets", "", json!({"name": "s"}), 201),
        at(
            "/v1/zones/{zone_id}/policy-sets/{id}/versions",
            &set,
            json!({"manifest": [{"policy_version_id": policy_version}]}),
            201,
        ),
        at(
            "/v1/zones/{zone_id}/policy-sets/{id}/activate",
            &set,
            json!({"version_id": set_version}),
            202,
        ),
        at("/v1/zones/{zone_id}/grants", "", grant, 201),
        at(
            "/v1/zones/{zone_id}/subject-issuers",
            "",
            json!({"issuer": "https://idp.example", "audience": "a", "subject_prefix": "i|"}),
            201,
        ),
        at(
            "/v1/zones/{zone_id}/subjects/revoke",
            "",
            json!({"subject_id": "cleo"}),
            200,
        ),
        at(
            "/v1/zones/{zone_id}/step-up-challenges/{id}/satisfy",
            &waiting,
            json!({}),
            200,
        ),
        at(
            "/v1/zones/{zone_id}/invitations",
            "",
            json!({"email": "a@b.example", "role": "viewer"}),
            201,
        ),
        at("/v1/invitations/accept", "", accepted, 201),
        at(revoke_session, &sessions[0], json!({}), 200),
        at(revoke_session, &sessions[1], json!({}), 200),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_is_answered_as_the_first_time_but_for_its_secrets() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let requests = requests(&stack, &world).await;
    for route in TABLE.iter().filter(|route| route.method == "post") {
        let has_one = requests.iter().any(|(of, ..)| *of == route.path);
        assert_ne!(has_one, WITHOUT_KEYS.contains(&route.path), "{}", route.path);
    }
    for (number, (_, path, body, status)) in requests.iter().enumerate() {
        let caller = world
            .zone
            .admin
            .clone()
            .with("Idempotency-Key", &format!("key {number}"));
        let first = caller.post(path, body).await;
        let again = caller.post(path, body).await;
        let what = format!("{path} {body}: {} then {}", first.text, again.text);
        assert_eq!((first.status, again.status), (*status, *status), "{what}");
        assert_eq!(first.header("idempotency-replayed"), "", "{what}");
        assert_eq!(again.header("idempotency-replayed"), "true", "{what}");
        let mut shown = first.body.clone();
        if let Some(members) = shown.as_object_mut() {
            members.retain(|name, _| !SECRETS.contains(&name.as_str()));
        }
        assert_eq!(again.body, shown, "{what}");
        for header in ["caracal-zone-epoch", "etag"] {
            assert_eq!(
                again.headers.get(header),
                first.headers.get(header),
                "{header}: {what}"
            );
        }
        let of_zone = path.starts_with("/v1/zones") || path.ends_with("bootstrap");
        assert!(
            !of_zone || !first.epoch().is_empty(),
            "a write tells its zone's epoch: {what}"
        );
        let other = caller.post(path, &json!({"another": "body"})).await;
        assert!(matches!(other.status, 400 | 409), "{path}: {}", other.text);
    }
}
