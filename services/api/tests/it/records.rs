//! What the ledger tells of the control plane: secrets that changed, refusals under the name of the deed, and everything
//! by what it is about, also when the zone is gone.

use super::connection::Consents;
use super::given::{application, private_key, session};
use super::{ALLOW, Zone};
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Answer, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

async fn recording() -> Stack {
    Stack::builder()
        .replicas(Service::Sts, 0)
        .replicas(Service::Gateway, 0)
        .start()
        .await
}

/// The zone's events that pass the filter, first to last, once there are as many as wanted.
async fn events(zone: &Zone, filter: &str, wanted: usize) -> Vec<Value> {
    eventually(filter, PATIENCE, || async {
        let found = zone.get(&format!("audit?{filter}")).await.expect(200);
        let mut rows = found["rows"].as_array().expect("rows").clone();
        rows.reverse();
        (rows.len() == wanted).then_some(rows)
    })
    .await
}

fn types(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event_type"].as_str().expect("a type"))
        .collect()
}

fn change(from: &Value, to: &Value) -> Value {
    json!({"from": from, "to": to})
}

async fn sent(zone: &Zone, method: Method, path: &str) -> Answer {
    let fill = |request: reqwest::RequestBuilder| request.json(&json!({}));
    zone.admin.send(method, path, fill).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_changed_is_named_and_not_shown() {
    let stack = recording().await;
    let zone = Zone::new(&stack, "Secrets").await;
    let hidden = json!("[redacted]");
    let (app, public) = (
        application(&zone, "agent").await,
        json!({"credential_type": "public"}),
    );
    let path = zone.at(&format!("applications/{app}"));
    let chosen = zone.admin.patch(&path, &json!({"client_secret": "chosen"})).await;
    assert_eq!(chosen.status, 200);
    let rotate = zone.admin.clone().with("If-Match", chosen.header("etag"));
    let rotate_path = format!("{path}/rotate-secret");
    assert_eq!(rotate.post(&rotate_path, &json!({})).await.status, 200);
    let stale = rotate.post(&rotate_path, &json!({})).await;
    assert_eq!((stale.status, stale.member("error")), (412, "version_conflict"));
    assert_eq!(zone.admin.patch(&path, &public).await.status, 200);
    let found = events(&zone, &format!("application_id={app}"), 5).await;
    assert_eq!(
        types(&found),
        [
            "admin.application.create",
            "admin.application.update",
            "admin.application.rotate_secret",
            "admin.application.rotate_secret",
            "admin.application.update"
        ]
    );
    let told: Vec<&Value> = found
        .iter()
        .map(|event| &event["metadata_json"]["changes"]["client_secret"])
        .collect();
    let (null, both) = (json!(null), change(&hidden, &hidden));
    assert_eq!(
        told,
        [
            &change(&null, &hidden),
            &both,
            &both,
            &null,
            &change(&hidden, &null)
        ]
    );

    let provider = json!({"identifier": "p", "kind": "oauth2", "config_json": {
        "token_endpoint": "https://idp.example/token", "client_id": "c"}, "secret_config": {"client_secret": "one"}});
    let provider = zone.post("providers", &provider).await.expect(201);
    let path = zone.at(&format!("providers/{}", provider["id"].as_str().expect("an id")));
    for secrets in [
        json!({"client_secret": "one", "private_key": private_key("new")}),
        json!({"client_secret": "two"}),
        json!({"private_key": null}),
    ] {
        let changed = zone.admin.patch(&path, &json!({"secret_config": secrets})).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }
    let found = events(&zone, "event_type=admin.provider.update", 3).await;
    let secrets = |n: usize| {
        let changes = found[n]["metadata_json"]["changes"].as_object().expect("changes");
        let secrets = changes
            .iter()
            .filter(|(name, _)| name.starts_with("secret_config."));
        Value::Object(secrets.map(|(name, told)| (name.clone(), told.clone())).collect())
    };
    assert_eq!(
        secrets(0),
        json!({"secret_config.private_key": change(&null, &hidden)})
    );
    assert_eq!(secrets(1), json!({"secret_config.client_secret": both}));
    assert_eq!(
        secrets(2),
        json!({"secret_config.private_key": change(&hidden, &null)})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_name_of_the_deed_and_every_attempt_is_one() {
    let stack = recording().await;
    let zone = Zone::new(&stack, "Names").await;
    let [policy, version, set, _] = zone.drafted().await;
    let both = |name: &str| format!("event_type=admin.{name}");
    zone.post(
        &format!("policies/{policy}/versions"),
        &json!({"content": "nonsense"}),
    )
    .await;
    zone.post(&format!("policies/{policy}/versions"), &json!({"content": ALLOW}))
        .await;
    let told = events(&zone, &both("policy_version.create"), 2).await;
    assert_eq!(
        (&told[0]["decision"], &told[1]["decision"]),
        (&json!("deny"), &json!("allow"))
    );
    let manifest = json!([{"policy_version_id": version}]);
    zone.post(&format!("policy-sets/{set}/versions"), &json!({"manifest": []}))
        .await;
    let told = events(&zone, &both("policy_set_version.create"), 2).await;
    assert_eq!(told[0]["metadata_json"]["changes"]["manifest"]["to"], manifest);
    assert_eq!(
        (&told[0]["decision"], &told[1]["decision"]),
        (&json!("allow"), &json!("deny"))
    );
    zone.post("applications/dcr", &json!({"name": "d"})).await;
    let told = events(&zone, &both("application.create"), 1).await;
    assert_eq!(told[0]["reason"], "dcr_disabled");
    zone.post("signing-keys/rotate", &json!({"mode": "emergency"}))
        .await;
    zone.post("signing-keys/rotate", &json!({"mode": "sometimes"}))
        .await;
    let told = events(&zone, &both("signing_key.rotate"), 2).await;
    assert_eq!(told[0]["metadata_json"]["mode"], "emergency");

    let itself = format!("/v1/zones/{}", zone.id);
    assert_eq!(zone.admin.patch(&itself, &json!({})).await.status, 400);
    let told = events(&zone, &both("zone.update"), 1).await;
    assert_eq!(told[0]["metadata_json"]["object_id"], json!(zone.id));

    // Where nothing answers, also for a zone's own token in another's path.
    let other = Zone::new(&stack, "Other").await;
    let token = json!({"scope": "zone", "zone_id": other.id});
    let token = zone.admin.post("/v1/admin-tokens", &token).await;
    let guest = stack.anonymous(Service::Api, 0).bearer(token.member("token"));
    assert_eq!(
        sent(&zone, Method::DELETE, &zone.at("resources")).await.status,
        405
    );
    assert_eq!(sent(&zone, Method::POST, &zone.at("nonsense")).await.status, 404);
    assert_eq!(guest.post(&zone.at("nonsense"), &json!({})).await.status, 404);
    assert_eq!(zone.get("nonsense").await.status, 404);
    let told = events(&zone, &both("request.refused"), 2).await;
    let of = |event: &Value, name: &str| event["metadata_json"][name].as_str().expect("a text").to_owned();
    assert_eq!(
        (of(&told[0], "method"), of(&told[0], "path"), &told[0]["reason"]),
        (
            "DELETE".to_owned(),
            zone.at("resources"),
            &json!("method_not_allowed")
        )
    );
    assert_eq!(
        (of(&told[1], "method"), of(&told[1], "path"), &told[1]["reason"]),
        ("POST".to_owned(), zone.at("nonsense"), &json!("not_found"))
    );
    assert!(of(&told[1], "actor").starts_with("admin-token:"));
    assert_eq!(events(&other, &both("request.refused"), 1).await.len(), 1);
    stack
        .anonymous(Service::Api, 0)
        .post("/v1/nonsense", &json!({}))
        .await;
    sent(&zone, Method::POST, "/v1/nonsense").await;
    let system = zone.admin.get("/v1/zones").await.expect(200);
    let is_system = |zone: &&Value| zone["slug"] == "caracal-sys";
    let system = system
        .as_array()
        .expect("zones")
        .iter()
        .find(is_system)
        .expect("it is there");
    let id = system["id"].as_str().expect("an id").to_owned();
    let system = Zone {
        admin: stack.admin(),
        id,
    };
    events(&system, &both("request.refused"), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deed_is_found_by_what_it_is_about_also_when_the_zone_is_gone() {
    let stack = recording().await;
    let zone = Zone::new(&stack, "Subjects").await;
    let app = application(&zone, "agent").await;
    let live = session(&stack, &zone, &app, "ada").await;
    zone.post(&format!("sessions/{live}/revoke"), &json!({})).await;
    let told = events(&zone, &format!("session_id={live}"), 1).await;
    assert_eq!(
        (types(&told), &told[0]["metadata_json"]["application_id"]),
        (vec!["admin.session.revoke"], &json!(app))
    );
    let resource = json!({"identifier": "resource://old", "scopes": ["a:read"]});
    let resource = zone.post("resources", &resource).await.member("id").to_owned();
    let path = zone.at(&format!("resources/{resource}"));
    let grant =
        json!({"application_id": app, "user_id": "ada", "resource_id": resource, "scopes": ["a:read"]});
    assert_eq!(zone.post("grants", &grant).await.status, 201);
    let renamed = zone
        .admin
        .patch(&path, &json!({"identifier": "resource://new"}))
        .await;
    assert_eq!(renamed.status, 200);
    assert_eq!(zone.admin.delete(&path).await.status, 204);
    let old = events(&zone, "resource=resource://old", 3).await;
    assert_eq!(
        types(&old),
        [
            "admin.resource.create",
            "admin.grant.create",
            "admin.resource.update"
        ]
    );
    let new = events(&zone, "resource=resource://new", 2).await;
    assert_eq!(types(&new), ["admin.resource.update", "admin.resource.archive"]);
    // Page by page, whichever of the two places it is kept in.
    let first = zone
        .get("audit?resource=resource://old&limit=2")
        .await
        .expect(200);
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let rest = zone
        .get(&format!("audit?resource=resource://old&limit=2&cursor={cursor}"))
        .await;
    assert_eq!(rest.expect(200)["rows"].as_array().map(Vec::len), Some(1));

    let invited = zone
        .post(
            "invitations",
            &json!({"email": "a@example.com", "role": "viewer"}),
        )
        .await;
    let token = json!({"token": invited.member("token")});
    let accepted = zone.admin.post("/v1/invitations/accept", &token).await;
    assert_eq!(accepted.status, 201, "{}", accepted.text);
    let told = events(&zone, "event_type=admin.admin_token.create", 1).await;
    let metadata = &told[0]["metadata_json"];
    assert_eq!(
        (
            &metadata["object_id"],
            &metadata["role"],
            &metadata["changes"]["zone_id"]["to"]
        ),
        (&accepted.body["id"], &json!("viewer"), &json!(zone.id)),
        "{metadata}"
    );

    let gone = zone.admin.clone().with("X-Request-Id", "the-end");
    assert_eq!(gone.delete(&format!("/v1/zones/{}", zone.id)).await.status, 204);
    events(&zone, "event_type=admin.zone.archive", 1).await;
    for (path, status) in [
        ("audit?format=ndjson", 200),
        ("audit/by-request/the-end", 200),
        ("audit/by-request/the-end/explain", 200),
        ("audit/tail", 404),
        ("resources", 404),
    ] {
        assert_eq!(zone.get(path).await.status, status, "{path}");
    }
    let theirs = stack.anonymous(Service::Api, 0).bearer(accepted.member("token"));
    assert_eq!(theirs.get(&zone.at("audit")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_came_to_nothing_is_in_the_ledger_of_its_zone() {
    let stack = recording().await;
    let world = Consents::new(&stack).await;
    let api = stack.anonymous(Service::Api, 0);
    for (id, query, reason) in [
        ("denied", "error=access_denied", "provider_oauth_denied"),
        ("not-exchanged", "code=another", "provider_token_exchange_failed"),
        (
            "of-another",
            "code=x&iss=https://another.example",
            "invalid_oauth_callback",
        ),
    ] {
        let begun = world.begin("user@example.com").await;
        let state = begun["state"].as_str().expect("a state");
        let back = api.clone().with("X-Request-Id", id);
        let answer = back
            .get(&format!("/v1/oauth/callback?state={state}&{query}"))
            .await;
        assert_eq!(answer.member("error"), reason, "{}", answer.text);
        let found = events(&world.zone, &format!("request_id={id}"), 1).await;
        assert_eq!(
            (
                &found[0]["event_type"],
                &found[0]["decision"],
                &found[0]["reason"]
            ),
            (&json!("admin.connection.create"), &json!("deny"), &json!(reason))
        );
        assert!(!found[0].to_string().contains(state), "nor its state");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_makes_a_record_unreadable_or_comes_back_as_another() {
    let stack = recording().await;
    let zone = Zone::new(&stack, "Numbers").await;
    for number in [
        json!(f64::MAX),
        json!(f64::MIN),
        json!(5e-324),
        json!(0.1 + 0.2),
        json!(u64::MAX),
        json!(9_007_199_254_740_993.0),
    ] {
        let request = Uuid::now_v7().to_string();
        let refused = zone
            .admin
            .send(Method::POST, &zone.at("applications"), |wish| {
                wish.header("X-Request-Id", &request)
                    .json(&json!({"size": number}))
            })
            .await
            .expect("an answer");
        assert_eq!(refused.member("error"), "invalid_body");
        let told = events(&zone, &format!("request_id={request}"), 1).await;
        assert_eq!(told[0]["metadata_json"]["changes"]["size"]["to"], number);
    }
    let all = zone.get("audit").await.expect(200);
    assert!(all["rows"].as_array().is_some_and(|rows| rows.len() > 6), "{all}");
}
