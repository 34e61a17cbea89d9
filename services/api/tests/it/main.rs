//! The control plane as a process of its own, over HTTP, against a real PostgreSQL and the real OPA.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and makes rows that other services would, with ids and times"
)]

mod activation;
mod admin_token;
mod application;
mod attempt;
mod audit;
mod bad_input;
mod bodies;
mod bootstrap;
mod change;
mod changes;
mod connection;
mod etag;
mod given;
mod grant;
mod idempotency;
mod invitation;
mod isolation;
mod ledger;
mod lists;
mod meanwhile;
mod minting;
mod names;
mod openapi;
mod permission;
mod policy;
mod policy_set;
mod provider;
mod provider_change;
mod race;
mod records;
mod registration;
mod replay;
mod replayed;
mod resource;
mod session;
mod signing_key;
mod silent;
mod simulate;
mod step_up;
mod straight_path;
mod strict;
mod subject;
mod subject_issuer;
mod sweep;
mod system_zone;
mod tail;
mod walk;
mod zone;
mod zone_pages;

use caracal_testkit::stack::{Service, Stack, builder::Builder};
use caracal_testkit::{Answer, Client, World};
use serde_json::{Value, json};

/// A policy that allows everything.
const ALLOW: &str =
    "package caracal.authz\n\nresult := {\"decision\": \"allow\", \"determining_policies\": [\"all\"]}\n";

/// A stack of the API alone.
fn alone() -> Builder {
    let others = [Service::Relay, Service::Audit, Service::Sts, Service::Gateway];
    others
        .into_iter()
        .fold(Stack::builder(), |builder, service| builder.replicas(service, 0))
}

/// A zone and a caller who writes into it.
struct Zone {
    admin: Client,
    id: String,
}

impl Zone {
    async fn new(stack: &Stack, name: &str) -> Self {
        let admin = stack.admin();
        let id = admin
            .post("/v1/zones", &json!({"name": name}))
            .await
            .member("id")
            .to_owned();
        assert!(!id.is_empty());
        Self { admin, id }
    }

    fn at(&self, below: &str) -> String {
        format!("/v1/zones/{}/{below}", self.id)
    }

    async fn post(&self, below: &str, body: &Value) -> Answer {
        self.admin.post(&self.at(below), body).await
    }

    async fn get(&self, below: &str) -> Answer {
        self.admin.get(&self.at(below)).await
    }

    /// A policy that allows, in a set with one version; the ids of policy, policy version, set and set version.
    async fn drafted(&self) -> [String; 4] {
        let policy = self
            .post("policies", &json!({"name": "all", "content": ALLOW}))
            .await;
        let version = policy.member("version_id").to_owned();
        let [set, set_version] = self.set_of("main", &version).await;
        [policy.member("id").to_owned(), version, set, set_version]
    }

    /// A set with one version, of this policy version alone; the ids of both.
    async fn set_of(&self, name: &str, policy_version: &str) -> [String; 2] {
        let set = self.post("policy-sets", &json!({"name": name})).await;
        let set = set.member("id").to_owned();
        let manifest =
            json!({"manifest": [{"policy_version_id": policy_version}], "schema_version": "2026-03-16"});
        let made = self.post(&format!("policy-sets/{set}/versions"), &manifest).await;
        assert_eq!(made.status, 201, "{}", made.text);
        [set, made.member("id").to_owned()]
    }

    /// What activating a version of a set answers.
    async fn activate(&self, set: &str, version: &str) -> Answer {
        let body = json!({"version_id": version});
        self.post(&format!("policy-sets/{set}/activate"), &body).await
    }
}
