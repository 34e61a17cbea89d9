use super::given::{application, rows, sql};
use super::{Zone, alone};
use caracal_testkit::stack::{Service, Stack};
use futures::future::{join, join_all};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_at_once_one_gets_the_slug() {
    let stack = alone().start().await;
    let admin = stack.admin();
    let body = json!({"name": "Contested", "slug": "contested"});
    let answers = join_all((0..50).map(|_| admin.post("/v1/zones", &body))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers
        .iter()
        .filter(|a| a.status == 400 && a.member("error") == "invalid_zone")
        .count();
    assert_eq!((made, refused), (1, 49));
}

#[tokio::test(flavor = "multi_thread")]
async fn derived_slugs_are_numbered() {
    let stack = alone().start().await;
    let admin = stack.admin();
    let body = json!({"name": "Same Name"});
    let answers = join_all((0..12).map(|_| admin.post("/v1/zones", &body))).await;
    let mut slugs: Vec<_> = answers
        .iter()
        .map(|answer| answer.member("slug").to_owned())
        .collect();
    slugs.sort_unstable();
    let mut expected: Vec<_> = (2..=12)
        .map(|n| format!("same-name-{n}"))
        .chain(["same-name".to_owned()])
        .collect();
    expected.sort_unstable();
    assert_eq!(slugs, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_has_the_defaults_of_the_seed_and_can_be_changed_and_archived() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Defaults").await;
    let path = format!("/v1/zones/{}", zone.id);
    let shown = zone.admin.get(&path).await.expect(200);
    let defaults = json!({
        "org_id": "default", "slug": "defaults", "dcr_enabled": false, "pkce_required": true, "login_flow": "default",
        "is_system": false, "mint_rate_per_minute": 1000
    });
    for (field, value) in defaults.as_object().expect("an object") {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert_eq!(
        zone.admin.patch(&path, &json!({})).await.member("error"),
        "no_fields"
    );
    let stale = zone
        .admin
        .clone()
        .with("If-Match", "\"7\"")
        .patch(&path, &json!({"name": "x"}))
        .await;
    assert_eq!((stale.status, stale.member("error")), (412, "version_conflict"));
    let changed = zone
        .admin
        .clone()
        .with("If-Match", "\"1\"")
        .patch(&path, &json!({"name": "New"}))
        .await;
    assert_eq!(
        (changed.status, changed.header("etag"), changed.member("name")),
        (200, "\"2\"", "New")
    );

    let gone = zone.admin.delete(&path).await;
    assert_eq!(gone.status, 204);
    assert_eq!(zone.admin.get(&path).await.member("error"), "zone_not_found");
    assert_eq!(zone.get("resources").await.member("error"), "zone_not_found");
    let again = zone
        .admin
        .post("/v1/zones", &json!({"name": "Defaults", "slug": "defaults"}))
        .await;
    assert_eq!(again.status, 201, "an archived zone does not keep its slug");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_zone_is_there_and_stays() {
    let stack = alone().start().await;
    let admin = stack.admin();
    let zones = admin.get("/v1/zones").await.expect(200);
    let system = zones
        .as_array()
        .expect("a list")
        .iter()
        .find(|zone| zone["slug"] == "caracal-sys");
    let system = system.expect("the system zone")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let refused = admin.delete(&format!("/v1/zones/{system}")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (409, "system_zone_protected")
    );
    let zone = Zone::new(&stack, "Tenant").await;
    let body = json!({"identifier": " Caracal.SYS/x".trim(), "scopes": ["read"]});
    let refused = zone.post("resources", &body).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (400, "reserved_namespace")
    );
    let body = json!({"name": "caracal.sys/gateway", "registration_method": "managed"});
    let allowed = admin
        .post(&format!("/v1/zones/{system}/applications"), &body)
        .await;
    assert_eq!(allowed.status, 201, "{}", allowed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn self_registration_needs_an_open_door_and_a_decision_to_close_it() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Doors").await;
    let path = format!("/v1/zones/{}", zone.id);
    let body = json!({"name": "job", "credential_type": "token"});
    assert_eq!(
        zone.post("applications/dcr", &body).await.member("error"),
        "dcr_disabled"
    );
    assert_eq!(
        zone.admin
            .patch(&path, &json!({"dcr_enabled": true}))
            .await
            .status,
        200
    );
    let made = zone.post("applications/dcr", &body).await;
    assert!(
        made.status == 201 && !made.member("expires_at").is_empty(),
        "{}",
        made.text
    );
    let long = zone
        .post("applications/dcr", &json!({"name": "long", "expires_in": 86_401}))
        .await;
    assert_eq!(long.member("error"), "invalid_body");
    assert_eq!(
        zone.get("dcr-status").await.expect(200),
        json!({"dcr_enabled": true, "live_applications": 1})
    );
    let closing = zone.admin.patch(&path, &json!({"dcr_enabled": false})).await;
    assert_eq!(
        (closing.status, closing.member("error")),
        (409, "dcr_shutdown_required")
    );
    assert_eq!(closing.body["detail"], json!({"live_applications": 1}));
    let closed = zone
        .admin
        .patch(
            &path,
            &json!({"dcr_enabled": false, "dcr_shutdown": "revoke_live"}),
        )
        .await;
    assert_eq!(closed.status, 200, "{}", closed.text);
    let gone = zone.get(&format!("applications/{}", made.member("id"))).await;
    assert_eq!(gone.member("error"), "application_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_zone_can_be_given_and_changed_within_its_bounds() {
    let stack = alone().start().await;
    let admin = stack.admin();
    let given = json!({"name": "Given", "org_id": "acme", "slug": "given-1", "dcr_enabled": true,
        "pkce_required": false, "login_flow": "sso"});
    let made = admin.post("/v1/zones", &given).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let path = format!("/v1/zones/{}", made.member("id"));
    let same = |shown: &Value, given: &Value| {
        for (field, value) in given.as_object().expect("an object") {
            assert_eq!(&shown[field], value, "{field}");
        }
    };
    same(&made.body, &given);
    let changes = json!({"name": "Changed", "org_id": "other", "slug": "given-2", "dcr_enabled": false,
        "pkce_required": true, "login_flow": "default", "mint_rate_per_minute": 1});
    same(&admin.patch(&path, &changes).await.expect(200), &changes);
    for (field, value) in changes.as_object().expect("an object") {
        let one = admin.patch(&path, &json!({field: value})).await;
        assert_eq!(one.status, 200, "{field} alone: {}", one.text);
    }
    let most = admin
        .patch(&path, &json!({"mint_rate_per_minute": 1_000_000}))
        .await
        .expect(200);
    assert_eq!(most["mint_rate_per_minute"], 1_000_000);
    let (long, slug) = ("x".repeat(201), "x".repeat(101));
    for (field, value, new) in [
        ("name", json!(""), true),
        ("name", json!(" "), true),
        ("name", json!(long), true),
        ("name", json!(null), true),
        ("org_id", json!(""), true),
        ("org_id", json!(7), true),
        ("slug", json!(""), true),
        ("slug", json!("Upper"), true),
        ("slug", json!("a_b"), true),
        ("slug", json!(slug), true),
        ("dcr_enabled", json!("true"), true),
        ("pkce_required", json!(1), true),
        ("login_flow", json!(""), true),
        ("mint_rate_per_minute", json!(0), false),
        ("mint_rate_per_minute", json!(-1), false),
        ("mint_rate_per_minute", json!(1_000_001), false),
        ("mint_rate_per_minute", json!(1.5), false),
        ("mint_rate_per_minute", json!("5"), false),
    ] {
        let refused = admin.patch(&path, &json!({field: value})).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{field} {value}"
        );
        if new {
            let mut body = json!({"name": "New"});
            body[field] = value.clone();
            let refused = admin.post("/v1/zones", &body).await;
            assert_eq!(
                (refused.status, refused.member("error")),
                (400, "invalid_body"),
                "{field} {value}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derived_slug_takes_the_first_number_that_is_free() {
    let stack = alone().start().await;
    let admin = stack.admin();
    let like = json!({"name": "Same Name"});
    let mut ids = Vec::new();
    for slug in ["same-name", "same-name-2", "same-name-3", "same-name-4"] {
        let made = admin.post("/v1/zones", &like).await;
        assert_eq!(made.member("slug"), slug, "{}", made.text);
        ids.push(made.member("id").to_owned());
    }
    assert_eq!(admin.delete(&format!("/v1/zones/{}", ids[1])).await.status, 204);
    assert_eq!(admin.post("/v1/zones", &like).await.member("slug"), "same-name-2");
    assert_eq!(admin.post("/v1/zones", &like).await.member("slug"), "same-name-5");
    assert_eq!(admin.delete(&format!("/v1/zones/{}", ids[0])).await.status, 204);
    assert_eq!(admin.post("/v1/zones", &like).await.member("slug"), "same-name");
    let many = "INSERT INTO zones (id, org_id, name, slug)
        SELECT gen_random_uuid(), 'default', 'Same Name', 'same-name-' || n FROM generate_series(6, 700) n WHERE n <> 20";
    sql(&stack, many).await;
    assert_eq!(
        admin.post("/v1/zones", &like).await.member("slug"),
        "same-name-20"
    );
    // Among many, whichever follows the last is found sooner than the first that became free.
    assert_eq!(
        admin.post("/v1/zones", &like).await.member("slug"),
        "same-name-701"
    );
    let more = "INSERT INTO zones (id, org_id, name, slug)
        SELECT gen_random_uuid(), 'default', 'Same Name', 'same-name-' || n FROM generate_series(702, 12000) n";
    sql(&stack, more).await;
    let answers = join_all((0..12).map(|_| admin.post("/v1/zones", &like))).await;
    let mut slugs: Vec<_> = answers.iter().map(|answer| answer.member("slug")).collect();
    slugs.sort_unstable();
    let next: Vec<_> = (12001..=12012).map(|n| format!("same-name-{n}")).collect();
    assert_eq!(slugs, next, "there is no last number");
}

/// A slug that is asked for is not held by whoever derives the same: both are made, under different slugs.
#[tokio::test(flavor = "multi_thread")]
async fn what_derives_a_slug_gives_way_to_who_asks_for_it() {
    let stack = alone().start().await;
    let admin = stack.admin();
    for round in 0..6 {
        let (like, slug) = (
            json!({"name": format!("Round {round}")}),
            format!("round-{round}"),
        );
        let exactly = json!({"name": "Another", "slug": slug});
        let derived = join_all((0..6).map(|_| admin.post("/v1/zones", &like)));
        let (derived, asked) = join(derived, admin.post("/v1/zones", &exactly)).await;
        let made: BTreeSet<_> = derived
            .iter()
            .filter(|answer| answer.status == 201)
            .map(|answer| answer.member("slug"))
            .collect();
        assert_eq!(made.len(), 6, "{derived:?}");
        assert_eq!(
            asked.status == 400,
            made.contains(slug.as_str()),
            "{}",
            asked.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_archived_leaves_its_list_and_stays_in_the_database() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Archive").await;
    let application = application(&zone, "agent").await;
    let body = json!({"identifier": "resource://r", "scopes": ["read"]});
    let resource = zone.post("resources", &body).await.member("id").to_owned();
    let body = json!({"identifier": "key", "kind": "apikey"});
    let provider = zone.post("providers", &body).await.member("id").to_owned();
    let [policy, _, set, _] = zone.drafted().await;
    for (list, table, id) in [
        ("applications", "applications", application),
        ("resources", "resources", resource),
        ("providers", "providers", provider),
        ("policy-sets", "policy_sets", set),
        ("policies", "policies", policy),
    ] {
        let before = zone.get(list).await.expect(200);
        assert_eq!(before[0]["id"], id, "{list}");
        let gone = zone.admin.delete(&zone.at(&format!("{list}/{id}"))).await;
        assert_eq!(gone.status, 204, "{list}: {}", gone.text);
        assert_eq!(zone.get(list).await.expect(200), json!([]), "{list}");
        let archived = format!("id = '{id}' AND archived_at IS NOT NULL");
        assert_eq!(rows(&stack, table, &zone, &archived).await, 1, "{list}");
    }
    let gone = zone.admin.delete(&format!("/v1/zones/{}", zone.id)).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    let archived = format!(
        "SELECT count(*) FROM zones WHERE id = '{}' AND archived_at IS NOT NULL",
        zone.id
    );
    assert_eq!(stack.database().count(&archived).await, 1);
}

/// From now on rows of this kind cannot be inserted into a table.
async fn break_inserts(stack: &Stack, table: &str, kind: &str) {
    let statement = format!(
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
         CREATE TRIGGER broken BEFORE INSERT ON {table} FOR EACH ROW WHEN ({kind}) EXECUTE FUNCTION broken()"
    );
    sql(stack, &statement).await;
}

/// What was broken works again.
async fn mend_inserts(stack: &Stack) {
    sql(stack, "DROP FUNCTION broken() CASCADE").await;
}

async fn zones_of_slug(stack: &Stack, slug: &str) -> i64 {
    let query = format!("SELECT count(*) FROM zones WHERE slug = '{slug}'");
    stack.database().count(&query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_comes_with_its_keys_or_not_at_all() {
    let stack = alone().start().await;
    let admin = stack.admin();
    let body = json!({"name": "Whole", "slug": "whole"});
    for table in ["zone_deks", "signing_keys"] {
        break_inserts(&stack, table, "true").await;
        let refused = admin.post("/v1/zones", &body).await;
        assert!(refused.status >= 500, "{table}: {}", refused.text);
        assert_eq!(zones_of_slug(&stack, "whole").await, 0, "{table}");
        mend_inserts(&stack).await;
    }
    let made = admin.post("/v1/zones", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let zone = Zone {
        admin,
        id: made.member("id").to_owned(),
    };
    assert_eq!(rows(&stack, "zone_deks", &zone, "true").await, 1);
    assert_eq!(rows(&stack, "signing_keys", &zone, "status = 'active'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_whose_last_step_fails_leaves_nothing() {
    let stack = alone()
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let (admin, path, nothing) = (stack.admin(), "/v1/local/bootstrap", json!({}));
    // The record of it, which is written when all else is.
    let record = "position('admin.local.bootstrap'::bytea in NEW.payload) > 0";
    break_inserts(&stack, "event_spool", record).await;
    let refused = admin.post(path, &nothing).await;
    assert!(refused.status >= 500, "{}", refused.text);
    assert_eq!(zones_of_slug(&stack, "local").await, 0);
    mend_inserts(&stack).await;
    let made = admin.post(path, &nothing).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(zones_of_slug(&stack, "local").await, 1);
}
