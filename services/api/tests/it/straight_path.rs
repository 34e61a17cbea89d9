use super::{ALLOW, Zone, alone};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn from_an_admin_token_to_an_active_policy_set() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Pied Piper").await;

    let keys = zone.get("signing-keys").await.expect(200);
    let statuses: Vec<&Value> = keys
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| &key["status"])
        .collect();
    assert_eq!(statuses, ["active", "next"]);

    let body = json!({"name": "agent", "registration_method": "managed", "credential_type": "token", "traits": ["role:reader"]});
    let application = zone.post("applications", &body).await;
    assert!(
        application.member("client_secret").starts_with("ccs_"),
        "{}",
        application.text
    );
    let id = application.member("id").to_owned();
    let shown = zone.get(&format!("applications/{id}")).await;
    assert_eq!(shown.header("etag"), "\"1\"");
    let shown = shown.expect(200);
    assert_eq!(
        (shown["consent"].as_str(), shown.get("client_secret")),
        (Some("implicit"), None)
    );
    assert!(!shown.to_string().contains("argon2"));

    let body = json!({"identifier": "github", "kind": "apikey", "config_json": {"name": "X-Key", "api_key": "k3y-in-config"}});
    let provider = zone.post("providers", &body).await;
    assert_eq!(provider.status, 201, "{}", provider.text);
    assert_eq!(provider.body["secret_config_keys"], json!(["api_key"]));
    assert_eq!(provider.body["config_json"], json!({"name": "X-Key"}));
    assert!(!provider.text.contains("k3y-in-config"));

    let body = json!({
        "identifier": "resource://orders", "scopes": ["orders:read"], "upstream_url": "http://127.0.0.1:9/base",
        "credential_provider_id": provider.member("id"),
    });
    let resource = zone.post("resources", &body).await;
    assert_eq!(resource.status, 201, "{}", resource.text);
    assert_eq!(
        (resource.member("name"), resource.member("auth_mode")),
        ("resource://orders", "provider_apikey")
    );
    assert!(resource.epoch().parse::<i64>().expect("an epoch") > 0);

    let [policy, version, set, set_version] = zone.drafted().await;
    let listed = zone.get("policies").await.expect(200);
    assert!(listed[0].get("content").is_none() && listed[0].get("versions").is_none());
    let policy = zone.get(&format!("policies/{policy}")).await.expect(200);
    assert_eq!(policy["versions"][0]["id"], json!(version));
    assert_eq!(policy["versions"][0]["content"], json!(ALLOW));

    let before = zone.get(&format!("policy-sets/{set}")).await.expect(200);
    assert_eq!(before["active_version_id"], Value::Null);
    let activated = zone.activate(&set, &set_version).await;
    let epoch = activated.epoch();
    let activated = activated.expect(202);
    assert_eq!(activated["activated"], json!(true));
    assert_eq!(
        (&activated["version_id"], &activated["shadow_version_id"]),
        (&json!(set_version), &Value::Null)
    );
    let after = zone.get(&format!("policy-sets/{set}")).await.expect(200);
    assert_eq!(after["active_version_id"], json!(set_version));

    let status = zone
        .get(&format!("policy-sets/{set}/activation-status"))
        .await
        .expect(200);
    assert_eq!(status["epoch"].to_string(), epoch);
    assert_eq!(status["outbox_id"], activated["outbox_id"]);
    assert_eq!(status["propagation_status"], json!("pending"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_page_by_key_and_a_cursor_belongs_to_its_list() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Pages").await;
    for n in 0..5 {
        let body = json!({"identifier": format!("resource://r{n}"), "scopes": ["read"]});
        assert_eq!(zone.post("resources", &body).await.status, 201);
    }
    let mut seen = Vec::new();
    let mut next = Some(zone.at("resources?limit=2"));
    let mut cursor = String::new();
    while let Some(address) = next.take() {
        let page = zone.admin.get(&address).await;
        let link = page.header("link").to_owned();
        seen.extend(
            page.expect(200)
                .as_array()
                .expect("a list")
                .iter()
                .map(|r| r["identifier"].to_string()),
        );
        if let Some(target) = link
            .strip_prefix('<')
            .and_then(|l| l.split_once('>'))
            .map(|(target, _)| target)
        {
            cursor = target.split_once("cursor=").expect("a cursor").1.to_owned();
            next = Some(target.to_owned());
        }
    }
    assert_eq!(
        seen,
        ["r0", "r1", "r2", "r3", "r4"].map(|r| format!("\"resource://{r}\""))
    );
    for (path, code) in [
        (format!("providers?cursor={cursor}"), "invalid_cursor"),
        ("resources?cursor=nonsense".to_owned(), "invalid_cursor"),
        ("resources?limit=0".to_owned(), "invalid_query"),
        ("resources?limit=many".to_owned(), "invalid_query"),
        ("resources?color=red".to_owned(), "invalid_query"),
        ("sessions?status=asleep".to_owned(), "invalid_query"),
        ("audit?decision=perhaps".to_owned(), "invalid_query"),
    ] {
        let answer = zone.get(&path).await;
        assert_eq!((answer.status, answer.member("error")), (400, code), "{path}");
    }
    assert_eq!(
        zone.get("sessions").await.expect(200),
        json!({"rows": [], "next_cursor": null})
    );
    assert_eq!(
        zone.get("audit").await.expect(200),
        json!({"rows": [], "next_cursor": null})
    );
    assert_eq!(
        zone.get("audit/by-request/none").await.member("error"),
        "request_not_found"
    );
}
