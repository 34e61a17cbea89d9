//! Every route as every kind of caller. A route that has no line here fails the build.

use super::{Zone, alone};
use caracal_api::routes::{Route, TABLE};
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Answer, Client};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Anybody.
    Public,
    /// Any live token, of whatever zone, read-only ones too.
    AnyToken,
    /// Global tokens, to read.
    GlobalRead,
    /// Global tokens that may write.
    Govern,
    /// Global tokens, and the zone's own, to read.
    ZoneRead,
    /// Global tokens, and the zone's own, that may write.
    ZoneWrite,
    /// Global tokens that may write, in a zone.
    ZoneGovern,
}

use Reach::{AnyToken, GlobalRead, Govern, Public, ZoneGovern, ZoneRead, ZoneWrite};

const REACH: &[(&str, &str, Reach)] = &[
    ("get", "/openapi.json", Public),
    ("get", "/docs", Public),
    ("get", "/docs/page.js", Public),
    ("get", "/docs/page.css", Public),
    ("get", "/.well-known/caracal-ledger-keys", Public),
    ("get", "/v1/policy-templates", Public),
    ("get", "/v1/oauth/callback", Public),
    ("post", "/v1/invitations/accept", Public),
    ("post", "/v1/policies/validate", AnyToken),
    ("post", "/v1/local/bootstrap", Govern),
    ("get", "/v1/admin-tokens", GlobalRead),
    ("post", "/v1/admin-tokens", Govern),
    ("get", "/v1/admin-tokens/{id}", GlobalRead),
    ("delete", "/v1/admin-tokens/{id}", Govern),
    ("get", "/v1/zones", GlobalRead),
    ("post", "/v1/zones", Govern),
    ("delete", "/v1/zones/{zone_id}", ZoneGovern),
    ("post", "/v1/zones/{zone_id}/policy-sets/{id}/simulate", ZoneRead),
    ("post", "/v1/zones/{zone_id}/policy-sets/{id}/replay", ZoneRead),
    ("post", "/v1/zones/{zone_id}/providers/{id}/check", ZoneRead),
];

/// In a zone, who may read reads and who may write writes, unless a line above says otherwise.
fn reach(route: &Route) -> Option<Reach> {
    let named = REACH
        .iter()
        .find(|(method, path, _)| *method == route.method && *path == route.path);
    let of_zone = route.path.starts_with("/v1/zones/{zone_id}");
    let usual = match route.method {
        "get" if of_zone => Some(ZoneRead),
        "post" | "patch" | "delete" if of_zone => Some(ZoneWrite),
        _ => None,
    };
    named.map(|(_, _, reach)| *reach).or(usual)
}

struct Callers {
    none: Client,
    garbage: Client,
    global: Client,
    global_read_only: Client,
    zone: Client,
    zone_read_only: Client,
    other_zone: Client,
    expired: Client,
    of_archived_zone: Client,
}

async fn callers(stack: &Stack, mine: &Zone) -> Callers {
    let other = Zone::new(stack, "Other").await;
    let archived = Zone::new(stack, "Archived").await;
    let token = async |body: serde_json::Value| {
        let made = stack.admin().post("/v1/admin-tokens", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        stack.anonymous(Service::Api, 0).bearer(made.member("token"))
    };
    let callers = Callers {
        none: stack.anonymous(Service::Api, 0),
        garbage: stack.anonymous(Service::Api, 0).bearer("cat_nonsense"),
        global: stack.admin(),
        global_read_only: token(json!({"scope": "global", "read_only": true})).await,
        zone: token(json!({"scope": "zone", "zone_id": mine.id})).await,
        zone_read_only: token(json!({"scope": "zone", "zone_id": mine.id, "read_only": true})).await,
        other_zone: token(json!({"scope": "zone", "zone_id": other.id})).await,
        expired: token(json!({"scope": "global"})).await,
        of_archived_zone: token(json!({"scope": "zone", "zone_id": archived.id})).await,
    };
    assert_eq!(
        stack
            .admin()
            .delete(&format!("/v1/zones/{}", archived.id))
            .await
            .status,
        204
    );
    let newest =
        "UPDATE admin_tokens SET expires_at = now() WHERE scope = 'global' AND NOT seeded AND NOT read_only";
    stack
        .database()
        .connect()
        .await
        .batch_execute(newest)
        .await
        .expect("expired");
    callers
}

/// The request, harmless to whoever may make it: its ids name nothing, its body is none, and it asks for version 0.
async fn knock(caller: &Client, route: &Route, zone: &Zone) -> Answer {
    let nothing = "0198c0de-0000-7000-8000-000000000000";
    let path = route
        .path
        .replace("{zone_id}", &zone.id)
        .replace("{request_id}", "nothing");
    let path = path.replace("{id}", nothing).replace("{version_id}", nothing);
    let method = Method::from_bytes(route.method.to_uppercase().as_bytes()).expect("a method");
    let fill = |request: reqwest::RequestBuilder| {
        let request = request
            .header("if-match", "\"0\"")
            .timeout(Duration::from_secs(10));
        if route.method == "get" {
            // What would follow without end is asked to begin nowhere.
            request.header("last-event-id", "nothing")
        } else {
            request.json(&json!({"nothing": 1}))
        }
    };
    caller.send(method, &path, fill).await.expect("an answer")
}

/// The refusal due to a caller, or none when it is let in.
#[expect(clippy::match_same_arms, reason = "the arms stand in the order of the checks")]
fn due(reach: Reach, caller: &str) -> Option<(u16, &'static str)> {
    let mismatch = Some((403, "admin_token_zone_mismatch"));
    let read_only = Some((403, "admin_token_read_only"));
    match (reach, caller) {
        (Public, _) => None,
        (_, "none" | "garbage" | "expired" | "of archived zone") => Some((401, "invalid_admin_token")),
        (AnyToken, _) | (_, "global") => None,
        (Govern | ZoneWrite | ZoneGovern, "global read-only") => read_only,
        (_, "global read-only") => None,
        (_, "other zone") => mismatch,
        (GlobalRead | Govern | ZoneGovern, _) => mismatch,
        (ZoneWrite, "zone read-only") => read_only,
        (ZoneRead | ZoneWrite, _) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let zone = Zone::new(&stack, "Mine").await;
    let callers = callers(&stack, &zone).await;
    let callers = [
        ("none", &callers.none),
        ("garbage", &callers.garbage),
        ("expired", &callers.expired),
        ("of archived zone", &callers.of_archived_zone),
        ("other zone", &callers.other_zone),
        ("zone read-only", &callers.zone_read_only),
        ("global read-only", &callers.global_read_only),
        ("zone", &callers.zone),
        ("global", &callers.global),
    ];
    for route in TABLE {
        let reach = reach(route).unwrap_or_else(|| panic!("give {route:?} a line in REACH"));
        for (name, caller) in callers {
            let answer = knock(caller, route, &zone).await;
            let what = format!(
                "{} {} as {name}: {} {}",
                route.method, route.path, answer.status, answer.text
            );
            match due(reach, name) {
                Some(due) => assert_eq!((answer.status, answer.member("error")), due, "{what}"),
                None => assert!(!matches!(answer.status, 401 | 403 | 405 | 500..), "{what}"),
            }
            assert!(answer.status < 300 || answer.body["error"].is_string(), "{what}");
            assert_eq!(answer.header("x-request-id").len(), 36, "{what}");
        }
    }
    for (method, path, _) in REACH {
        let there = TABLE
            .iter()
            .any(|route| route.method == *method && route.path == *path);
        assert!(there, "{method} {path} is gone: take its line out");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_refuses_what_it_does_not_understand() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Other").await);
    let [policy, _, set, _] = zone.drafted().await;
    let document: serde_json::Value = serde_json::from_str(caracal_api::openapi::document()).expect("JSON");
    let paged = TABLE.iter().filter(|route| {
        let parameters = document["paths"][route.path][route.method]["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "cursor"))
    });
    let mut lists = 0;
    for route in paged {
        lists += 1;
        let path = route.path.replace("{zone_id}", &zone.id);
        let id = if path.contains("/policies/") {
            &policy
        } else {
            &set
        };
        let path = path.replace("{id}", id);
        for (query, error) in [
            ("limit=0", "invalid_query"),
            ("limit=1001", "invalid_query"),
            ("limit=x", "invalid_query"),
            ("limit=1&limit=2", "invalid_query"),
            ("surprise=1", "invalid_query"),
            ("cursor=x", "invalid_cursor"),
            ("cursor=", "invalid_cursor"),
            ("cursor=%00", "invalid_query"),
            ("cursor=%ff%fe", "invalid_query"),
        ] {
            let answer = zone.admin.get(&format!("{path}?{query}")).await;
            // A cursor that is no UTF-8 is one or the other.
            let error = if query == "cursor=%ff%fe" {
                answer.member("error")
            } else {
                error
            };
            assert_eq!(
                (answer.status, answer.member("error")),
                (400, error),
                "{path}?{query}"
            );
        }
        assert_eq!(
            zone.admin.get(&format!("{path}?limit=1000")).await.status,
            200,
            "{path}"
        );
    }
    assert!(lists >= 17, "{lists}");
    // A cursor of another zone's list is none of this one's.
    for name in ["a", "b"] {
        assert_eq!(
            other.post("policy-sets", &json!({"name": name})).await.status,
            201
        );
    }
    let page = other.get("policy-sets?limit=1").await;
    let next = page
        .header("link")
        .split("cursor=")
        .nth(1)
        .and_then(|rest| rest.split(['>', '&']).next())
        .unwrap_or_default()
        .to_owned();
    assert!(!next.is_empty(), "{:?}", page.headers);
    assert_eq!(other.get(&format!("policy-sets?cursor={next}")).await.status, 200);
    for elsewhere in [
        zone.at("policy-sets"),
        other.at("policies"),
        "/v1/zones".to_owned(),
    ] {
        let refused = zone.admin.get(&format!("{elsewhere}?cursor={next}")).await;
        assert_eq!(refused.member("error"), "invalid_cursor", "{elsewhere}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_refuses_a_key_that_is_none() {
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let zone = Zone::new(&stack, "Mine").await;
    for key in ["", &"k".repeat(256)] {
        let caller = zone.admin.clone().with("Idempotency-Key", key);
        for route in TABLE.iter().filter(|route| route.method == "post") {
            let refused = knock(&caller, route, &zone).await;
            assert_eq!(
                (refused.status, refused.member("error")),
                (400, "invalid_idempotency_key"),
                "{}: {}",
                route.path,
                refused.text
            );
        }
    }
}
