//! What is measured needs a zone: an application, a resource, and the role-based template.

use crate::http::{Answer, Connection, request};
use crate::settings::Settings;
use anyhow::{Context, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::time::SystemTime;

const RESOURCE: &str = "resource://order-book";

/// An administrator on one kept connection.
#[derive(Debug)]
pub(crate) struct Admin {
    connection: Connection,
    token: String,
}

/// A zone that mints.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// The zone.
    pub(crate) zone_id: String,
    application_id: String,
    secret: String,
    policy_set_id: String,
}

impl Admin {
    /// Connects.
    pub(crate) async fn connect(stack: &Settings) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(&stack.api).await?,
            token: stack.admin_token.clone(),
        })
    }

    /// Calls the control plane, and answers whatever it answered.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let headers = format!("Authorization: Bearer {}\r\n", self.token);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.connection
            .send(&request(method, path, "application/json", &headers, &body))
            .await
    }

    async fn post(&mut self, path: &str, body: Value, status: u16) -> Result<Value> {
        self.call("POST", path, &body).await?.expect(status, path)
    }
}

impl Scene {
    /// Sets a zone up with the role-based template active.
    pub(crate) async fn set(stack: &Settings) -> Result<Self> {
        let mut admin = Admin::connect(stack).await?;
        let content = Self::template(&mut admin).await?;
        Self::with_policy(&mut admin, &content).await
    }

    /// The role-based template.
    pub(crate) async fn template(admin: &mut Admin) -> Result<String> {
        let templates = admin.call("GET", "/v1/policy-templates", &Value::Null).await?;
        let templates = templates.expect(200, "the templates")?;
        templates
            .as_array()
            .and_then(|all| all.iter().find(|t| t["id"] == "role-based")?["content"].as_str())
            .map(str::to_owned)
            .context("no template role-based")
    }

    /// Sets a zone up with this policy active.
    pub(crate) async fn with_policy(admin: &mut Admin, content: &str) -> Result<Self> {
        let zone = admin.post("/v1/zones", json!({"name": name()?}), 201).await?;
        let zone_id = text(&zone, "id")?;
        let lifted = json!({"mint_rate_per_minute": 1_000_000});
        admin
            .call("PATCH", &format!("/v1/zones/{zone_id}"), &lifted)
            .await?
            .expect(200, "lifting the zone's rate limit")?;
        let at = |collection: &str| format!("/v1/zones/{zone_id}/{collection}");
        let application = json!({"name": "agent", "registration_method": "managed", "credential_type": "token",
            "traits": ["role:writer", "team:orders"]});
        let application = admin.post(&at("applications"), application, 201).await?;
        let resource =
            json!({"identifier": RESOURCE, "scopes": ["orders:read", "orders:write", "orders:delete"]});
        admin.post(&at("resources"), resource, 201).await?;
        let policy = admin
            .post(&at("policies"), json!({"name": "main", "content": content}), 201)
            .await?;
        let set = admin
            .post(&at("policy-sets"), json!({"name": "main"}), 201)
            .await?;
        let scene = Self {
            application_id: text(&application, "id")?,
            secret: text(&application, "client_secret")?,
            policy_set_id: text(&set, "id")?,
            zone_id,
        };
        let version = scene.bundle(admin, &[&version_of(&policy)?]).await?;
        scene.activate(admin, &version).await?;
        Ok(scene)
    }

    /// A new policy beside the first; answers its version.
    pub(crate) async fn add_policy(&self, admin: &mut Admin, name: &str, content: &str) -> Result<String> {
        let path = format!("/v1/zones/{}/policies", self.zone_id);
        version_of(
            &admin
                .post(&path, json!({"name": name, "content": content}), 201)
                .await?,
        )
    }

    /// A version of the set with these policy versions.
    pub(crate) async fn bundle(&self, admin: &mut Admin, versions: &[&str]) -> Result<String> {
        let path = format!(
            "/v1/zones/{}/policy-sets/{}/versions",
            self.zone_id, self.policy_set_id
        );
        let manifest: Vec<Value> = versions
            .iter()
            .map(|id| json!({"policy_version_id": id}))
            .collect();
        let body = json!({"manifest": manifest, "schema_version": "2026-03-16"});
        text(&admin.post(&path, body, 201).await?, "id")
    }

    /// Activates a version of the set; answers the zone's new epoch.
    pub(crate) async fn activate(&self, admin: &mut Admin, version: &str) -> Result<u64> {
        let path = format!(
            "/v1/zones/{}/policy-sets/{}/activate",
            self.zone_id, self.policy_set_id
        );
        let answer = admin.call("POST", &path, &json!({"version_id": version})).await?;
        answer.expect(202, "activating")?;
        answer.header("caracal-zone-epoch").parse().context("no epoch")
    }

    /// The request for a session token.
    pub(crate) fn session_request(&self) -> Vec<u8> {
        token_request(&self.credentials(), "")
    }

    /// The request for a mandate. `headers` are whole lines.
    pub(crate) fn mandate_request(&self, session: &str, scope: &str, headers: &str) -> Vec<u8> {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let body = format!(
            "{}&subject_token={session}&subject_token_type={}&resource={}&scope={}",
            self.credentials(),
            encode("urn:ietf:params:oauth:token-type:access_token"),
            encode(RESOURCE),
            encode(scope),
        );
        token_request(&body, headers)
    }

    /// A session token.
    pub(crate) async fn session(&self, stack: &Settings) -> Result<String> {
        let mut sts = Connection::open(&stack.sts).await?;
        let answer = sts
            .send(&self.session_request())
            .await?
            .expect(200, "a session")?;
        text(&answer, "access_token")
    }

    fn credentials(&self) -> String {
        format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&zone_id={}&application_id={}&client_secret={}",
            self.zone_id, self.application_id, self.secret
        )
    }
}

fn token_request(body: &str, headers: &str) -> Vec<u8> {
    request(
        "POST",
        "/oauth/2/token",
        "application/x-www-form-urlencoded",
        headers,
        body,
    )
}

fn version_of(policy: &Value) -> Result<String> {
    text(policy, "version_id").or_else(|_| text(policy.get("version").unwrap_or(&Value::Null), "id"))
}

fn text(of: &Value, member: &str) -> Result<String> {
    let text = of.get(member).and_then(Value::as_str);
    text.map(str::to_owned)
        .with_context(|| format!("no {member} in {of}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "only to tell one run's zones from another's"
)]
fn name() -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(format!("Bench {}", now.as_nanos()))
}
