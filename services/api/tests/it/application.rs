use super::given::{ABSENT, all_invalid, deeds, tally};
use super::{Zone, alone};
use futures::future::join_all;
use serde_json::{Value, json};

fn key() -> Value {
    json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "alg": "ES256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]})
}

fn body(kind: &str, with: &Value) -> Value {
    let mut body = json!({"name": format!("app {kind} {with}").chars().take(40).collect::<String>(),
        "registration_method": "managed", "credential_type": kind});
    for (name, value) in with.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credential_type_is_taken_with_what_belongs_to_it() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Credentials").await;
    for (kind, with, shows_secret) in [
        ("token", json!({}), true),
        ("password", json!({}), true),
        ("token", json!({"client_secret": "chosen-by-us"}), false),
        ("password", json!({"client_secret": "x"}), false),
        ("password", json!({"client_secret": " two words~"}), false),
        ("password", json!({"client_secret": "~".repeat(512)}), false),
        ("public-key", json!({"jwks": key()}), false),
        ("url", json!({"jwks_uri": "https://app.example/keys"}), false),
        ("public", json!({}), false),
    ] {
        let made = zone.post("applications", &body(kind, &with)).await;
        assert_eq!(
            (made.status, made.member("credential_type")),
            (201, kind),
            "{}",
            made.text
        );
        assert_eq!(
            made.body.get("client_secret").is_some(),
            shows_secret,
            "{kind} {with}"
        );
        let shown = zone
            .get(&format!("applications/{}", made.member("id")))
            .await
            .expect(200);
        assert!(shown.get("client_secret").is_none());
        for member in ["jwks", "jwks_uri"] {
            assert_eq!(shown.get(member), with.get(member), "{kind}");
        }
    }
    let by_default = zone
        .post(
            "applications",
            &json!({"name": "plain", "registration_method": "managed"}),
        )
        .await;
    assert_eq!(
        (by_default.member("credential_type"), by_default.member("consent")),
        ("public", "implicit")
    );
    let asks = json!({"name": "asks", "registration_method": "managed", "consent": true});
    assert_eq!(
        zone.post("applications", &asks).await.member("consent"),
        "required"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_together_is_refused() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Misfits").await;
    let private = |member: &str| {
        let mut jwks = key();
        jwks["keys"][0][member] = json!("c2VjcmV0");
        body("public-key", &json!({"jwks": jwks}))
    };
    let redirect = |uri: &str| body("public", &json!({"redirect_uris": [uri]}));
    let bodies = [
        body("public", &json!({"client_secret": "chosen-by-us"})),
        body("token", &json!({"jwks": key()})),
        body("token", &json!({"client_secret": ""})),
        body("token", &json!({"client_secret": "x".repeat(513)})),
        body("token", &json!({"client_secret": "caf\u{e9}"})),
        body("token", &json!({"client_secret": "a\tb"})),
        body("token", &json!({"client_secret": "ccs_looks-like-one-of-ours"})),
        body("public-key", &json!({})),
        body("public-key", &json!({"jwks": {"keys": []}})),
        body(
            "public-key",
            &json!({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}),
        ),
        body("url", &json!({})),
        body("url", &json!({"jwks_uri": "http://169.254.169.254/keys"})),
        body("url", &json!({"jwks_uri": "https://user:pass@app.example/keys"})),
        body("url", &json!({"jwks_uri": "file:///etc/passwd"})),
        body("secret", &json!({})),
        body("public", &json!({"consent": "required"})),
        body("public", &json!({"registration_method": "self"})),
        redirect("/callback"),
        redirect("javascript:alert(1)"),
        redirect("https://app.example/cb#fragment"),
        redirect("https://user@app.example/cb"),
        redirect("https://app.example/a b"),
        body(
            "public",
            &json!({"redirect_uris": vec!["https://app.example/cb"; 33]}),
        ),
    ];
    all_invalid(&zone, "applications", &bodies).await;
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].map(private);
    all_invalid(&zone, "applications", &private).await;
    let kept = [
        "http://127.0.0.1/cb",
        "https://app.example/CB/?x=1",
        "com.example.app:/cb",
    ];
    let made = zone
        .post("applications", &body("public", &json!({"redirect_uris": kept})))
        .await;
    assert_eq!(
        made.body["redirect_uris"],
        json!(kept),
        "kept as they are compared"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_the_proof_only_when_it_says_so() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Patch").await;
    let made = zone.post("applications", &body("token", &json!({}))).await;
    let path = zone.at(&format!("applications/{}", made.member("id")));
    let hash = || async {
        let query = format!(
            "SELECT secret_hash FROM applications WHERE id = '{}'",
            made.member("id")
        );
        let row = stack
            .database()
            .connect()
            .await
            .query_one(&query, &[])
            .await
            .expect("a row");
        row.get::<_, Option<String>>(0)
    };
    let first = hash().await;
    for patch in [
        json!({"credential_type": "token"}),
        json!({"credential_type": "password"}),
        json!({"name": "x"}),
    ] {
        let changed = zone.admin.patch(&path, &patch).await;
        assert!(
            changed.status == 200 && changed.body.get("client_secret").is_none(),
            "{patch}: {}",
            changed.text
        );
        assert_eq!(hash().await, first, "{patch}");
    }
    let chosen = zone
        .admin
        .patch(&path, &json!({"client_secret": "another-one"}))
        .await;
    assert!(chosen.status == 200 && chosen.body.get("client_secret").is_none());
    assert_ne!(hash().await, first);
    let keys = zone
        .admin
        .patch(&path, &json!({"credential_type": "public-key", "jwks": key()}))
        .await;
    assert_eq!(keys.member("credential_type"), "public-key", "{}", keys.text);
    assert_eq!(hash().await, None);
    let secret = zone
        .admin
        .patch(&path, &json!({"credential_type": "token"}))
        .await;
    assert!(
        secret.member("client_secret").starts_with("ccs_"),
        "one we make is shown: {}",
        secret.text
    );
    assert!(secret.body.get("jwks").is_none());
    for bad in [
        json!({"jwks": key()}),
        json!({"name": null}),
        json!({"registration_method": "dcr"}),
    ] {
        assert_eq!(
            zone.admin.patch(&path, &bad).await.member("error"),
            "invalid_body",
            "{bad}"
        );
    }
    assert_eq!(
        zone.admin.patch(&path, &json!({})).await.member("error"),
        "no_fields"
    );
    let changed = deeds(&stack, &zone, "application.update").await;
    assert_eq!(changed, 5, "the type that it had was no change");
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_redirect_uris_and_traits_are_changed_by_a_patch() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Changes").await;
    let made = zone.post("applications", &body("public", &json!({}))).await;
    let path = zone.at(&format!("applications/{}", made.member("id")));
    for (field, value, shown) in [
        ("consent", json!(true), json!("required")),
        ("consent", json!(false), json!("implicit")),
        (
            "redirect_uris",
            json!(["https://app.example/cb"]),
            json!(["https://app.example/cb"]),
        ),
        (
            "traits",
            json!(["role:reader", "team:a"]),
            json!(["role:reader", "team:a"]),
        ),
    ] {
        let changed = zone.admin.patch(&path, &json!({field: value})).await.expect(200);
        assert_eq!(changed[field], shown, "{field} {value}");
        assert_eq!(
            zone.admin.get(&path).await.expect(200),
            changed,
            "{field} {value}"
        );
    }
    for uri in [
        "/callback",
        "javascript:alert(1)",
        "https://app.example/cb#fragment",
    ] {
        let patch = json!({"redirect_uris": [uri]});
        let refused = zone.admin.patch(&path, &patch).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{uri}: {}",
            refused.text
        );
    }
    let kept = zone.admin.get(&path).await.expect(200);
    assert_eq!(kept["redirect_uris"], json!(["https://app.example/cb"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_changes_of_the_proof_leave_one_of_them_whole() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Race").await;
    let made = zone.post("applications", &body("token", &json!({}))).await;
    let id = made.member("id");
    let path = zone.at(&format!("applications/{id}"));
    let patches = [
        json!({"credential_type": "public"}),
        json!({"credential_type": "token", "client_secret": "another-one"}),
        json!({"credential_type": "public-key", "jwks": key()}),
    ];
    let answers = join_all((0..24).map(|n| {
        let (zone, path, patch) = (&zone, &path, &patches[n % 3]);
        async move { zone.admin.patch(path, patch).await }
    }))
    .await;
    assert_eq!(
        tally(&answers, 200, ""),
        24,
        "{:?}",
        answers.iter().map(|a| &a.text).collect::<Vec<_>>()
    );
    let (rotate, none) = (format!("applications/{id}/rotate-secret"), json!({}));
    let to_public = join_all((0..10).map(|n| {
        let (zone, path, rotate, none) = (&zone, &path, &rotate, &none);
        async move {
            if n % 2 == 0 {
                zone.post(rotate, none).await
            } else {
                zone.admin
                    .patch(path, &json!({"credential_type": "public"}))
                    .await
            }
        }
    }))
    .await;
    for answer in &to_public {
        let fine = answer.status == 200 || answer.member("error") == "application_has_no_secret";
        assert!(fine, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_active_policies_name_goes_on_proving_itself() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Named").await;
    let mut ids = Vec::new();
    for name in ["by id", "by \"name\"", "unnamed"] {
        let made = json!({"name": name, "registration_method": "managed", "credential_type": "token"});
        ids.push(zone.post("applications", &made).await.member("id").to_owned());
    }
    let content = format!(
        "package caracal.authz\n\nresult := {{\"decision\": \"allow\", \"determining_policies\": [\"x\"]}} if \
         input.principal.id == \"{}\"\nelse := {{\"decision\": \"allow\", \"determining_policies\": [\"y\"]}} if \
         input.principal.name == \"by \\\"name\\\"\"\n",
        ids[0]
    );
    let policy = zone
        .post("policies", &json!({"name": "names", "content": content}))
        .await;
    assert_eq!(policy.status, 201, "{}", policy.text);
    let [set, version] = zone.set_of("main", policy.member("version_id")).await;
    let downgrade = json!({"credential_type": "public"});
    let path = |id: &str| zone.at(&format!("applications/{id}"));
    assert_eq!(zone.activate(&set, &version).await.status, 202);
    for id in &ids[..2] {
        let refused = zone.admin.patch(&path(id), &downgrade).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (409, "app_referenced_by_active_policy")
        );
        let renamed = zone
            .admin
            .patch(&path(id), &json!({"traits": ["role:reader"]}))
            .await;
        assert_eq!(
            renamed.status, 200,
            "only the downgrade is refused: {}",
            renamed.text
        );
    }
    assert_eq!(zone.admin.patch(&path(&ids[2]), &downgrade).await.status, 200);
    // Nor by another name: neither on the way, nor when it is taken back, nor when another takes it on.
    let freed = json!({"name": "by another", "credential_type": "public"});
    let named = json!({"name": "by \"name\""});
    let refused = zone.admin.patch(&path(&ids[1]), &freed).await;
    assert_eq!(refused.member("error"), "app_referenced_by_active_policy");
    for step in [json!({"name": "by another"}), downgrade.clone()] {
        assert_eq!(zone.admin.patch(&path(&ids[1]), &step).await.status, 200);
    }
    for id in &ids[1..] {
        let refused = zone.admin.patch(&path(id), &named).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (409, "app_referenced_by_active_policy")
        );
    }
    let proven = json!({"name": "by \"name\"", "credential_type": "token"});
    assert_eq!(zone.admin.patch(&path(&ids[1]), &proven).await.status, 200);
    let set = zone.at(&format!("policy-sets/{set}"));
    assert_eq!(zone.admin.delete(&set).await.status, 204);
    assert_eq!(
        zone.admin.patch(&path(&ids[0]), &downgrade).await.status,
        200,
        "no active set, no reference"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_applications_of_one_name_one_is_made_and_foreign_ones_are_absent() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Theirs").await);
    let plain = json!({"name": "same", "registration_method": "managed"});
    let answers = join_all((0..50).map(|_| zone.post("applications", &plain))).await;
    assert_eq!(
        (
            tally(&answers, 201, ""),
            tally(&answers, 409, "application_already_exists")
        ),
        (1, 49)
    );
    let theirs = other.post("applications", &plain).await.member("id").to_owned();
    for id in ABSENT.iter().copied().chain([theirs.as_str()]) {
        let path = zone.at(&format!("applications/{id}"));
        for refused in [
            zone.admin.get(&path).await,
            zone.admin.patch(&path, &json!({"name": "x"})).await,
            zone.admin.delete(&path).await,
            zone.admin
                .post(&format!("{path}/rotate-secret"), &json!({}))
                .await,
        ] {
            assert_eq!(
                (refused.status, refused.member("error")),
                (404, "application_not_found"),
                "{id}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_without_its_proof_is_settled_by_what_is_there_when_it_changes() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Settled").await;
    let made = zone.post("applications", &body("token", &json!({}))).await;
    let path = zone.at(&format!("applications/{}", made.member("id")));
    // Each is fine after each, but what is kept or made depends on which came before.
    let patches = [
        json!({"credential_type": "token"}),
        json!({"credential_type": "public"}),
        json!({"credential_type": "password"}),
        json!({"credential_type": "url", "jwks_uri": "https://app.example/keys"}),
    ];
    for _ in 0..4 {
        let answers = join_all((0..24).map(|n| zone.admin.patch(&path, &patches[n % 4]))).await;
        for answer in &answers {
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }
    let kept = "SELECT count(*) FROM applications
        WHERE (credential_type IN ('token', 'password')) <> (secret_hash IS NOT NULL)";
    assert_eq!(stack.database().count(kept).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_a_secret_proves_itself_with_it() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Brings").await;
    let new = json!({"name": "a", "registration_method": "managed", "client_secret": "of-the-caller"});
    let made = zone.post("applications", &new).await;
    assert_eq!(
        (
            made.status,
            made.member("credential_type"),
            made.member("client_secret")
        ),
        (201, "token", ""),
        "{}",
        made.text
    );
    let contradicted = json!({"name": "b", "registration_method": "managed", "client_secret": "s", "credential_type": "public"});
    let refused = zone.post("applications", &contradicted).await;
    assert_eq!((refused.status, refused.member("error")), (400, "invalid_body"));
}
