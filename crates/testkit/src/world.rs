//! A zone with all that one governed call needs.

use crate::callers::Answer;
use crate::upstream::API_KEY;
use crate::{Client, Stack, Upstream};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The version of the policy input that test policies are written against.
pub const SCHEMA_VERSION: &str = "2026-03-16";

/// A zone, an application, an upstream behind an API key, and a policy that is active.
#[derive(Debug)]
pub struct World {
    /// The zone.
    pub zone_id: String,
    /// The application.
    pub application_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The resource's id.
    pub resource_id: String,
    /// The resource's identifier.
    pub resource: String,
    /// The policy.
    pub policy_id: String,
    /// The policy set.
    pub policy_set_id: String,
    /// The epoch of the last activation.
    pub epoch: String,
    /// What the resource stands for.
    pub upstream: Upstream,
    admin: Client,
}

impl World {
    /// Makes all of it over the public API. The policy allows `orders:read` and `orders:write`.
    pub async fn new(stack: &Stack) -> Self {
        let (admin, upstream) = (stack.admin(), Upstream::start());
        let zone_id = created(&admin.post("/v1/zones", &json!({"name": "World"})).await, "id");
        let at = |collection: &str| format!("/v1/zones/{zone_id}/{collection}");

        let body = json!({"name": "agent", "registration_method": "managed", "credential_type": "token"});
        let application = admin.post(&at("applications"), &body).await;
        let body = json!({
            "identifier": "order-book-key", "kind": "apikey",
            "config_json": {"location": "header", "name": "X-API-Key"}, "secret_config": {"api_key": API_KEY},
        });
        let provider_id = created(&admin.post(&at("providers"), &body).await, "id");
        let resource = "resource://order-book".to_owned();
        let body = json!({
            "identifier": resource, "scopes": ["orders:read", "orders:write", "orders:delete"],
            "upstream_url": upstream.url(), "credential_provider_id": provider_id,
        });
        let resource_id = created(&admin.post(&at("resources"), &body).await, "id");
        let body = json!({"name": "orders", "content": allowing(&["orders:read", "orders:write"])});
        let policy = admin.post(&at("policies"), &body).await;
        let policy_set_id = created(
            &admin.post(&at("policy-sets"), &json!({"name": "main"})).await,
            "id",
        );

        let mut world = Self {
            application_id: created(&application, "id"),
            client_secret: created(&application, "client_secret"),
            policy_id: created(&policy, "id"),
            epoch: String::new(),
            zone_id,
            resource_id,
            resource,
            policy_set_id,
            upstream,
            admin,
        };
        let first = policy
            .body
            .pointer("/version/id")
            .and_then(Value::as_str)
            .expect("a version")
            .to_owned();
        world.activate(&first).await;
        world
    }

    /// A new version of the policy, active from now on. Answers its epoch.
    pub async fn adopt(&mut self, rego: &str) -> String {
        let path = self.path(&format!("policies/{}/versions", self.policy_id));
        let version = created(&self.admin.post(&path, &json!({"content": rego})).await, "id");
        self.activate(&version).await
    }

    /// Bundles one policy version in a new version of the set and activates it. Answers its epoch.
    pub async fn activate(&mut self, policy_version_id: &str) -> String {
        let manifest = json!({
            "manifest": [{"policy_version_id": policy_version_id}], "schema_version": SCHEMA_VERSION,
        });
        let path = self.path(&format!("policy-sets/{}/versions", self.policy_set_id));
        let version = created(&self.admin.post(&path, &manifest).await, "id");
        let path = self.path(&format!("policy-sets/{}/activate", self.policy_set_id));
        let activated = self.admin.post(&path, &json!({"version_id": version})).await;
        assert_eq!(activated.status, 202, "{}", activated.text);
        self.epoch = activated.epoch();
        self.epoch.clone()
    }

    /// The path of something in this zone.
    #[must_use]
    pub fn path(&self, below: &str) -> String {
        format!("/v1/zones/{}/{below}", self.zone_id)
    }

    /// A session token, asked of `sts`.
    pub async fn session(&self, sts: &Client) -> String {
        created(&self.token(sts, &[]).await, "access_token")
    }

    /// A mandate for the resource, asked of `sts`.
    pub async fn mandate(&self, sts: &Client, session: &str, scope: &str) -> Answer {
        let subject = [
            ("subject_token", session),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("resource", self.resource.as_str()),
            ("scope", scope),
        ];
        self.token(sts, &subject).await
    }

    /// A token request with the application's own credential and whatever else.
    pub async fn token(&self, sts: &Client, fields: &[(&str, &str)]) -> Answer {
        sts.form("/oauth/2/token", &self.form(fields)).await
    }

    /// The form of [`World::token`].
    #[must_use]
    pub fn form<'a>(&'a self, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("zone_id", self.zone_id.as_str()),
            ("application_id", self.application_id.as_str()),
            ("client_secret", self.client_secret.as_str()),
        ];
        form.extend_from_slice(fields);
        form
    }

    /// `gateway` as a caller with this token who means the resource.
    #[must_use]
    pub fn through(&self, gateway: Client, token: &str) -> Client {
        gateway.bearer(token).with("X-Caracal-Resource", &self.resource)
    }

    /// The ledger's events of a request, oldest first; empty while there are none.
    pub async fn events(&self, request_id: &str) -> Vec<Value> {
        let answer = self
            .admin
            .get(&self.path(&format!("audit/by-request/{request_id}")))
            .await;
        match answer.status {
            404 => Vec::new(),
            _ => answer.expect(200).as_array().cloned().unwrap_or_default(),
        }
    }

    /// Ends a session at the control plane.
    pub async fn revoke_session(&self, session_id: &str) -> Answer {
        self.admin
            .post(&self.path(&format!("sessions/{session_id}/revoke")), &json!({}))
            .await
    }
}

/// A policy that allows exactly these scopes and denies any other with a reason.
#[must_use]
pub fn allowing(scopes: &[&str]) -> String {
    format!(
        r#"package caracal.authz

import rego.v1

allowed := {list}

beyond contains scope if {{
  some scope in input.context.requested_scopes
  not scope in allowed
}}

result := {{"decision": "allow", "evaluation_status": "complete", "determining_policies": ["orders"], "diagnostics": []}} if {{
  count(beyond) == 0
}}

result := {{"decision": "deny", "evaluation_status": "complete", "determining_policies": ["orders"], "diagnostics": [{{"beyond": beyond}}]}} if {{
  count(beyond) > 0
}}
"#,
        list = serde_json::to_string(scopes).expect("texts are JSON"),
    )
}

/// The claims of a token, unverified.
#[must_use]
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a compact JWS has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(payload).expect("claims are base64url");
    serde_json::from_slice(&bytes).expect("claims are JSON")
}

#[track_caller]
fn created(answer: &Answer, member: &str) -> String {
    let text = answer.member(member);
    assert!(
        answer.status < 300 && !text.is_empty(),
        "no {member} in: {} {}",
        answer.status,
        answer.text
    );
    text.to_owned()
}
