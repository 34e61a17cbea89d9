//! A zone with a resource behind a provider that must be asked for its credential.

use crate::hands::Hands;
use caracal_testkit::oauth_server::{CLIENT_ID, CLIENT_SECRET, CODE};
use caracal_testkit::settings::GATEWAY_STS_KEY;
use caracal_testkit::stack::Service;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, OauthServer, Stack, World};
use serde_json::{Value, json};

pub(crate) struct Provided {
    pub(crate) world: World,
    pub(crate) server: OauthServer,
    pub(crate) provider: String,
    pub(crate) resource: String,
    pub(crate) identifier: String,
    pub(crate) epoch: String,
    pub(crate) issuer: String,
}

/// Why a call was refused.
pub(crate) fn refusal(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.member("error"), answer.member("reason"))
}

/// What a client needs at the testkit's server.
pub(crate) fn client(server: &OauthServer) -> Value {
    json!({"token_endpoint": format!("{}/token", server.url()), "client_id": CLIENT_ID})
}

impl Provided {
    /// Behind a provider that gives client credentials, with `more` in its configuration.
    pub(crate) async fn by_client(stack: &Stack, more: &Value) -> Self {
        let server = OauthServer::start();
        let config = with(client(&server), more);
        let secrets = json!({"client_secret": CLIENT_SECRET});
        Self::new(stack, server, "oauth2_client_credentials", &config, &secrets).await
    }

    /// Behind a provider that users connect to.
    pub(crate) async fn by_users(stack: &Stack) -> Self {
        let server = OauthServer::start();
        let base = server.url();
        let more = json!({
            "authorization_endpoint": format!("{base}/authorize"), "revocation_endpoint": format!("{base}/revoke"),
        });
        let config = with(client(&server), &more);
        let secrets = json!({"client_secret": CLIENT_SECRET});
        Self::new(stack, server, "oauth2_authorization_code", &config, &secrets).await
    }

    /// Behind a provider of this kind.
    pub(crate) async fn new(
        stack: &Stack,
        server: OauthServer,
        kind: &str,
        config: &Value,
        secrets: &Value,
    ) -> Self {
        let world = World::new(stack).await;
        let session = world.session(&stack.sts(0)).await;
        let issuer = claims(&session)
            .get("iss")
            .and_then(Value::as_str)
            .expect("an issuer")
            .to_owned();
        let mut provided = Self {
            world,
            server,
            provider: String::new(),
            resource: String::new(),
            identifier: String::new(),
            epoch: String::new(),
            issuer,
        };
        provided.bind(stack, kind, config, secrets).await;
        provided
    }

    /// From now on it is about another resource, behind another provider at the same server.
    pub(crate) async fn bind(&mut self, stack: &Stack, kind: &str, config: &Value, secrets: &Value) {
        let name = crate::signing::unique();
        let body = json!({"identifier": name, "kind": kind, "config_json": config, "secret_config": secrets});
        let made = stack.admin().post(&self.world.path("providers"), &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.member("id").clone_into(&mut self.provider);
        self.identifier = format!("resource://{name}");
        let body = json!({
            "identifier": self.identifier, "scopes": ["orders:read"], "credential_provider_id": self.provider,
            "upstream_url": format!("{}/api", self.server.url()),
        });
        let made = stack.admin().post(&self.world.path("resources"), &body).await;
        assert_eq!(
            (made.status, made.member("auth_mode")),
            (201, "provider_oauth"),
            "{}",
            made.text
        );
        made.member("id").clone_into(&mut self.resource);
        self.epoch = made.epoch();
    }

    /// A session of the application itself.
    pub(crate) async fn own_session(&self, stack: &Stack) -> String {
        self.world.session(&stack.sts(0)).await
    }

    /// A session of a user.
    pub(crate) async fn user_session(&self, stack: &Stack, user: &str) -> String {
        Hands::of(stack, &self.world)
            .user_session(&self.world, &self.issuer, user)
            .await
    }

    /// A mandate under a session.
    pub(crate) async fn mandate(&self, stack: &Stack, session: &str) -> String {
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &self.epoch);
        let fields = [
            ("subject_token", session),
            ("resource", self.identifier.as_str()),
            ("scope", "orders:read"),
        ];
        let minted = self.world.token(&sts, &fields).await;
        assert_eq!(minted.status, 200, "{}", minted.text);
        assert!(!minted.text.contains("credential"), "{}", minted.text);
        minted.member("access_token").to_owned()
    }

    /// A call with a session or a mandate.
    pub(crate) async fn call(&self, stack: &Stack, gateway: usize, token: &str, id: &str) -> Answer {
        stack
            .gateway(gateway)
            .bearer(token)
            .with("X-Caracal-Resource", &self.identifier)
            .with("X-Caracal-Scope", "orders:read")
            .with("Caracal-Min-Epoch", &self.epoch)
            .with("X-Request-Id", id)
            .get("/x")
            .await
    }

    /// What a gateway asks for a mandate's holder.
    pub(crate) async fn credential(&self, stack: &Stack, sts: usize, user: Option<&str>) -> Answer {
        let body = json!({
            "zone_id": self.world.zone_id, "application_id": self.world.application_id, "user_id": user,
            "resource": self.identifier,
        });
        stack
            .sts(sts)
            .bearer(GATEWAY_STS_KEY)
            .with("Caracal-Min-Epoch", &self.epoch)
            .post("/internal/credentials", &body)
            .await
    }

    /// A user consents. Answers the connection's id.
    pub(crate) async fn connect(&mut self, stack: &Stack, user: &str) -> String {
        let body = json!({"user_id": user, "resource_id": self.resource, "provider_id": self.provider});
        let begun = stack
            .admin()
            .post(&self.world.path("provider-connections/authorize"), &body)
            .await;
        assert_eq!(begun.status, 200, "{}", begun.text);
        let back = format!("/v1/oauth/callback?state={}&code={CODE}", begun.member("state"));
        let done = stack.anonymous(Service::Api, 0).get(&back).await;
        assert_eq!(done.status, 200, "{}", done.text);
        self.epoch = done.epoch();
        done.member("id").to_owned()
    }

    /// What the API shows of a connection.
    pub(crate) async fn connection(&self, stack: &Stack, id: &str) -> Value {
        let path = self.world.path(&format!("provider-connections/{id}"));
        stack.admin().get(&path).await.expect(200)
    }

    /// An administrator ends a connection.
    pub(crate) async fn revoke(&self, stack: &Stack, id: &str) -> Answer {
        let path = self.world.path(&format!("provider-connections/{id}/revoke"));
        stack.admin().post(&path, &json!({})).await
    }
}

pub(crate) fn with(mut config: Value, more: &Value) -> Value {
    let members = config.as_object_mut().expect("an object");
    members.extend(more.as_object().cloned().unwrap_or_default());
    config
}
