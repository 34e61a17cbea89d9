//! Sessions and mandates: what they carry, and what they can never become (contract §2, "Classes" and "Claims").

use caracal_testkit::settings::GATEWAY_STS_KEY;
use caracal_testkit::upstream::API_KEY;
use caracal_testkit::world::{allowing, claims};
use caracal_testkit::{Client, Stack, World};
use serde_json::{Value, json};

fn number(claims: &Value, name: &str) -> i64 {
    claims.get(name).and_then(Value::as_i64).expect("a number")
}

#[tokio::test]
async fn a_gateway_alone_is_told_with_what_its_call_goes_on() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let call = [
        ("subject_token", session.as_str()),
        ("resource", &world.resource),
        ("scope", "orders:read"),
        ("method", "GET"),
        ("path", "/orders"),
    ];
    let gateway = stack.sts(0).bearer(GATEWAY_STS_KEY);
    let told = gateway.form("/oauth/2/token", &call).await.expect(200);
    let own = world
        .mandate(&stack.sts(0), &session, "orders:read")
        .await
        .expect(200);
    let [told, own] = [&told, &own].map(|answer| answer["upstreams"][&world.resource].clone());
    for member in ["url", "auth_mode"] {
        assert!(told[member].is_string());
        assert_eq!(told[member], own[member], "{told}");
    }
    assert_eq!(told["credential"]["value"], API_KEY);
    assert_eq!(own.as_object().map(serde_json::Map::len), Some(2), "{own}");
}

#[tokio::test]
async fn a_session_carries_no_authority_and_a_mandate_only_what_was_decided() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let issued = world.token(&sts, &[]).await;
    let answer = issued.clone().expect(200);
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 3600);
    assert_eq!(
        answer["issued_token_type"],
        "urn:ietf:params:oauth:token-type:access_token"
    );
    assert_eq!(answer["target_resources"], json!([]));
    let session = issued.member("access_token").to_owned();
    let said = claims(&session);
    let issuer = said["iss"].as_str().expect("an issuer").to_owned();
    assert!(issuer.ends_with(&format!("/zones/{}", world.zone_id)));
    assert_eq!(
        (&said["aud"], &said["use"]),
        (&json!([issuer]), &json!("session"))
    );
    assert_eq!(
        (&said["sub"], &said["sub_type"]),
        (&json!(world.application_id), &json!("application"))
    );
    assert_eq!((&said["scope"], &said["sid"]), (&json!(""), &said["root_sid"]));

    let minted = world.mandate(&sts, &session, "orders:read").await;
    let answer = minted.clone().expect(200);
    assert_eq!(
        (&answer["expires_in"], &answer["scope"]),
        (&json!(900), &json!("orders:read"))
    );
    let upstream = &answer["upstreams"][&world.resource];
    assert_eq!(upstream["auth_mode"], "provider_apikey");
    assert!(
        !minted.text.contains("credential"),
        "a credential is never for an application: {}",
        minted.text
    );
    let mandate = claims(minted.member("access_token"));
    assert_eq!(
        (&mandate["use"], &mandate["aud"]),
        (&json!("resource"), &json!([world.resource]))
    );
    assert_eq!(
        (&mandate["sid"], &mandate["client_id"]),
        (&said["sid"], &json!(world.application_id))
    );
    assert_eq!(number(&mandate, "exp") - number(&mandate, "iat"), 900);
    assert!(mandate["event_id"].is_string() && mandate["epoch"].is_number());
}

#[tokio::test]
async fn lifetimes_are_shortened_and_never_outlive_the_session() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let long = world.token(&sts, &[("ttl_seconds", "99999")]).await.expect(200);
    assert_eq!(long["expires_in"], 3600);
    let short = world.token(&sts, &[("ttl_seconds", "30")]).await;
    assert_eq!(short.body["expires_in"], 30);
    let mandate = world
        .mandate(&sts, short.member("access_token"), "orders:read")
        .await
        .expect(200);
    assert!(
        mandate["expires_in"]
            .as_i64()
            .is_some_and(|seconds| seconds <= 30)
    );
}

#[tokio::test]
async fn a_mandate_never_comes_back_in() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let mandate = world
        .mandate(&sts, &session, "orders:read")
        .await
        .member("access_token")
        .to_owned();
    for spelling in ["access_token", "jwt"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{spelling}");
        let fields = [
            ("subject_token", mandate.as_str()),
            ("subject_token_type", &kind),
            ("resource", &world.resource),
        ];
        let answer = world.token(&sts, &fields).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (400, "invalid_grant"),
            "{}",
            answer.text
        );
        assert_eq!(answer.member("reason"), "subject_token_wrong_use");
    }
}

#[tokio::test]
async fn a_token_of_another_zone_or_application_is_refused() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let foreign = other.session(&sts).await;
    let answer = world.mandate(&sts, &foreign, "orders:read").await;
    assert_eq!(
        (answer.status, answer.member("reason")),
        (400, "subject_token_wrong_zone"),
        "{}",
        answer.text
    );

    let body = json!({"name": "second", "registration_method": "managed", "credential_type": "token"});
    let second = stack
        .admin()
        .post(&world.path("applications"), &body)
        .await
        .expect(201);
    let (id, secret) = (
        second["id"].as_str().expect("an id"),
        second["client_secret"].as_str().expect("a secret"),
    );
    let stolen = world.session(&sts).await;
    let form = [
        ("application_id", id),
        ("client_secret", secret),
        ("subject_token", &stolen),
        ("resource", &world.resource),
    ];
    let answer = sts.form("/oauth/2/token", &form).await;
    assert_eq!(
        (answer.status, answer.member("reason")),
        (400, "subject_token_wrong_client"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_session_that_names_resources_is_decided_and_becomes_a_ceiling() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let narrow = [
        ("resource", world.resource.as_str()),
        ("scope", "orders:read agent:lifecycle"),
    ];
    let session = world.token(&sts, &narrow).await;
    assert_eq!(session.status, 200, "{}", session.text);
    let said = claims(session.member("access_token"));
    assert_eq!(
        (&said["scope"], &said["target"]),
        (&json!("agent:lifecycle orders:read"), &json!([world.resource]))
    );
    let session = session.member("access_token");
    let beyond = world.mandate(&sts, session, "orders:write").await;
    assert_eq!(
        (beyond.status, beyond.member("reason")),
        (403, "session_ceiling"),
        "{}",
        beyond.text
    );
    let unspoken = [("subject_token", session), ("resource", world.resource.as_str())];
    assert_eq!(
        world.token(&sts, &unspoken).await.expect(200)["scope"],
        "orders:read"
    );
    let denied = world
        .token(&sts, &[("resource", &world.resource), ("scope", "orders:delete")])
        .await;
    assert_eq!(
        (denied.status, denied.member("reason")),
        (403, "policy_deny"),
        "{}",
        denied.text
    );
}

#[tokio::test]
async fn several_resources_are_decided_one_by_one() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let sts = stack.sts(0);
    let body = json!({"identifier": "resource://stock", "scopes": ["orders:read"], "upstream_url": world.upstream.url()});
    assert_eq!(
        stack.admin().post(&world.path("resources"), &body).await.status,
        201
    );
    let session = world.session(&sts).await;
    let book = world.resource.clone();
    let ask = |scope: &'static str| {
        [
            ("subject_token", session.as_str()),
            ("resource", book.as_str()),
            ("resource", "resource://stock"),
            ("resource", "resource://nowhere"),
            ("scope", scope),
        ]
    };
    let read = ask("orders:read");
    let both = world.token(&sts, &read).await.expect(200);
    assert_eq!(both["target_resources"], json!([book, "resource://stock"]));
    let one = world.token(&sts, &ask("orders:write")).await.expect(200);
    assert_eq!(
        one["target_resources"],
        json!([book]),
        "what lacks a scope is not granted, nor is it trimmed"
    );

    let guard = r#"package caracal.authz
result := {"decision": "deny", "evaluation_status": "complete", "determining_policies": ["closed"], "diagnostics": []}"#;
    let epoch = world.adopt(guard).await;
    let answer = world
        .token(&stack.sts(0).with("Caracal-Min-Epoch", &epoch), &read)
        .await;
    assert_eq!(
        (answer.status, answer.member("reason")),
        (403, "policy_deny"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn scopes_and_targets_that_do_not_exist_are_told_apart() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    let cases = [
        (
            "resource://nowhere",
            "orders:read",
            400,
            "invalid_target",
            "unknown_resource",
        ),
        (
            "resource://order-book",
            "orders:own",
            400,
            "invalid_scope",
            "scope_exceeds_resource",
        ),
        (
            "resource://order-book",
            "agent:lifecycle",
            400,
            "invalid_scope",
            "platform_scope_on_mandate",
        ),
        (
            "resource://order-book",
            "orders:delete",
            403,
            "access_denied",
            "policy_deny",
        ),
    ];
    for (resource, scope, status, error, reason) in cases {
        let fields = [
            ("subject_token", session.as_str()),
            ("resource", resource),
            ("scope", scope),
        ];
        let answer = world.token(&sts, &fields).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(got, (status, error, reason), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_zone_without_an_active_set_denies() {
    let stack = Stack::start().await;
    let admin = stack.admin();
    let zone = admin
        .post("/v1/zones", &json!({"name": "Empty"}))
        .await
        .expect(201);
    let at = |below: &str| format!("/v1/zones/{}/{below}", zone["id"].as_str().expect("an id"));
    let body = json!({"name": "agent", "registration_method": "managed", "credential_type": "token"});
    let application = admin.post(&at("applications"), &body).await.expect(201);
    let body = json!({"identifier": "resource://a", "scopes": ["read"]});
    assert_eq!(admin.post(&at("resources"), &body).await.status, 201);
    let mut form = vec![
        ("application_id", application["id"].as_str().expect("an id")),
        (
            "client_secret",
            application["client_secret"].as_str().expect("a secret"),
        ),
    ];
    let session = stack.sts(0).form("/oauth/2/token", &form).await.expect(200);
    form.extend([
        (
            "subject_token",
            session["access_token"].as_str().expect("a token"),
        ),
        ("resource", "resource://a"),
    ]);
    let answer = stack.sts(0).form("/oauth/2/token", &form).await;
    assert_eq!(
        (answer.status, answer.member("reason")),
        (403, "no_active_policy_set"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn an_answer_at_an_epoch_is_decided_at_it_or_later() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let sts = stack.sts(0);
    let session = world.session(&sts).await;
    for round in 0..5 {
        let (scopes, status): (&[&str], u16) = if round % 2 == 0 {
            (&[], 403)
        } else {
            (&["orders:read"], 200)
        };
        let epoch = world.adopt(&allowing(scopes)).await;
        let at_epoch: Client = stack.sts(0).with("Caracal-Min-Epoch", &epoch);
        let answer = world.mandate(&at_epoch, &session, "orders:read").await;
        assert_eq!(answer.status, status, "round {round}: {}", answer.text);
    }
    let ahead = stack.sts(0).with("Caracal-Min-Epoch", "9223372036854775807");
    let answer = world.mandate(&ahead, &session, "orders:read").await;
    assert_eq!(
        (answer.status, answer.member("reason")),
        (400, "epoch_ahead"),
        "{}",
        answer.text
    );
    for wrong in ["-1", "x", "", "9223372036854775808"] {
        let answer = world
            .mandate(
                &stack.sts(0).with("Caracal-Min-Epoch", wrong),
                &session,
                "orders:read",
            )
            .await;
        assert_eq!(
            (answer.status, answer.member("reason")),
            (400, "malformed_epoch"),
            "{wrong:?}: {}",
            answer.text
        );
    }
}
