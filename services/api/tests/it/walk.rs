//! Every list, walked from its first row to its last by what each page says of the next, also where all rows are of one
//! moment.

use super::connection::Consents;
use super::given::{application, session, sql};
use super::step_up::challenge;
use super::{ALLOW, Zone, alone};
use caracal_api::routes::TABLE;
use caracal_testkit::stack::Stack;
use caracal_testkit::{Answer, Client};
use serde_json::{Value, json};

/// Without the audit service nothing is in it; `ledger.rs` walks it.
const EMPTY: &str = "/v1/zones/{zone_id}/audit";

/// Three rows or more for every list of the zone; a policy and a set with as many versions.
async fn filled(stack: &Stack, world: &Consents) -> [String; 2] {
    let zone = &world.zone;
    let [policy, version, set, _] = zone.drafted().await;
    for n in 0..3 {
        let agent = application(zone, &format!("agent {n}")).await;
        let connected = world.connect(&format!("user {n}")).await;
        assert_eq!(connected.status, 200, "{}", connected.text);
        session(stack, zone, &agent, &agent).await;
        challenge(stack, zone, &agent, "5 minutes").await;
        let grant = json!({"application_id": agent, "user_id": "ann", "resource_id": world.resource, "scopes": ["read"]});
        for (list, body) in [
            (
                "resources",
                json!({"identifier": format!("resource://{n}"), "scopes": ["read"]}),
            ),
            (
                "providers",
                json!({"identifier": format!("p{n}"), "kind": "apikey"}),
            ),
            ("policies", json!({"name": format!("p{n}"), "content": ALLOW})),
            (&format!("policies/{policy}/versions"), json!({"content": ALLOW})),
            ("policy-sets", json!({"name": format!("s{n}")})),
            (
                &format!("policy-sets/{set}/versions"),
                json!({"manifest": [{"policy_version_id": version}]}),
            ),
            ("grants", grant),
            (
                "subject-issuers",
                json!({"issuer": format!("https://idp{n}.example"), "audience": "a", "subject_prefix": format!("{n}|")}),
            ),
            (
                "invitations",
                json!({"email": format!("{n}@b.example"), "role": "viewer"}),
            ),
        ] {
            let made = zone.post(list, &body).await;
            assert_eq!(made.status, 201, "{list}: {}", made.text);
        }
        let token = json!({"scope": "zone", "zone_id": zone.id});
        assert_eq!(zone.admin.post("/v1/admin-tokens", &token).await.status, 201);
        Zone::new(stack, &format!("Zone {n}")).await;
    }
    for table in [
        "applications",
        "resources",
        "providers",
        "grants",
        "subject_issuers",
        "invitations",
        "provider_connections",
        "step_up_challenges",
        "sessions",
        "admin_tokens",
        "zones",
    ] {
        sql(
            stack,
            &format!("UPDATE {table} SET created_at = '2026-01-01T00:00:00Z'"),
        )
        .await;
    }
    [policy, set]
}

fn ids(page: &Answer) -> Vec<String> {
    let rows = page.body.get("rows").unwrap_or(&page.body);
    let rows = rows.as_array().expect("rows");
    let id = |row: &Value| {
        row.get("id")
            .or_else(|| row.get("kid"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    rows.iter().map(|row| id(row).expect("an id")).collect()
}

/// The address of the next page, as the `Link` or the object says.
fn next(page: &Answer, path: &str) -> Option<String> {
    if let Some(cursor) = page.body.get("next_cursor") {
        return Some(format!("{path}?limit=1&cursor={}", cursor.as_str()?));
    }
    let link = page.header("link").strip_prefix('<')?;
    Some(link.strip_suffix(">; rel=\"next\"")?.to_owned())
}

async fn walked(caller: &Client, path: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut at = Some(format!("{path}?limit=1"));
    while let Some(page) = at {
        let page = caller.get(&page).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        let rows = ids(&page);
        assert!(rows.len() <= 1 && seen.len() < 100, "{path}: {rows:?}");
        seen.extend(rows);
        at = next(&page, path);
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_shows_each_row_once_a_page_at_a_time() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let [policy, set] = filled(&stack, &world).await;
    let document: Value = serde_json::from_str(caracal_api::openapi::document()).expect("JSON");
    let is_list = |path: &str, method: &str| {
        let parameters = document["paths"][path][method]["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "cursor"))
    };
    let lists = TABLE.iter().filter(|route| is_list(route.path, route.method));
    for route in lists.filter(|route| route.path != EMPTY) {
        let id = if route.path.contains("/policies/") {
            &policy
        } else {
            &set
        };
        let path = route
            .path
            .replace("{zone_id}", &world.zone.id)
            .replace("{id}", id);
        let whole = ids(&world.zone.admin.get(&format!("{path}?limit=1000")).await);
        let few = if route.path.ends_with("signing-keys") {
            2
        } else {
            3
        };
        assert!(whole.len() >= few, "{path}: {whole:?}");
        assert_eq!(walked(&world.zone.admin, &path).await, whole, "{path}");
    }
}
