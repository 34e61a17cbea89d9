use super::{Zone, alone};
use caracal_testkit::stack::Stack;
use serde_json::json;

async fn rows(stack: &Stack, table: &str, zone: &Zone) -> i64 {
    stack
        .database()
        .count(&format!(
            "SELECT count(*) FROM {table} WHERE zone_id = '{}'",
            zone.id
        ))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_tells_and_records_exactly_once() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Change").await;
    assert_eq!(
        (
            rows(&stack, "outbox", &zone).await,
            rows(&stack, "event_spool", &zone).await
        ),
        (1, 1)
    );
    let mut last = 0;
    for n in 0..3 {
        let body = json!({"identifier": format!("resource://r{n}"), "scopes": ["read"]});
        let epoch: i64 = zone
            .post("resources", &body)
            .await
            .epoch()
            .parse()
            .expect("an epoch");
        assert!(epoch > last, "epochs grow");
        last = epoch;
    }
    assert_eq!(
        (
            rows(&stack, "outbox", &zone).await,
            rows(&stack, "event_spool", &zone).await
        ),
        (4, 4)
    );
    let duplicate = zone
        .post(
            "resources",
            &json!({"identifier": "resource://r0", "scopes": ["read"]}),
        )
        .await;
    assert_eq!(
        (duplicate.status, duplicate.member("error")),
        (409, "resource_already_exists")
    );
    assert_eq!(rows(&stack, "outbox", &zone).await, 4, "a refusal tells nobody");
    let traced = format!(
        "SELECT count(*) FROM outbox WHERE zone_id = '{}' AND traceparent LIKE '00-%'",
        zone.id
    );
    assert_eq!(stack.database().count(&traced).await, 4);
    let drawn = format!("SELECT epoch FROM zones WHERE id = '{}'", zone.id);
    assert_eq!(stack.database().count(&drawn).await, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_session_leaves_row_anchor_and_message_together() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Sessions").await;
    let body = json!({"name": "agent", "registration_method": "managed", "credential_type": "token"});
    let application = zone.post("applications", &body).await.member("id").to_owned();
    let session = "0198c0de-0000-7000-8000-0000000000aa";
    let insert = format!(
        "INSERT INTO sessions (zone_id, id, session_type, subject_id, application_id, root_id, authenticated_at, expires_at)
         VALUES ('{}', '{session}', 'application', '{application}', '{application}', '{session}', now(), now() + '1 hour')",
        zone.id
    );
    stack
        .database()
        .connect()
        .await
        .batch_execute(&insert)
        .await
        .expect("a session");
    let before = rows(&stack, "outbox", &zone).await;
    let path = format!("sessions/{session}/revoke");
    let revoked = zone.post(&path, &json!({})).await;
    assert_eq!((revoked.status, revoked.member("status")), (200, "revoked"));
    assert_eq!(rows(&stack, "anchors", &zone).await, 2);
    assert_eq!(rows(&stack, "outbox", &zone).await, before + 1);
    let again = zone.post(&path, &json!({})).await;
    assert_eq!((again.status, again.member("status")), (200, "revoked"));
    assert_eq!(
        rows(&stack, "outbox", &zone).await,
        before + 1,
        "again changes nothing"
    );
    let listed = zone.get("sessions?status=revoked").await.expect(200);
    assert_eq!(listed["rows"][0]["id"], json!(session));
    assert_eq!(
        zone.get("sessions?status=active").await.expect(200)["rows"],
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn archiving_an_application_cuts_off_what_it_holds() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Cut").await;
    let body = json!({"name": "agent", "registration_method": "managed", "credential_type": "token"});
    let made = zone.post("applications", &body).await;
    let path = format!("applications/{}", made.member("id"));
    let rotated = zone.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert!(rotated.member("client_secret").starts_with("ccs_"));
    assert_ne!(rotated.member("client_secret"), made.member("client_secret"));
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    for proof in [
        json!({}),
        json!({"credential_type": "public-key", "jwks": {"keys": [jwk]}}),
        json!({"credential_type": "url", "jwks_uri": "https://agent.example/jwks"}),
    ] {
        let mut new = json!({"name": proof.to_string(), "registration_method": "managed"});
        if let (Some(new), Some(proof)) = (new.as_object_mut(), proof.as_object()) {
            new.extend(proof.clone());
        }
        new["name"] = json!(format!("without {}", new["credential_type"]));
        let made = zone.post("applications", &new).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let rotate = format!("applications/{}/rotate-secret", made.member("id"));
        let refused = zone.post(&rotate, &json!({})).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (409, "application_has_no_secret"),
            "{proof}"
        );
    }
    assert_eq!(zone.admin.delete(&zone.at(&path)).await.status, 204);
    assert_eq!(rows(&stack, "anchors", &zone).await, 1);
    assert_eq!(zone.get(&path).await.member("error"), "application_not_found");
    assert_eq!(
        zone.post("applications", &body).await.status,
        201,
        "an archived one does not keep its name"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_stored_readably() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Secrets").await;
    let body = json!({"name": "agent", "registration_method": "managed", "credential_type": "token",
        "client_secret": "chosen-by-the-caller"});
    let made = zone.post("applications", &body).await;
    assert!(
        made.status == 201 && made.body.get("client_secret").is_none(),
        "{}",
        made.text
    );
    let provider =
        json!({"identifier": "p", "kind": "apikey", "secret_config": {"api_key": "plain-api-key"}});
    let provider = zone.post("providers", &provider).await.member("id").to_owned();
    let patched = zone
        .admin
        .patch(
            &zone.at(&format!("providers/{provider}")),
            &json!({"secret_config": {"api_key": null}}),
        )
        .await;
    assert_eq!(
        (patched.status, &patched.body["secret_config_keys"]),
        (200, &json!([])),
        "{}",
        patched.text
    );
    for (table, column) in [
        ("applications", "secret_hash"),
        ("providers", "config_json::text"),
    ] {
        let found = format!(
            "SELECT count(*) FROM {table} WHERE {column} LIKE '%chosen%' OR {column} LIKE '%plain-api%'"
        );
        assert_eq!(stack.database().count(&found).await, 0, "{table}");
    }
    let spooled = "SELECT count(*) FROM event_spool WHERE position('chosen-by'::bytea in payload) > 0
        OR position('plain-api-key'::bytea in payload) > 0 OR position('ccs_'::bytea in payload) > 0";
    assert_eq!(stack.database().count(spooled).await, 0);
}
