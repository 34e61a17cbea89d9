use super::given::sql;
use super::{ALLOW, Zone, alone};
use caracal_jose::sha256_hex;
use caracal_testkit::stack::Service;
use futures::future::{join, join_all};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn broken_rego_is_told_where_it_is_broken() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Rego").await;
    let send = "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if {\n\thttp.send({\"url\": \"http://x\"})\n}\n";
    for (content, line, says) in [
        ("package caracal.authz\n\nresult := {\n", 4, ""),
        ("package other\n\nresult := 1\n", 1, "caracal.authz"),
        ("package caracal.authz\n\nallow := true\n", 1, "result"),
        (send, 4, "http.send"),
        ("", 1, "bytes"),
    ] {
        let refused = zone
            .post("policies", &json!({"name": "bad", "content": content}))
            .await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (422, "invalid_rego"),
            "{content}"
        );
        let issue = &refused.body["issues"][0];
        assert_eq!(
            (issue["line"].as_u64(), &issue["path"]),
            (Some(line), &json!(["content"])),
            "{issue}"
        );
        assert!(
            issue["column"].is_u64() && issue["message"].as_str().expect("a text").contains(says),
            "{issue}"
        );
        let checked = zone
            .admin
            .post("/v1/policies/validate", &json!({"content": content}))
            .await
            .expect(200);
        assert_eq!(
            (&checked["valid"], &checked["issues"][0]["line"]),
            (&json!(false), &json!(line))
        );
        assert_eq!(checked["content_sha256"], sha256_hex(content.as_bytes()));
    }
    let good = zone
        .admin
        .post("/v1/policies/validate", &json!({"content": ALLOW}))
        .await
        .expect(200);
    assert_eq!((&good["valid"], &good["issues"]), (&json!(true), &json!([])));
    assert_eq!(good["content_sha256"], sha256_hex(ALLOW.as_bytes()));
    assert_eq!(zone.get("policies").await.expect(200), json!([]));
    assert_eq!(
        stack
            .database()
            .count("SELECT count(*) FROM policy_modules")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_compiler_stops_new_policies_and_nothing_else() {
    let stack = alone()
        .env(Service::Api, "OPA_BIN", "/nonexistent/opa")
        .start()
        .await;
    let zone = Zone::new(&stack, "No compiler").await;
    let refused = zone
        .post("policies", &json!({"name": "any", "content": ALLOW}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (503, "policy_compiler_unavailable")
    );
    let refused = zone
        .admin
        .post("/v1/policies/validate", &json!({"content": ALLOW}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (503, "policy_compiler_unavailable")
    );
    // A name that is taken is refused before anything is compiled.
    let taken = format!(
        "INSERT INTO policies (zone_id, id, name, created_by) VALUES ('{}', gen_random_uuid(), 'any', 'tests')",
        zone.id
    );
    sql(&stack, &taken).await;
    let refused = zone
        .post("policies", &json!({"name": "any", "content": ALLOW}))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (409, "policy_already_exists")
    );
    assert_eq!(
        zone.post(
            "resources",
            &json!({"identifier": "resource://x", "scopes": ["read"]})
        )
        .await
        .status,
        201
    );
    assert_eq!(zone.admin.get("/ready").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_sources_share_one_module() {
    let stack = alone().start().await;
    let (one, two) = (Zone::new(&stack, "One").await, Zone::new(&stack, "Two").await);
    let body = json!({"name": "all", "content": ALLOW});
    let first = one.post("policies", &body).await.expect(201);
    let second = two.post("policies", &body).await.expect(201);
    assert_eq!(
        first["version"]["content_sha256"],
        second["version"]["content_sha256"]
    );
    assert_eq!(
        stack
            .database()
            .count("SELECT count(*) FROM policy_modules")
            .await,
        1
    );
    let again = one.post("policies", &body).await;
    assert_eq!(
        (again.status, again.member("error")),
        (409, "policy_already_exists")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_number_themselves_and_an_archived_policy_cannot_be_activated() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Versions").await;
    let [policy, _, set, set_version] = zone.drafted().await;
    let content = format!("{ALLOW}\n# second\n");
    let second = zone
        .post(
            &format!("policies/{policy}/versions"),
            &json!({"content": content}),
        )
        .await;
    assert_eq!((second.status, &second.body["version"]), (201, &json!(2)));
    let manifest = json!({"manifest": [
        {"policy_version_id": second.member("id")}, {"policy_version_id": second.member("id")}
    ]});
    let twice = zone.post(&format!("policy-sets/{set}/versions"), &manifest).await;
    assert_eq!(twice.member("error"), "invalid_body");
    for (manifest, code) in [
        (json!({"manifest": []}), "invalid_body"),
        (
            json!({"manifest": [{"policy_version_id": policy}]}),
            "policy_version_not_found",
        ),
        (json!({"manifest": [{"policy_version_id": "x"}]}), "invalid_body"),
    ] {
        let refused = zone.post(&format!("policy-sets/{set}/versions"), &manifest).await;
        assert_eq!(refused.member("error"), code, "{manifest}");
    }
    let activate = format!("policy-sets/{set}/activate");
    let unknown = zone.post(&activate, &json!({"version_id": policy})).await;
    assert_eq!(
        (unknown.status, unknown.member("error")),
        (404, "version_not_found")
    );
    let unknown = zone
        .post(
            &activate,
            &json!({"version_id": set_version, "shadow_version_id": policy}),
        )
        .await;
    assert_eq!(
        (unknown.status, unknown.member("error")),
        (404, "shadow_version_not_found")
    );
    assert_eq!(
        zone.admin
            .delete(&zone.at(&format!("policies/{policy}")))
            .await
            .status,
        204
    );
    let stale = zone.post(&activate, &json!({"version_id": set_version})).await;
    assert_eq!(
        (stale.status, stale.member("error")),
        (409, "referenced_policy_version_missing")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn activating_one_set_makes_the_other_inactive() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Two sets").await;
    let [_, version, set, set_version] = zone.drafted().await;
    let [other, other_version] = zone.set_of("other", &version).await;
    assert_eq!(zone.activate(&set, &set_version).await.status, 202);
    let etag = zone
        .get(&format!("policy-sets/{set}"))
        .await
        .header("etag")
        .to_owned();
    let body = json!({"version_id": other_version, "shadow_version_id": set_version});
    let switched = zone
        .post(&format!("policy-sets/{other}/activate"), &body)
        .await
        .expect(202);
    assert_eq!(switched["shadow_version_id"], json!(set_version));
    let first = zone.get(&format!("policy-sets/{set}")).await;
    assert_ne!(
        first.header("etag"),
        etag,
        "losing its activation is a visible change"
    );
    assert_eq!(first.expect(200)["active_version_id"], Value::Null);
    let second = zone.get(&format!("policy-sets/{other}")).await.expect(200);
    assert_eq!(
        (&second["active_version_id"], &second["shadow_version_id"]),
        (&json!(other_version), &json!(set_version))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_templates_are_public_and_every_one_is_accepted() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Templates").await;
    let templates = stack
        .anonymous(Service::Api, 0)
        .get("/v1/policy-templates")
        .await
        .expect(200);
    let templates = templates.as_array().expect("a list");
    assert_eq!(templates.len(), 9);
    for template in templates {
        let made = zone
            .post(
                "policies",
                &json!({"name": template["id"], "content": template["content"]}),
            )
            .await;
        assert_eq!(made.status, 201, "{}: {}", template["id"], made.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_has_its_defaults_and_shows_its_versions() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Defaults").await;
    let made = zone
        .post("policies", &json!({"name": "p", "content": ALLOW}))
        .await;
    assert_eq!(
        (made.status, made.member("owner_type")),
        (201, "customer"),
        "{}",
        made.text
    );
    let first = &made.body["version"];
    assert_eq!(
        (&first["schema_version"], &first["version"], &first["policy_id"]),
        (&json!("2026-03-16"), &json!(1), &made.body["id"])
    );
    assert_eq!(made.body["version_id"], first["id"]);
    let policy = made.member("id");
    let at = format!("policies/{policy}/versions");
    let second = zone.post(&at, &json!({"content": format!("{ALLOW}# 2\n")})).await;
    assert_eq!(
        (second.status, second.member("schema_version")),
        (201, "2026-03-16")
    );
    let all = zone.get(&at).await.expect(200);
    let shown = |n: usize, name: &str| all[n][name].clone();
    assert_eq!(
        (
            shown(0, "id"),
            shown(1, "id"),
            shown(0, "version"),
            shown(1, "version")
        ),
        (
            first["id"].clone(),
            json!(second.member("id")),
            json!(1),
            json!(2)
        )
    );
    assert_eq!(shown(0, "content"), json!(ALLOW));
    let one = zone
        .get(&format!("{at}/{}", second.member("id")))
        .await
        .expect(200);
    assert_eq!(one, all[1]);
    let broken = zone
        .post(&at, &json!({"content": "package caracal.authz\n\nresult := {\n"}))
        .await;
    assert_eq!((broken.status, broken.member("error")), (422, "invalid_rego"));
    assert_eq!(broken.body["issues"][0]["line"], json!(4), "{}", broken.text);
    let unknown = zone
        .post(&at, &json!({"content": ALLOW, "schema_version": "2020-01-01"}))
        .await;
    assert_eq!((unknown.status, unknown.member("error")), (400, "invalid_body"));

    let path = zone.at(&format!("policies/{policy}"));
    assert_eq!(zone.admin.delete(&path).await.status, 204);
    let gone = zone.post(&at, &json!({"content": ALLOW})).await;
    assert_eq!((gone.status, gone.member("error")), (404, "policy_not_found"));
    for absent in [&at, &format!("{at}/{}", second.member("id"))] {
        let gone = zone.get(absent).await;
        assert_eq!(
            (gone.status, gone.member("error")),
            (404, "policy_not_found"),
            "{absent}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_keeps_what_it_was_described_as_whose_it_is_and_who_made_it() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Authors").await;
    let token = json!({"scope": "zone", "zone_id": zone.id});
    let token = zone.admin.post("/v1/admin-tokens", &token).await;
    let author = stack.anonymous(Service::Api, 0).bearer(token.member("token"));
    let name = format!("admin-token:{}", token.member("id"));
    let body =
        json!({"name": "night", "content": ALLOW, "description": "At night only.", "owner_type": "platform"});
    let made = author.post(&zone.at("policies"), &body).await.expect(201);
    for field in ["description", "owner_type"] {
        assert_eq!(made[field], body[field], "{field}");
    }
    assert_eq!(
        (&made["created_by"], &made["version"]["created_by"]),
        (&json!(name), &json!(name))
    );
    let shown = zone.get("policies").await.expect(200);
    for field in ["description", "owner_type", "created_by"] {
        assert_eq!(shown[0][field], made[field], "{field}");
    }

    let plain = zone
        .post("policies", &json!({"name": "plain", "content": ALLOW}))
        .await;
    assert_eq!(
        plain.body.get("description"),
        Some(&Value::Null),
        "{}",
        plain.text
    );
    let by = plain.member("created_by");
    assert!(by.starts_with("admin-token:") && by != name, "another's: {by}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_be_as_long_as_it_may_and_no_byte_longer() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Length").await;
    let longest = format!("{ALLOW}{}", "#".repeat(262_144 - ALLOW.len()));
    let made = zone
        .post("policies", &json!({"name": "long", "content": longest}))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let at = format!("policies/{}/versions", made.member("id"));
    for (below, body) in [
        (
            "policies",
            json!({"name": "longer", "content": format!("{longest}#")}),
        ),
        (at.as_str(), json!({"content": format!("{longest}#")})),
        (at.as_str(), json!({"content": ""})),
    ] {
        let refused = zone.post(below, &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (422, "invalid_rego"),
            "{below}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_policies_at_once_are_all_made() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Crowd").await;
    let bodies: Vec<_> = (0..50)
        .map(|n| json!({"name": format!("p{n}"), "content": format!("{ALLOW}# {n}\n")}))
        .collect();
    let answers = join_all(bodies.iter().map(|body| zone.post("policies", body))).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 201).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_too_much_for_the_compiler_is_no_good_and_nobody_elses_trouble() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Heavy").await, Zone::new(&stack, "Light").await);
    // Each rule's type is twice as large as that of the one before.
    let rules: Vec<String> = (1..40)
        .map(|n| format!("r{n} := [r{0}, r{0}]\n", n - 1))
        .collect();
    let rules = rules.concat();
    let heavy = format!(
        "package caracal.authz\n\nr0 := [input, input]\n{rules}result := {{\"decision\": \"allow\"}} if r39 == 1\n"
    );
    let heavy = json!({"name": "p", "content": heavy});
    let light = json!({"name": "p", "content": ALLOW});
    let (heavy, light) = join(zone.post("policies", &heavy), other.post("policies", &light)).await;
    assert_eq!(
        (heavy.status, heavy.member("error")),
        (422, "invalid_rego"),
        "{}",
        heavy.text
    );
    let said = heavy.body["issues"][0]["message"].as_str().unwrap_or_default();
    assert!(said.contains("takes longer than"), "{}", heavy.text);
    assert_eq!(light.status, 201, "{}", light.text);
    assert!(light.took < heavy.took, "{:?} after {:?}", light.took, heavy.took);
}
