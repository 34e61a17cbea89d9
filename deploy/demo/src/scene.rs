//! The scene: a zone with an agent's application, the order book behind its key, and a policy.

use crate::caracal::{Admin, Agent, Answer};
use crate::settings::Settings;
use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::{Value, json};
use std::time::SystemTime;

/// The policy as it is at first: reading and placing orders is fine, deleting them is not.
pub(crate) const OPEN: [&str; 3] = ["orders:read", "orders:write", "stock:read"];
/// The policy tightened: reading only.
pub(crate) const TIGHTENED: [&str; 2] = ["orders:read", "stock:read"];
/// What the order book is called in tokens and policies.
pub(crate) const RESOURCE: &str = "resource://order-book";

/// Everything that was set up.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The administrator.
    pub(crate) admin: Admin,
    /// The agent.
    pub(crate) agent: Agent,
    /// The zone.
    pub(crate) zone_id: String,
    /// The epoch of the first activation.
    pub(crate) epoch: String,
    policy_id: String,
    policy_set_id: String,
}

impl Scene {
    /// Sets everything up over the public API, and tells each request with its answer.
    pub(crate) async fn set(
        http: &Client,
        settings: &Settings,
        tell: impl Fn(&str, &Answer),
    ) -> Result<Self> {
        let admin = Admin::new(http, settings);
        let zone = admin.post("/v1/zones", &json!({"name": name()?}), 201).await?;
        tell("POST /v1/zones", &zone);
        let zone_id = zone.member("id").to_owned();
        let at = |collection: &str| format!("/v1/zones/{zone_id}/{collection}");

        let body =
            json!({"name": "buying-agent", "registration_method": "managed", "credential_type": "token"});
        let application = admin.post(&at("applications"), &body, 201).await?;
        tell("POST …/applications", &application);

        let provider = admin
            .post(&at("providers"), &provider(&settings.upstream_key), 201)
            .await?;
        tell("POST …/providers (with the order book's API key)", &provider);

        let body = json!({
            "identifier": RESOURCE, "scopes": ["orders:read", "orders:write", "orders:delete"],
            "upstream_url": settings.upstream, "credential_provider_id": provider.member("id"),
        });
        let resource = admin.post(&at("resources"), &body, 201).await?;
        tell("POST …/resources", &resource);

        let policy = admin
            .post(
                &at("policies"),
                &json!({"name": "orders", "content": rego(&OPEN)}),
                201,
            )
            .await?;
        tell("POST …/policies (Rego, compiled to Wasm)", &policy);
        let set = admin
            .post(&at("policy-sets"), &json!({"name": "main"}), 201)
            .await?;

        let secret = application.member("client_secret");
        let agent = Agent::new(
            http,
            settings,
            [&zone_id, application.member("id"), secret, RESOURCE],
        );
        let (policy_id, policy_set_id) = (policy.member("id").to_owned(), set.member("id").to_owned());
        let version = policy
            .body
            .pointer("/version/id")
            .and_then(Value::as_str)
            .context("a policy has a version")?;
        let mut scene = Self {
            admin,
            agent,
            zone_id,
            policy_id,
            policy_set_id,
            epoch: String::new(),
        };
        let activated = scene.activate(version).await?;
        activated
            .header("Caracal-Zone-Epoch")
            .clone_into(&mut scene.epoch);
        tell("POST …/policy-sets/{id}/activate", &activated);
        Ok(scene)
    }

    /// A new version of the policy; it takes effect when it is activated.
    pub(crate) async fn revise(&self, scopes: &[&str]) -> Result<String> {
        let path = self.path(&format!("policies/{}/versions", self.policy_id));
        let version = self
            .admin
            .post(&path, &json!({"content": rego(scopes)}), 201)
            .await?;
        Ok(version.member("id").to_owned())
    }

    /// Bundles a policy version and activates the bundle.
    pub(crate) async fn activate(&self, policy_version_id: &str) -> Result<Answer> {
        let path = self.path(&format!("policy-sets/{}/versions", self.policy_set_id));
        let manifest = json!({
            "manifest": [{"policy_version_id": policy_version_id}], "schema_version": "2026-03-16",
        });
        let version = self.admin.post(&path, &manifest, 201).await?;
        let path = self.path(&format!("policy-sets/{}/activate", self.policy_set_id));
        self.admin
            .post(&path, &json!({"version_id": version.member("id")}), 202)
            .await
    }

    /// The path of something in the zone.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("/v1/zones/{}/{below}", self.zone_id)
    }
}

fn provider(key: &str) -> Value {
    json!({
        "identifier": "order-book-key", "kind": "apikey",
        "config_json": {"location": "header", "name": "X-API-Key"}, "secret_config": {"api_key": key},
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "only to tell one run's zone from another's"
)]
fn name() -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(format!("Demo {}", now.as_millis()))
}

/// A policy that allows exactly these scopes and explains any refusal.
fn rego(scopes: &[&str]) -> String {
    format!(
        r#"package caracal.authz

import rego.v1

permitted := {scopes}

beyond contains scope if {{
  some scope in input.context.requested_scopes
  not scope in permitted
}}

result := {{
  "decision": "allow",
  "evaluation_status": "complete",
  "determining_policies": ["orders"],
  "diagnostics": [],
}} if {{
  count(beyond) == 0
}}

result := {{
  "decision": "deny",
  "evaluation_status": "complete",
  "determining_policies": ["orders"],
  "diagnostics": [{{"not_permitted": beyond}}],
}} if {{
  count(beyond) > 0
}}
"#,
        scopes = json!(scopes),
    )
}
