//! Every route that changes something, on objects that are there: each leaves one record with its actor and what changed,
//! asks the database under its zone, and finds nothing of another zone.

use super::given::{application, private_key, session, sql};
use super::isolation::limited;
use super::{ALLOW, Zone};
use caracal_api::routes::TABLE;
use caracal_testkit::oauth_server::{CLIENT_ID, CLIENT_SECRET, CODE, OauthServer};
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Answer, Client, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// What changes nothing, though it is no GET.
const LOOKS: [&str; 4] = [
    "/v1/policies/validate",
    "/v1/zones/{zone_id}/policy-sets/{id}/simulate",
    "/v1/zones/{zone_id}/policy-sets/{id}/replay",
    "/v1/zones/{zone_id}/providers/{id}/check",
];
const SECRET: &str = "sEcret-of-the-caller";

/// One change that was made.
struct Step {
    route: (String, String),
    request: String,
    noun: &'static str,
    fields: Vec<&'static str>,
}

struct Script<'a> {
    stack: &'a Stack,
    zone: &'a Zone,
    other: &'a Zone,
    steps: Vec<Step>,
    secrets: Vec<String>,
}

impl Script<'_> {
    /// Makes a change as the template and the body say, first of all in a zone that does not have the object.
    async fn act(
        &mut self,
        (method, template, id): (&str, &str, &str),
        body: Value,
        noun: &'static str,
        fields: &[&'static str],
    ) -> Answer {
        let request = format!("sweep-{}", self.steps.len());
        let path = |zone: &str| template.replace("{zone_id}", zone).replace("{id}", id);
        let in_zone = template.starts_with("/v1/zones/{zone_id}/");
        if in_zone && template.contains("{id}") {
            let absent = send(
                &self.zone.admin,
                method,
                &path(&self.other.id),
                &body,
                "elsewhere",
            )
            .await;
            assert_eq!(absent.status, 404, "{method} {template}: {}", absent.text);
        }
        let before: u64 = limited(self.stack, &self.zone.id).iter().sum();
        let done = send(&self.zone.admin, method, &path(&self.zone.id), &body, &request).await;
        assert!(
            done.status < 300,
            "{method} {template}: {} {}",
            done.status,
            done.text
        );
        let after: u64 = limited(self.stack, &self.zone.id).iter().sum();
        assert!(
            !in_zone || after > before,
            "{method} {template} is not limited to its zone"
        );
        for name in ["client_secret", "token", "app_client_secret"] {
            self.secrets.extend(done.body[name].as_str().map(str::to_owned));
        }
        self.steps.push(Step {
            route: (method.to_owned(), template.to_owned()),
            request,
            noun,
            fields: fields.to_vec(),
        });
        done
    }

    /// The same of something new; its id.
    async fn make(
        &mut self,
        collection: &str,
        body: Value,
        noun: &'static str,
        field: &'static str,
    ) -> String {
        let template = format!("/v1/zones/{{zone_id}}/{collection}");
        let made = self.act(("post", &template, ""), body, noun, &[field]).await;
        made.member("id").to_owned()
    }

    async fn change(
        &mut self,
        collection: &str,
        id: &str,
        body: Value,
        noun: &'static str,
        field: &'static str,
    ) {
        let template = format!("/v1/zones/{{zone_id}}/{collection}/{{id}}");
        self.act(("patch", &template, id), body, noun, &[field]).await;
    }

    async fn end(&mut self, collection: &str, id: &str, noun: &'static str, field: &'static str) {
        let template = format!("/v1/zones/{{zone_id}}/{collection}/{{id}}");
        self.act(("delete", &template, id), Value::Null, noun, &[field])
            .await;
    }
}

async fn send(caller: &Client, method: &str, path: &str, body: &Value, request: &str) -> Answer {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
    let fill = |outgoing: reqwest::RequestBuilder| {
        let outgoing = outgoing.header("x-request-id", request);
        if body.is_null() {
            outgoing
        } else {
            outgoing.json(body)
        }
    };
    caller.send(method, path, fill).await.expect("an answer")
}

/// What applications, providers, resources and users go through.
async fn identities(script: &mut Script<'_>) {
    let body = json!({"name": "Swept", "dcr_enabled": true});
    script
        .act(
            ("patch", "/v1/zones/{zone_id}", ""),
            body,
            "zone",
            &["name", "dcr_enabled"],
        )
        .await;
    let body = json!({"name": "a", "registration_method": "managed", "credential_type": "token", "client_secret": SECRET});
    let app = script.make("applications", body, "application", "name").await;
    script
        .change("applications", &app, json!({"name": "b"}), "application", "name")
        .await;
    let rotate = "/v1/zones/{zone_id}/applications/{id}/rotate-secret";
    script
        .act(
            ("post", rotate, &app),
            json!({}),
            "application",
            &["client_secret"],
        )
        .await;
    script
        .make("applications/dcr", json!({"name": "d"}), "application", "name")
        .await;
    let issuer = json!({"issuer": "https://idp.example/", "audience": "caracal", "subject_prefix": "p:"});
    let issuer = script
        .make("subject-issuers", issuer, "subject_issuer", "issuer")
        .await;
    script
        .change(
            "subject-issuers",
            &issuer,
            json!({"audience": "x"}),
            "subject_issuer",
            "audience",
        )
        .await;
    script
        .end("subject-issuers", &issuer, "subject_issuer", "issuer")
        .await;

    let resource = json!({"identifier": "resource://a", "scopes": ["a:read"]});
    let resource = script.make("resources", resource, "resource", "identifier").await;
    script
        .change("resources", &resource, json!({"name": "A"}), "resource", "name")
        .await;
    let grant =
        json!({"application_id": app, "user_id": "ada", "resource_id": resource, "scopes": ["a:read"]});
    let grant = script.make("grants", grant, "grant", "user_id").await;
    script.end("grants", &grant, "grant", "status").await;

    let live = session(script.stack, script.zone, &app, "ada").await;
    let revoke = "/v1/zones/{zone_id}/sessions/{id}/revoke";
    script
        .act(("post", revoke, &live), json!({}), "session", &["status"])
        .await;
    let blocked = json!({"subject_id": "ada", "block_until": "2099-01-01T00:00:00Z"});
    script
        .act(
            ("post", "/v1/zones/{zone_id}/subjects/revoke", ""),
            blocked,
            "subject",
            &["blocked_until"],
        )
        .await;
    script.end("resources", &resource, "resource", "identifier").await;
    script.end("applications", &app, "application", "name").await;
    let rotate = "/v1/zones/{zone_id}/signing-keys/rotate";
    script
        .act(
            ("post", rotate, ""),
            json!({"mode": "emergency"}),
            "signing_key",
            &[],
        )
        .await;
}

/// What a user's consent goes through.
async fn consents(script: &mut Script<'_>) {
    let server = OauthServer::start();
    let base = server.url();
    let provider = json!({"identifier": "calendar", "kind": "oauth2", "config_json": {
        "authorization_endpoint": format!("{base}/authorize"), "token_endpoint": format!("{base}/token"),
        "client_id": CLIENT_ID,
    }, "secret_config": {"client_secret": CLIENT_SECRET}});
    let provider = script.make("providers", provider, "provider", "identifier").await;
    script
        .change(
            "providers",
            &provider,
            json!({"secret_config": {"private_key": private_key(SECRET)}}),
            "provider",
            "secret_config.private_key",
        )
        .await;
    let resource =
        json!({"identifier": "resource://calendar", "scopes": ["read"], "credential_provider_id": provider});
    let resource = script.make("resources", resource, "resource", "identifier").await;
    let wish = json!({"user_id": "bob", "resource_id": resource, "provider_id": provider});
    let authorize = "/v1/zones/{zone_id}/provider-connections/authorize";
    let begun = script.act(("post", authorize, ""), wish, "connection", &[]).await;
    let back = format!("/v1/oauth/callback?state={}&code={CODE}", begun.member("state"));
    let connected = script.stack.anonymous(Service::Api, 0).get(&back).await;
    assert_eq!(connected.status, 200, "{}", connected.text);
    let revoke = "/v1/zones/{zone_id}/provider-connections/{id}/revoke";
    script
        .act(
            ("post", revoke, connected.member("id")),
            json!({}),
            "connection",
            &["status"],
        )
        .await;
    script.end("resources", &resource, "resource", "identifier").await;
    script.end("providers", &provider, "provider", "identifier").await;
}

/// What policies go through.
async fn policies(script: &mut Script<'_>) {
    let policy = json!({"name": "p", "content": ALLOW});
    let policy = script.make("policies", policy, "policy", "name").await;
    let versions = "/v1/zones/{zone_id}/policies/{id}/versions";
    let version = json!({"content": format!("{ALLOW}# 2\n")});
    let version = script
        .act(
            ("post", versions, &policy),
            version,
            "policy_version",
            &["content_sha256"],
        )
        .await;
    let set = script
        .make("policy-sets", json!({"name": "s"}), "policy_set", "name")
        .await;
    let versions = "/v1/zones/{zone_id}/policy-sets/{id}/versions";
    let manifest = json!({"manifest": [{"policy_version_id": version.member("id")}]});
    let version = script
        .act(
            ("post", versions, &set),
            manifest,
            "policy_set_version",
            &["manifest_sha256", "manifest"],
        )
        .await;
    let activate = "/v1/zones/{zone_id}/policy-sets/{id}/activate";
    let body = json!({"version_id": version.member("id")});
    script
        .act(
            ("post", activate, &set),
            body,
            "policy_set",
            &["active_version_id"],
        )
        .await;
    script
        .end("policy-sets", &set, "policy_set", "active_version_id")
        .await;
    script.end("policies", &policy, "policy", "name").await;
}

/// What administrators, challenges and whole zones go through.
async fn administration(script: &mut Script<'_>) {
    let invitation = json!({"email": "ada@example.com", "role": "viewer"});
    let declined = script
        .make("invitations", invitation.clone(), "invitation", "email")
        .await;
    script.end("invitations", &declined, "invitation", "status").await;
    let invitations = "/v1/zones/{zone_id}/invitations";
    let invited = script
        .act(("post", invitations, ""), invitation, "invitation", &["email"])
        .await;
    let token = json!({"token": invited.member("token")});
    script
        .act(("post", "/v1/invitations/accept", ""), token, "invitation", &[])
        .await;
    let holder = application(script.zone, "holder").await;
    let challenge = Uuid::now_v7();
    sql(
        script.stack,
        &format!(
            "INSERT INTO step_up_challenges (zone_id, id, application_id, challenge_type, resources, scopes,
               secret_sha256, expires_at)
             VALUES ('{}', '{challenge}', '{holder}', 'mfa', '{{resource://a}}', '{{a:read}}',
               decode(repeat('ab', 32), 'hex'), now() + interval '5 minutes')",
            script.zone.id
        ),
    )
    .await;
    let satisfy = "/v1/zones/{zone_id}/step-up-challenges/{id}/satisfy";
    script
        .act(
            ("post", satisfy, &challenge.to_string()),
            json!({}),
            "step_up",
            &["satisfied_by"],
        )
        .await;
    let body = json!({"scope": "zone", "zone_id": script.zone.id});
    let token = script
        .act(("post", "/v1/admin-tokens", ""), body, "admin_token", &["scope"])
        .await;
    let path = "/v1/admin-tokens/{id}";
    script
        .act(
            ("delete", path, token.member("id")),
            Value::Null,
            "admin_token",
            &[],
        )
        .await;
    script
        .act(
            ("post", "/v1/local/bootstrap", ""),
            json!({}),
            "local",
            &["application_id"],
        )
        .await;
    script
        .act(
            ("post", "/v1/zones", ""),
            json!({"name": "New"}),
            "zone",
            &["name"],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_recorded_once_with_its_actor_and_what_changed_and_no_secret() {
    let stack = Stack::builder()
        .replicas(Service::Sts, 0)
        .replicas(Service::Gateway, 0)
        .env(Service::Api, "CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true")
        .start()
        .await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Other").await);
    let tokens = zone.admin.get("/v1/admin-tokens").await.expect(200);
    let actor = format!("admin-token:{}", tokens[0]["id"].as_str().expect("an id"));
    let mut script = Script {
        stack: &stack,
        zone: &zone,
        other: &other,
        steps: Vec::new(),
        secrets: vec![SECRET.to_owned(), CLIENT_SECRET.to_owned()],
    };
    identities(&mut script).await;
    consents(&mut script).await;
    policies(&mut script).await;
    administration(&mut script).await;
    script
        .act(
            ("delete", "/v1/zones/{zone_id}", ""),
            Value::Null,
            "zone",
            &["name"],
        )
        .await;

    let ledger = stack.database().connect().await;
    for step in &script.steps {
        let query = format!(
            "SELECT metadata_json::text FROM audit_events
             WHERE request_id = '{}' AND starts_with(event_type, 'admin.{}.') AND decision = 'allow'",
            step.request, step.noun
        );
        let what = format!("{:?}", step.route);
        let rows = eventually(&what, Duration::from_secs(20), || async {
            let rows = ledger.query(&query, &[]).await.expect("events");
            (!rows.is_empty()).then_some(rows)
        })
        .await;
        assert_eq!(rows.len(), 1, "{what}");
        let metadata: String = rows[0].get(0);
        for secret in &script.secrets {
            assert!(
                !secret.is_empty() && !metadata.contains(secret.as_str()),
                "{what}: {metadata}"
            );
        }
        let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
        if step.route.1 != "/v1/invitations/accept" {
            assert_eq!(metadata["actor"], json!(actor), "{what}");
        }
        let changes = metadata["changes"].as_object().expect("changes");
        for (field, change) in changes {
            let members = change.as_object().expect("a change");
            let told: BTreeSet<_> = members.keys().map(String::as_str).collect();
            assert_eq!(told, BTreeSet::from(["from", "to"]), "{what} {field}");
            // Of a secret it is only told that it changed.
            let is_secret = members["to"] == json!("[redacted]");
            assert!(is_secret || members["from"] != members["to"], "{what} {field}");
        }
        for field in &step.fields {
            assert!(changes.contains_key(*field), "{what} {field}: {metadata}");
        }
    }

    let done: BTreeSet<(String, String)> = script.steps.iter().map(|step| step.route.clone()).collect();
    let due = TABLE
        .iter()
        .filter(|route| route.method != "get" && !LOOKS.contains(&route.path));
    let due: BTreeSet<_> = due
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    assert_eq!(
        due.difference(&done).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new()
    );
}
