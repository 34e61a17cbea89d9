//! Paging: how many without a limit, what a cursor may be, and that nothing else is understood.

use super::given::{application, session, sql};
use super::{ALLOW, Zone, alone};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_api::routes::TABLE;
use caracal_testkit::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use url::form_urlencoded;

fn rows(answer: &Answer) -> usize {
    let rows = answer.body.get("rows").unwrap_or(&answer.body);
    rows.as_array().map_or(usize::MAX, Vec::len)
}

/// The address of the next page, as `Link` names it.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link").strip_prefix('<')?;
    Some(link.strip_suffix(">; rel=\"next\"")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_a_limit_holds_two_hundred_or_a_hundred() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Many").await;
    let agent = application(&zone, "agent").await;
    let id = &zone.id;
    sql(
        &stack,
        &format!(
            "INSERT INTO resources (zone_id, id, name, identifier, scopes, auth_mode)
             SELECT '{id}', gen_random_uuid(), 'r' || n, 'resource://' || n, '{{read}}', 'none'
             FROM generate_series(1, 250) n;
             INSERT INTO sessions
               (zone_id, id, session_type, subject_id, application_id, root_id, authenticated_at, expires_at)
             SELECT '{id}', i, 'user', 'ann', '{agent}', i, now(), now() + interval '1 hour'
             FROM (SELECT gen_random_uuid() AS i FROM generate_series(1, 150)) ids;
             INSERT INTO audit_events (zone_id, seq, id, event_type, request_id, decision, evaluation_status,
               determining_policies_json, diagnostics_json, metadata_json, occurred_at, canonical, previous_hash, hash)
             SELECT '{id}', n, gen_random_uuid(), 'gateway_request', 'r', 'allow', 'complete', '[]', '[]', '{{}}',
               now() - n * interval '1 second', '', decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex')
             FROM generate_series(1, 150) n;
             INSERT INTO zones (id, org_id, name, slug)
             SELECT gen_random_uuid(), 'many', 'z' || n, 'z-' || n FROM generate_series(1, 250) n;
             INSERT INTO admin_tokens (id, scope, token_sha256, created_by)
             SELECT gen_random_uuid(), 'global', sha256(('t' || n)::bytea), 'tests' FROM generate_series(1, 250) n"
        ),
    )
    .await;
    let first = zone.get("resources").await;
    assert_eq!((first.status, rows(&first)), (200, 200));
    let second = zone.admin.get(&next(&first).expect("a next page")).await;
    assert_eq!((rows(&second), next(&second)), (50, None));
    for list in ["/v1/zones", "/v1/admin-tokens"] {
        let first = zone.admin.get(list).await;
        assert_eq!((first.status, rows(&first)), (200, 200), "{list}");
        let second = zone.admin.get(&next(&first).expect("a next page")).await;
        assert!(
            (50..60).contains(&rows(&second)) && next(&second).is_none(),
            "{list}: those, and what a stack has of itself"
        );
    }
    for list in ["sessions", "audit"] {
        let first = zone.get(list).await;
        assert_eq!((first.status, rows(&first)), (200, 100), "{list}");
        let second = zone
            .get(&format!("{list}?cursor={}", first.member("next_cursor")))
            .await;
        assert_eq!(
            (rows(&second), &second.body["next_cursor"]),
            (50, &Value::Null),
            "{list}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crafted_cursor_is_none() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Crafted").await;
    let agent = application(&zone, "agent").await;
    session(&stack, &zone, &agent, "ann").await;
    let (id, row) = (&zone.id, "0198c0de-0000-7000-8000-000000000000");
    let times = [
        "-62135596800000001",
        "-1",
        "253402300800000000",
        "8210266876799999999",
        "-8334601228800000000",
    ];
    for (list, whose) in [
        ("resources", id.as_str()),
        ("applications", id),
        ("signing-keys", id),
        ("sessions", id),
        ("audit", id),
        ("grants", id),
        ("zones", "00000000-0000-0000-0000-000000000000"),
        ("admin-tokens", "00000000-0000-0000-0000-000000000000"),
    ] {
        let path = if matches!(list, "zones" | "admin-tokens") {
            format!("/v1/{list}")
        } else {
            zone.at(list)
        };
        let ask = async |text: String| {
            let cursor = URL_SAFE_NO_PAD.encode(text);
            zone.admin.get(&format!("{path}?cursor={cursor}")).await
        };
        for at in times {
            let refused = ask(format!("1|{list}|{whose}|{at}|{row}")).await;
            assert_eq!(
                (refused.status, refused.member("error")),
                (400, "invalid_cursor"),
                "{list} {at}"
            );
        }
        for text in [
            format!("2|{list}|{whose}|0|{row}"),
            format!("1|{list}|{row}|0|{row}"),
            format!("1|{list}|{whose}|0|x"),
        ] {
            assert_eq!(
                ask(text.clone()).await.member("error"),
                "invalid_cursor",
                "{text}"
            );
        }
        let fine = ask(format!("1|{list}|{whose}|253402300799999999|{row}")).await;
        assert_eq!(fine.status, 200, "{list}: {}", fine.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_signing_keys_are_paged_like_all_else() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Versions").await;
    let [policy, version, set, _] = zone.drafted().await;
    let other = zone
        .post("policies", &json!({"name": "other", "content": ALLOW}))
        .await
        .member("id")
        .to_owned();
    let [other_set, _] = zone.set_of("other", &version).await;
    for _ in 0..4 {
        let made = zone
            .post(&format!("policies/{policy}/versions"), &json!({"content": ALLOW}))
            .await;
        assert_eq!(made.status, 201);
        let manifest = json!({"manifest": [{"policy_version_id": version}]});
        let made = zone.post(&format!("policy-sets/{set}/versions"), &manifest).await;
        assert_eq!(made.status, 201);
    }
    for (path, elsewhere) in [
        (
            format!("policies/{policy}/versions"),
            format!("policies/{other}/versions"),
        ),
        (
            format!("policy-sets/{set}/versions"),
            format!("policy-sets/{other_set}/versions"),
        ),
    ] {
        let mut numbers = Vec::new();
        let mut at = Some(zone.at(&format!("{path}?limit=2")));
        while let Some(page) = at {
            let page = zone.admin.get(&page).await;
            assert!(rows(&page) <= 2, "{}", page.text);
            let found = page.body.as_array().expect("a list").iter();
            numbers.extend(found.map(|row| row["version"].as_i64()));
            at = next(&page);
        }
        assert_eq!(numbers, (1..=5).map(Some).collect::<Vec<_>>(), "{path}");
        let page = zone.get(&format!("{path}?limit=1")).await;
        let cursor = next(&page).expect("a next page");
        let cursor = cursor.split_once("cursor=").expect("a cursor").1.to_owned();
        let refused = zone.get(&format!("{elsewhere}?cursor={cursor}")).await;
        assert_eq!(refused.member("error"), "invalid_cursor", "{elsewhere}");
        for (query, error) in [
            ("limit=0", "invalid_query"),
            ("color=red", "invalid_query"),
            ("cursor=x", "invalid_cursor"),
        ] {
            let refused = zone.get(&format!("{path}?{query}")).await;
            assert_eq!(
                (refused.status, refused.member("error")),
                (400, error),
                "{path}?{query}"
            );
        }
    }
    for absent in ["policies/nonsense/versions", "policy-sets/nonsense/versions"] {
        assert_eq!(zone.get(absent).await.status, 404, "{absent}");
    }
    let first = zone.get("signing-keys?limit=1").await;
    let second = zone.admin.get(&next(&first).expect("a next page")).await;
    let all = zone.get("signing-keys").await.expect(200);
    assert_eq!(all, json!([first.body[0], second.body[0]]));
    assert_eq!(next(&second), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_nobody_looks_at_is_refused() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Parameters").await;
    let nothing = "0198c0de-0000-7000-8000-000000000000";
    let open = [
        "/openapi.json",
        "/docs",
        "/v1/policy-templates",
        "/v1/oauth/callback",
        "/v1/invitations/accept",
    ];
    for route in TABLE
        .iter()
        .filter(|route| !open.iter().any(|path| route.path.starts_with(path)))
    {
        let path = route
            .path
            .replace("{zone_id}", &zone.id)
            .replace("{request_id}", "nothing");
        let path = path.replace("{id}", nothing).replace("{version_id}", nothing);
        let method = Method::from_bytes(route.method.to_uppercase().as_bytes()).expect("a method");
        let answer = zone
            .admin
            .send(method, &format!("{path}?color=red"), |request| {
                if route.method == "get" {
                    request
                } else {
                    request.json(&json!({}))
                }
            })
            .await
            .expect("an answer");
        // A body that will not do is told first.
        let fine = matches!(answer.member("error"), "invalid_query" | "invalid_body");
        assert!(
            answer.status == 400 && fine,
            "{} {path}: {} {}",
            route.method,
            answer.status,
            answer.text
        );
        assert!(
            route.method == "post" || answer.member("error") == "invalid_query" || route.method == "patch"
        );
    }
    let refused = zone.admin.get(&format!("/v1/zones/{}?color=red", zone.id)).await;
    assert_eq!((refused.status, refused.member("error")), (400, "invalid_query"));
    let resource = json!({"identifier": "resource://a", "scopes": ["read"]});
    let refused = zone.post("resources?dry_run=true", &resource).await;
    assert_eq!((refused.status, refused.member("error")), (400, "invalid_query"));
    assert_eq!(
        zone.get("resources").await.expect(200),
        json!([]),
        "nothing was made"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_written_as_rfc_3339_has_them() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Times").await;
    let [_, _, set, version] = zone.drafted().await;
    for (time, good) in [
        ("2999-05-11T20:00:00Z", true),
        ("2999-05-11T22:00:00.25+02:00", true),
        ("2999-05-11 20:00:00Z", false),
        ("2999-05-11", false),
        ("2999-05-11T20:00:00", false),
        ("+12999-05-11T20:00:00Z", false),
        ("-0001-05-11T20:00:00Z", false),
        ("0000-05-11T20:00:00Z", false),
        ("1789000000", false),
    ] {
        let (status, code) = if good { (200, "") } else { (400, "invalid_query") };
        let written = time.replace('+', "%2B").replace(' ', "%20");
        for name in ["since", "until"] {
            let answer = zone.get(&format!("audit?{name}={written}")).await;
            assert_eq!(
                (answer.status, answer.member("error")),
                (status, code),
                "{name}={time}"
            );
        }
        let code = if good { "" } else { "invalid_body" };
        let token = zone
            .admin
            .post(
                "/v1/admin-tokens",
                &json!({"scope": "global", "expires_at": time}),
            )
            .await;
        assert_eq!(token.member("error"), code, "{time}: {}", token.text);
        let block = zone
            .post(
                "subjects/revoke",
                &json!({"subject_id": "u", "block_until": time}),
            )
            .await;
        assert_eq!(block.member("error"), code, "{time}: {}", block.text);
        let replay = json!({"version_id": version, "since": time});
        let replay = zone.post(&format!("policy-sets/{set}/replay"), &replay).await;
        assert_eq!(replay.member("error"), code, "{time}: {}", replay.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_two_share_finds_the_one_that_has_it() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Theirs").await);
    for (list, key, body) in [
        (
            "applications",
            "name",
            json!({"name": "a b", "registration_method": "managed"}),
        ),
        (
            "resources",
            "identifier",
            json!({"identifier": "resource://a?b=1&c", "scopes": ["read"]}),
        ),
        (
            "providers",
            "identifier",
            json!({"identifier": "a", "kind": "apikey"}),
        ),
        ("policies", "name", json!({"name": "a", "content": ALLOW})),
        ("policy-sets", "name", json!({"name": "a"})),
    ] {
        let value = body[key].as_str().expect("a text").to_owned();
        let found = async |zone: &Zone, value: &str| {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair(key, value)
                .finish();
            let answer = zone.get(&format!("{list}?{query}&limit=1")).await;
            assert_eq!(next(&answer), None, "{list}");
            answer.expect(200)
        };
        let mut another = body.clone();
        another[key] = json!(format!("{value}2"));
        for body in [&another, &body] {
            assert_eq!(zone.post(list, body).await.status, 201, "{list}");
        }
        let all = zone.get(list).await.expect(200);
        assert_eq!(found(&zone, &value).await, json!([all[1]]), "{list}");
        for nobody in [&value.to_uppercase(), "%", "", "nobody"] {
            assert_eq!(found(&zone, nobody).await, json!([]), "{list} {nobody}");
        }
        assert_eq!(found(&other, &value).await, json!([]), "{list}");
        let item = format!("{list}/{}", all[1]["id"].as_str().expect("an id"));
        assert_eq!(zone.admin.delete(&zone.at(&item)).await.status, 204, "{list}");
        assert_eq!(found(&zone, &value).await, json!([]), "{list}");
    }
    let zones = "/v1/zones?slug=mine";
    let found = zone.admin.get(zones).await.expect(200);
    assert_eq!((&found[0]["id"], &found[1]), (&json!(zone.id), &Value::Null));
    assert_eq!(zone.admin.get("/v1/zones?slug=MINE").await.expect(200), json!([]));
    let itself = format!("/v1/zones/{}", zone.id);
    let renamed = zone.admin.patch(&itself, &json!({"slug": "not-mine"})).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    assert_eq!(zone.admin.get(zones).await.expect(200), json!([]));
}
