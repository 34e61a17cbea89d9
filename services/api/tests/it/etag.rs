//! `ETag` and `If-Match`: every object has the one, every PATCH and DELETE looks at the other.

use super::connection::Consents;
use super::given::application;
use super::step_up::challenge;
use super::{ALLOW, Zone, alone};
use caracal_api::routes::TABLE;
use caracal_testkit::Answer;
use caracal_testkit::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};

/// Where an object is, its ETag now, and what would change it, if it can be changed.
type Object = (&'static str, String, String, Option<Value>);

/// A live object for each route that changes or ends one.
async fn objects(stack: &Stack, zone: &Zone) -> Vec<Object> {
    let mut all = Vec::new();
    let mut application = String::new();
    let mut resource = String::new();
    for (route, noun, body, patch) in [
        (
            "/v1/zones/{zone_id}/applications/{id}",
            "applications",
            json!({"name": "a", "registration_method": "managed"}),
            Some(json!({"name": "b"})),
        ),
        (
            "/v1/zones/{zone_id}/resources/{id}",
            "resources",
            json!({"identifier": "resource://a", "scopes": ["read"]}),
            Some(json!({"name": "b"})),
        ),
        (
            "/v1/zones/{zone_id}/providers/{id}",
            "providers",
            json!({"identifier": "a", "kind": "apikey"}),
            Some(json!({"name": "b"})),
        ),
        (
            "/v1/zones/{zone_id}/subject-issuers/{id}",
            "subject-issuers",
            json!({"issuer": "https://idp.example", "audience": "a", "subject_prefix": "i|"}),
            Some(json!({"audience": "b"})),
        ),
        (
            "/v1/zones/{zone_id}/policies/{id}",
            "policies",
            json!({"name": "a", "content": ALLOW}),
            None,
        ),
        (
            "/v1/zones/{zone_id}/policy-sets/{id}",
            "policy-sets",
            json!({"name": "a"}),
            None,
        ),
        (
            "/v1/zones/{zone_id}/invitations/{id}",
            "invitations",
            json!({"email": "a@b.example", "role": "viewer"}),
            None,
        ),
    ] {
        let made = zone.post(noun, &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        match noun {
            "applications" => made.member("id").clone_into(&mut application),
            "resources" => made.member("id").clone_into(&mut resource),
            _ => {}
        }
        let path = zone.at(&format!("{noun}/{}", made.member("id")));
        all.push((route, path, made.header("etag").to_owned(), patch));
    }
    let grant =
        json!({"application_id": application, "user_id": "u", "resource_id": resource, "scopes": ["read"]});
    let grant = zone.post("grants", &grant).await;
    let path = zone.at(&format!("grants/{}", grant.member("id")));
    all.push((
        "/v1/zones/{zone_id}/grants/{id}",
        path,
        grant.header("etag").to_owned(),
        None,
    ));
    let token = zone
        .admin
        .post("/v1/admin-tokens", &json!({"scope": "global"}))
        .await;
    let path = format!("/v1/admin-tokens/{}", token.member("id"));
    all.push((
        "/v1/admin-tokens/{id}",
        path,
        token.header("etag").to_owned(),
        None,
    ));
    let other = Zone::new(stack, "Other").await;
    let path = format!("/v1/zones/{}", other.id);
    let etag = zone.admin.get(&path).await.header("etag").to_owned();
    all.push(("/v1/zones/{zone_id}", path, etag, Some(json!({"name": "b"}))));
    // Grants go before the application and the resource they bind.
    all.reverse();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_and_every_end_asks_whether_the_object_is_still_the_same() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Matches").await;
    let objects = objects(&stack, &zone).await;
    for route in TABLE
        .iter()
        .filter(|route| matches!(route.method, "patch" | "delete"))
    {
        let object = objects.iter().find(|(of, ..)| *of == route.path);
        let (.., patch) = object.unwrap_or_else(|| panic!("make an object for {route:?}"));
        assert!(route.method == "delete" || patch.is_some(), "{route:?}");
    }
    for (_, path, etag, patch) in &objects {
        let send = async |method: Method, tags: &str| {
            let fill = |request: reqwest::RequestBuilder| {
                let request = request.header("If-Match", tags.to_owned());
                match patch {
                    Some(body) if method == Method::PATCH => request.json(body),
                    _ => request,
                }
            };
            zone.admin
                .send(method.clone(), path, fill)
                .await
                .expect("an answer")
        };
        let stale = |answer: Answer| {
            assert_eq!(
                (answer.status, answer.member("error")),
                (412, "version_conflict"),
                "{path}"
            );
        };
        assert!(etag.len() > 2, "{path}: {etag}");
        let shown = zone.admin.get(path).await;
        assert_eq!(
            (shown.status, shown.header("etag")),
            (200, etag.as_str()),
            "{path}"
        );
        let other = "\"99\", \"98\"";
        let mut now = etag.clone();
        if patch.is_some() {
            stale(send(Method::PATCH, other).await);
            stale(send(Method::PATCH, &format!("W/{etag}")).await);
            let changed = send(Method::PATCH, &format!("\"99\", {etag}")).await;
            assert_eq!(changed.status, 200, "{path}: {}", changed.text);
            assert_ne!(changed.header("etag"), etag, "{path}");
            stale(send(Method::PATCH, etag).await);
            let records = "SELECT count(*) FROM event_spool";
            let recorded = stack.database().count(records).await;
            let any = send(Method::PATCH, "*").await;
            assert_eq!(any.status, 200, "{path}: {}", any.text);
            assert_eq!(
                (any.header("etag"), any.epoch(), &any.body),
                (changed.header("etag"), changed.epoch(), &changed.body),
                "{path}: what changes nothing leaves no trace"
            );
            assert_eq!(stack.database().count(records).await, recorded, "{path}");
            any.header("etag").clone_into(&mut now);
            assert_eq!(zone.admin.get(path).await.header("etag"), now, "{path}");
            stale(send(Method::DELETE, etag).await);
        }
        stale(send(Method::DELETE, other).await);
        let gone = send(Method::DELETE, &now).await;
        assert_eq!(gone.status, 204, "{path}: {}", gone.text);
        let absent = send(Method::DELETE, "*").await;
        assert_eq!(absent.status, 404, "{path}: what is not there matches nothing");
    }
    let any = zone.post("policy-sets", &json!({"name": "any"})).await;
    let path = zone.at(&format!("policy-sets/{}", any.member("id")));
    let gone = zone.admin.clone().with("If-Match", "*").delete(&path).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_visible_change_moves_the_etag() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Moves").await;
    let [policy, version, set, set_version] = zone.drafted().await;
    let agent = application(&zone, "agent").await;
    let etag = async |path: &str| zone.get(path).await.header("etag").to_owned();
    for (item, path, body) in [
        (
            format!("policies/{policy}"),
            format!("policies/{policy}/versions"),
            json!({"content": ALLOW}),
        ),
        (
            format!("policy-sets/{set}"),
            format!("policy-sets/{set}/versions"),
            json!({"manifest": [{"policy_version_id": version}]}),
        ),
        (
            format!("policy-sets/{set}"),
            format!("policy-sets/{set}/activate"),
            json!({"version_id": set_version}),
        ),
        (
            format!("applications/{agent}"),
            format!("applications/{agent}/rotate-secret"),
            json!({}),
        ),
    ] {
        let before = etag(&item).await;
        let done = zone.post(&path, &body).await;
        assert!(done.status < 300, "{path}: {}", done.text);
        let after = etag(&item).await;
        assert!(
            !after.is_empty() && after != before,
            "{path}: {before} then {after}"
        );
        let stale = zone
            .admin
            .clone()
            .with("If-Match", &before)
            .delete(&zone.at(&item))
            .await;
        assert_eq!(stale.status, 412, "{path}");
    }
    let rotated = zone
        .post(&format!("applications/{agent}/rotate-secret"), &json!({}))
        .await;
    assert_eq!(
        rotated.header("etag"),
        etag(&format!("applications/{agent}")).await
    );
    // What never changes has one too.
    for (list, item) in [
        (format!("policies/{policy}/versions"), version),
        (format!("policy-sets/{set}/versions"), set_version),
    ] {
        assert_eq!(etag(&format!("{list}/{item}")).await, "\"1\"", "{list}");
    }
    let made = json!({"manifest": [{"policy_version_id": zone.get(&format!("policies/{policy}")).await.body["versions"][0]["id"]}]});
    let made = zone.post(&format!("policy-sets/{set}/versions"), &made).await;
    assert_eq!(
        (made.status, made.header("etag")),
        (201, "\"3\""),
        "{}",
        made.text
    );
    let waiting = format!(
        "step-up-challenges/{}",
        challenge(&stack, &zone, &agent, "5 minutes").await
    );
    let before = etag(&waiting).await;
    let satisfied = zone.post(&format!("{waiting}/satisfy"), &json!({})).await;
    assert_ne!(satisfied.header("etag"), before);
    assert_eq!(satisfied.header("etag"), etag(&waiting).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_shows_its_new_etag() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let connected = world.connect("ann").await;
    let path = format!("provider-connections/{}", connected.member("id"));
    let before = world.zone.get(&path).await.header("etag").to_owned();
    let revoked = world.zone.post(&format!("{path}/revoke"), &json!({})).await;
    assert_ne!(revoked.header("etag"), before);
    assert_eq!(revoked.header("etag"), world.zone.get(&path).await.header("etag"));
}
