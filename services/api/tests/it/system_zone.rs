//! System zones: who writes there, and whose names they keep.

use super::{ALLOW, Zone, alone};
use caracal_api::routes::TABLE;
use caracal_testkit::Client;
use caracal_testkit::stack::{Service, Stack};
use reqwest::Method;
use serde_json::{Value, json};

/// The system zone, with the operator as its caller.
async fn system(stack: &Stack) -> Zone {
    let admin = stack.admin();
    let zones = admin.get("/v1/zones?limit=1000").await.expect(200);
    let rows = zones.as_array().expect("a list");
    let system = rows
        .iter()
        .find(|zone| zone["slug"] == "caracal-sys")
        .expect("the system zone");
    let id = system["id"].as_str().expect("an id").to_owned();
    Zone { admin, id }
}

/// A caller with a zone's own token.
async fn own(stack: &Stack, zone: &Zone) -> Client {
    let body = json!({"scope": "zone", "zone_id": zone.id});
    let made = stack.admin().post("/v1/admin-tokens", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    stack.anonymous(Service::Api, 0).bearer(made.member("token"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_zones_own_token_only_reads() {
    let stack = alone().start().await;
    let system = system(&stack).await;
    let own = own(&stack, &system).await;
    let nothing = "0198c0de-0000-7000-8000-000000000000";
    let reads = ["/simulate", "/replay", "/check"];
    let mut writes = 0;
    for route in TABLE
        .iter()
        .filter(|route| route.path.starts_with("/v1/zones/{zone_id}"))
    {
        let governs = route.path == "/v1/zones/{zone_id}" && route.method == "delete";
        if route.method == "get" || governs || reads.iter().any(|end| route.path.ends_with(end)) {
            continue;
        }
        writes += 1;
        let path = route.path.replace("{zone_id}", &system.id);
        let path = path.replace("{id}", nothing).replace("{version_id}", nothing);
        let method = Method::from_bytes(route.method.to_uppercase().as_bytes()).expect("a method");
        // Before its body is looked at.
        let fill = |request: reqwest::RequestBuilder| request.json(&json!("nonsense"));
        let refused = own.send(method, &path, fill).await.expect("an answer");
        assert_eq!(
            (refused.status, refused.member("error")),
            (403, "system_zone_read_only"),
            "{} {path}",
            route.method
        );
    }
    assert!(writes >= 25, "{writes}");
    assert_eq!(own.get(&system.at("resources")).await.status, 200);
    let archive = own.delete(&format!("/v1/zones/{}", system.id)).await;
    assert_eq!(
        (archive.status, archive.member("error")),
        (403, "admin_token_zone_mismatch")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_becomes_a_system_zone_by_a_global_token() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Platform").await;
    let own = own(&stack, &zone).await;
    let path = format!("/v1/zones/{}", zone.id);
    let mark = json!({"is_system": true});
    let refused = own.patch(&path, &mark).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_zone_mismatch")
    );
    let resource = json!({"identifier": "caracal.sys/model", "scopes": ["read"]});
    assert_eq!(
        zone.post("resources", &resource).await.member("error"),
        "reserved_namespace"
    );
    let marked = zone.admin.patch(&path, &mark).await.expect(200);
    assert_eq!(marked["is_system"], true);
    let made = zone.post("resources", &resource).await.expect(201);
    let refused = own.post(&zone.at("policy-sets"), &json!({"name": "s"})).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "system_zone_read_only")
    );
    assert_eq!(own.get(&zone.at("resources")).await.status, 200);
    // Named after the namespace, it cannot leave it.
    let named = json!({"name": " Caracal.SYS/platform"});
    assert_eq!(zone.admin.patch(&path, &named).await.status, 200);
    let leaving = zone.admin.patch(&path, &json!({"is_system": false})).await;
    assert_eq!(
        (leaving.status, leaving.member("error")),
        (400, "reserved_namespace")
    );
    let both = json!({"is_system": false, "name": "Platform"});
    // Nor while something in it is named so.
    assert_eq!(
        zone.admin.patch(&path, &both).await.member("error"),
        "reserved_namespace"
    );
    let resource = zone.at(&format!("resources/{}", made["id"].as_str().expect("an id")));
    assert_eq!(zone.admin.delete(&resource).await.status, 204);
    assert_eq!(
        zone.admin.patch(&path, &both).await.expect(200)["is_system"],
        false
    );
    assert_eq!(
        own.post(&zone.at("policy-sets"), &json!({"name": "s"}))
            .await
            .status,
        201
    );
    let made = json!({"name": "caracal.sys/born", "is_system": true});
    let made = zone.admin.post("/v1/zones", &made).await.expect(201);
    assert_eq!(made["is_system"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_names_are_refused_wherever_a_name_is_given() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Tenant").await;
    let names = [
        "caracal.sys/x",
        "CARACAL.sys/x",
        "  Caracal.Sys/",
        "\u{a0}caracal.sys/x",
    ];
    let reserved = |answer: caracal_testkit::Answer, what: &str| {
        assert_eq!(
            (answer.status, answer.member("error")),
            (400, "reserved_namespace"),
            "{what}: {}",
            answer.text
        );
    };
    let with = |mut body: Value, field: &str, name: &str| {
        body[field] = json!(name);
        body
    };
    let application = json!({"name": "a", "registration_method": "managed"});
    let resource = json!({"identifier": "resource://r", "scopes": ["read"]});
    let provider = json!({"identifier": "p", "kind": "apikey"});
    let opened = json!({"dcr_enabled": true});
    let path = format!("/v1/zones/{}", zone.id);
    assert_eq!(zone.admin.patch(&path, &opened).await.status, 200);
    for name in names {
        reserved(
            zone.admin.post("/v1/zones", &json!({"name": name})).await,
            "POST zone",
        );
        reserved(
            zone.admin.patch(&path, &json!({"name": name})).await,
            "PATCH zone",
        );
        reserved(zone.post("applications/dcr", &json!({"name": name})).await, "dcr");
        for (noun, body, field) in [
            ("applications", &application, "name"),
            ("resources", &resource, "name"),
            ("providers", &provider, "identifier"),
            ("providers", &provider, "name"),
            ("policies", &json!({"name": "p", "content": ALLOW}), "name"),
            ("policy-sets", &json!({"name": "s"}), "name"),
        ] {
            reserved(zone.post(noun, &with(body.clone(), field, name)).await, noun);
        }
    }
    reserved(
        zone.post("resources", &with(resource.clone(), "identifier", names[1]))
            .await,
        "identifier",
    );
    for (noun, body, fields) in [
        ("applications", &application, vec!["name"]),
        ("resources", &resource, vec!["name", "identifier"]),
        ("providers", &provider, vec!["name", "identifier"]),
    ] {
        let made = zone.post(noun, body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let item = zone.at(&format!("{noun}/{}", made.member("id")));
        for field in fields {
            reserved(zone.admin.patch(&item, &json!({field: names[1]})).await, noun);
        }
    }
    for other in ["caracal.system/x", "x caracal.sys/"] {
        assert_eq!(
            zone.post("policy-sets", &json!({"name": other})).await.status,
            201,
            "{other}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_zone_keeps_its_slug_and_a_taken_slug_is_taken() {
    let stack = alone().start().await;
    let (system, zone) = (system(&stack).await, Zone::new(&stack, "Other").await);
    let path = format!("/v1/zones/{}", system.id);
    for patch in [json!({"slug": "elsewhere"}), json!({"is_system": false})] {
        let refused = system.admin.patch(&path, &patch).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (409, "system_zone_protected"),
            "{patch}"
        );
    }
    assert_eq!(
        system
            .admin
            .patch(&path, &json!({"login_flow": "sso"}))
            .await
            .status,
        200
    );
    let path = format!("/v1/zones/{}", zone.id);
    Zone::new(&stack, "Taken").await;
    for slug in ["taken", "caracal-sys"] {
        let refused = zone.admin.patch(&path, &json!({"slug": slug})).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_zone"),
            "{slug}"
        );
        for is_system in [false, true] {
            let body = json!({"name": "New", "slug": slug, "is_system": is_system});
            let refused = zone.admin.post("/v1/zones", &body).await;
            assert_eq!(
                (refused.status, refused.member("error")),
                (400, "invalid_zone"),
                "{slug}"
            );
        }
    }
    assert_eq!(
        zone.admin.patch(&path, &json!({"slug": "other"})).await.status,
        200,
        "its own"
    );
    let derived = zone
        .admin
        .post("/v1/zones", &json!({"name": "Caracal SYS"}))
        .await;
    assert_eq!(derived.member("slug"), "caracal-sys-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_names_are_told_as_such_whatever_else_is_wrong_with_them() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Plain").await;
    for identifier in ["caracal.sys/x", " Caracal.SYS/x "] {
        let new = json!({"identifier": identifier, "scopes": ["a"]});
        let refused = zone.post("resources", &new).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "reserved_namespace"),
            "{identifier:?}"
        );
    }
    let odd = json!({"identifier": "a b", "scopes": ["a"]});
    let refused = zone.post("resources", &odd).await;
    assert_eq!(
        (refused.member("error"), &refused.body["issues"][0]["path"]),
        ("invalid_body", &json!(["identifier"]))
    );
    // A token is of its zone, or of none.
    let token = |zone: Option<&str>| json!({"scope": if zone.is_some() { "zone" } else { "global" }, "zone_id": zone, "name": "Caracal.sys/x"});
    for of in [None, Some(zone.id.as_str())] {
        let refused = zone.admin.post("/v1/admin-tokens", &token(of)).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "reserved_namespace"),
            "{of:?}"
        );
    }
    let system = system(&stack).await;
    let made = zone
        .admin
        .post("/v1/admin-tokens", &token(Some(&system.id)))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
}
