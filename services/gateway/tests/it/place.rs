//! A stack, a zone, and resources as a test wants them.

use caracal_testkit::stack::Service;
use caracal_testkit::{Client, Stack, World};
use serde_json::{Value, json};

/// How long an upstream may take to begin its answer here.
pub(crate) const FIRST_BYTE_MS: &str = "600";

pub(crate) struct Place {
    pub(crate) stack: Stack,
    pub(crate) world: World,
    pub(crate) session: String,
}

/// A resource of the zone.
pub(crate) struct Resource {
    pub(crate) id: String,
    pub(crate) identifier: String,
    pub(crate) epoch: String,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A place whose gateway has further settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let builder = Stack::builder().env(Service::Gateway, "UPSTREAM_FIRST_BYTE_MS", FIRST_BYTE_MS);
        let builder = settings.iter().fold(builder, |builder, (name, value)| {
            builder.env(Service::Gateway, name, value)
        });
        let stack = builder.start().await;
        let world = World::new(&stack).await;
        let session = world.session(&stack.sts(0)).await;
        Self {
            stack,
            world,
            session,
        }
    }

    /// The resource that every [`World`] has.
    pub(crate) fn order_book(&self) -> Resource {
        let world = &self.world;
        Resource {
            id: world.resource_id.clone(),
            identifier: world.resource.clone(),
            epoch: world.epoch.clone(),
        }
    }

    /// One more resource, without a provider unless `more` names one.
    pub(crate) async fn resource(&self, name: &str, upstream_url: &str, more: &Value) -> Resource {
        let mut body = json!({
            "identifier": format!("resource://{name}"), "scopes": ["orders:read", "orders:write"], "upstream_url": upstream_url,
        });
        for (member, value) in more.as_object().into_iter().flatten() {
            body[member] = value.clone();
        }
        let made = self
            .stack
            .admin()
            .post(&self.world.path("resources"), &body)
            .await;
        assert_eq!(made.status, 201, "{}", made.text);
        Resource {
            id: made.member("id").to_owned(),
            identifier: made.member("identifier").to_owned(),
            epoch: made.epoch(),
        }
    }

    /// An API-key provider with this configuration.
    pub(crate) async fn provider(&self, config: &Value, key: &str) -> String {
        let body = json!({
            "identifier": "a-provider", "kind": "apikey", "config_json": config, "secret_config": {"api_key": key},
        });
        let made = self
            .stack
            .admin()
            .post(&self.world.path("providers"), &body)
            .await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.member("id").to_owned()
    }

    /// A mandate for `resource`, decided no earlier than it was made.
    pub(crate) async fn mandate(&self, resource: &Resource, scope: &str) -> String {
        let sts = self.stack.sts(0).with("Caracal-Min-Epoch", &resource.epoch);
        let fields = [
            ("subject_token", self.session.as_str()),
            ("resource", resource.identifier.as_str()),
            ("scope", scope),
        ];
        let minted = self.world.token(&sts, &fields).await;
        assert_eq!(minted.status, 200, "{}", minted.text);
        minted.member("access_token").to_owned()
    }

    /// The gateway, as a caller with a fresh mandate who names the resource by header.
    pub(crate) async fn agent(&self, resource: &Resource) -> Client {
        let mandate = self.mandate(resource, "orders:read").await;
        self.stack
            .gateway(0)
            .bearer(&mandate)
            .with("X-Caracal-Resource", &resource.identifier)
    }
}
