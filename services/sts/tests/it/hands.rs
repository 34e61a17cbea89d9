//! What the coordinator and the control plane will do, done here by the same storage functions they use.

use caracal_domain::agent::{AgentStatus, Lifecycle};
use caracal_domain::delegation::{Bounds, Edge};
use caracal_domain::id::{
    AgentSessionId, ChallengeId, DelegationEdgeId, GrantId, OutboxId, SessionId, TokenId, ZoneId,
};
use caracal_domain::zone::{KeyStatus, SigningKey};
use caracal_domain::{
    Anchor, AnchorKind, Claims, Clock, Epoch, FeedBody, FeedEvent, ScopeSet, SubjectType, Timestamp,
};
use caracal_jose::{Dek, Kek, Purpose, Signer};
use caracal_lifecycle::SystemClock;
use caracal_storage::agents::{self, NewAgent};
use caracal_storage::grants::{self, NewGrant};
use caracal_storage::keys;
use caracal_storage::sessions::{self, NewSession, Whose};
use caracal_storage::{
    Connection, Database, DatabaseConfig, Transaction, anchors, delegations, outbox, step_up, zones,
};
use caracal_testkit::settings::ZONE_KEK;
use caracal_testkit::{Stack, World};
use chrono::Duration;
use serde_json::json;

/// An application besides the world's own.
pub(crate) struct Second {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// See the module.
pub(crate) struct Hands {
    database: Database,
    pub(crate) zone: ZoneId,
}

pub(crate) fn now() -> Timestamp {
    SystemClock::default().now()
}

impl Hands {
    pub(crate) fn of(stack: &Stack, world: &World) -> Self {
        let database = Database::connect(&DatabaseConfig {
            url: stack.database().superuser_url().to_string(),
            max_connections: 4,
            application_name: "tests",
        });
        Self {
            database: database.expect("a URL"),
            zone: world.zone_id.parse().expect("an id"),
        }
    }

    pub(crate) async fn conn(&self) -> Connection {
        self.database.acquire().await.expect("a connection")
    }

    async fn begin(&self) -> Transaction {
        self.database.begin().await.expect("a transaction")
    }

    /// An active agent session of an application.
    pub(crate) async fn agent(&self, application: &str, ttl_seconds: i32) -> AgentSessionId {
        self.agent_below(None, application, ttl_seconds).await
    }

    /// The same, hanging on a session.
    pub(crate) async fn agent_below(
        &self,
        session: Option<SessionId>,
        application: &str,
        ttl_seconds: i32,
    ) -> AgentSessionId {
        let id = AgentSessionId::mint(&SystemClock::default());
        let new = NewAgent {
            zone_id: self.zone,
            id,
            application_id: application.parse().expect("an id"),
            session_id: session,
            parent_id: None,
            root_id: id,
            depth: 0,
            lifecycle: Lifecycle::Task,
            labels: vec!["blue".to_owned()],
            capabilities: vec![],
            metadata: json!({}),
            accepts_from: vec![],
            ttl_seconds,
            created_at: now(),
            lease_expires_at: None,
        };
        agents::insert(&mut *self.conn().await, &new)
            .await
            .expect("an agent");
        id
    }

    /// An edge from one agent to another, under a parent or not.
    pub(crate) async fn edge(
        &self,
        from: (AgentSessionId, &str),
        to: (AgentSessionId, &str),
        under: Option<&Edge>,
        bounds: Bounds,
    ) -> Edge {
        let id = DelegationEdgeId::mint(&SystemClock::default());
        let mut path = under.map(|edge| edge.path.clone()).unwrap_or_default();
        path.push(id);
        let edge = Edge {
            id,
            source_session_id: from.0,
            target_session_id: to.0,
            issuer_application_id: from.1.parse().expect("an id"),
            receiver_application_id: to.1.parse().expect("an id"),
            parent_edge_id: under.map(|edge| edge.id),
            path,
            bounds,
            constraints_json: json!({}),
            edge_version: 1,
            graph_epoch: 1,
            revoked: false,
        };
        delegations::insert(&mut *self.conn().await, self.zone, &edge)
            .await
            .expect("an edge");
        edge
    }

    /// Commits a change with its epoch and its message; answers the epoch.
    async fn announce(&self, mut tx: Transaction, body: impl FnOnce(Epoch) -> FeedBody) -> String {
        let bump = zones::bump_epoch(&tx, self.zone).await.expect("an epoch");
        let event = FeedEvent {
            id: OutboxId::mint(&SystemClock::default()),
            zone_id: self.zone,
            epoch: bump.epoch,
            previous_epoch: bump.previous,
            body: body(bump.epoch),
        };
        for anchor in event.body.anchors() {
            anchors::insert(&mut tx, self.zone, anchor)
                .await
                .expect("an anchor");
        }
        outbox::append(&tx, &event, &caracal_wire::encode_feed(&event), None)
            .await
            .expect("a message");
        tx.commit().await.expect("a commit");
        bump.epoch.to_string()
    }

    pub(crate) async fn revoke_edge(&self, edge: DelegationEdgeId) -> String {
        let mut tx = self.begin().await;
        delegations::revoke(&mut tx, self.zone, &[edge], "tests")
            .await
            .expect("revoked");
        delegations::bump_graph_epoch(&mut tx, self.zone)
            .await
            .expect("an epoch");
        let anchor = |epoch| anchor(AnchorKind::DelegationEdgeId, &edge, epoch);
        self.announce(tx, |epoch| FeedBody::DelegationsRevoked {
            anchors: vec![anchor(epoch)],
        })
        .await
    }

    pub(crate) async fn move_agent(&self, agent: AgentSessionId, to: AgentStatus) -> String {
        let mut tx = self.begin().await;
        let moved = agents::suspend_or_resume(&mut tx, self.zone, &[agent], to).await;
        assert_eq!(moved.expect("moved"), 1);
        self.announce(tx, |_| FeedBody::AgentsEnded { anchors: vec![] })
            .await
    }

    /// Ends whatever stands on this root session, and says nothing of anything else.
    pub(crate) async fn end_below(&self, root: SessionId) -> String {
        let tx = self.begin().await;
        self.announce(tx, |epoch| FeedBody::SessionsRevoked {
            anchors: vec![anchor(AnchorKind::RootSid, &root, epoch)],
        })
        .await
    }

    /// Ends one token alone, by its `jti`.
    pub(crate) async fn revoke_token(&self, jti: &serde_json::Value) -> String {
        let jti = jti.as_str().expect("an id").to_owned();
        let tx = self.begin().await;
        self.announce(tx, |epoch| FeedBody::SessionsRevoked {
            anchors: vec![anchor(AnchorKind::Jti, &jti, epoch)],
        })
        .await
    }

    /// Cuts off every session of a subject, as the control plane does, and says nothing of its agents.
    pub(crate) async fn cut_off(&self, subject: &str) -> String {
        let mut tx = self.begin().await;
        let cut = sessions::end(&mut tx, self.zone, Whose::Subject(subject), "tests").await;
        assert!(!cut.expect("cut off").is_empty());
        let subject = subject.to_owned();
        self.announce(tx, |epoch| FeedBody::SessionsRevoked {
            anchors: vec![anchor(AnchorKind::Subject, &subject, epoch)],
        })
        .await
    }

    pub(crate) async fn terminate_agent(&self, agent: AgentSessionId) -> String {
        let mut tx = self.begin().await;
        agents::terminate(&mut tx, self.zone, &[agent], "tests")
            .await
            .expect("ended");
        self.announce(tx, |epoch| FeedBody::AgentsEnded {
            anchors: vec![anchor(AnchorKind::AgentSessionId, &agent, epoch)],
        })
        .await
    }

    pub(crate) async fn satisfy(&self, challenge: &str) -> bool {
        let id: ChallengeId = challenge.parse().expect("an id");
        let met = step_up::satisfy(&mut *self.conn().await, self.zone, id, "a person").await;
        met.expect("the database answers").is_some()
    }

    pub(crate) async fn grant(&self, world: &World, user: &str, scopes: &str) -> (GrantId, String) {
        let new = NewGrant {
            zone_id: self.zone,
            id: GrantId::mint(&SystemClock::default()),
            application_id: world.application_id.parse().expect("an id"),
            user_id: user.to_owned(),
            resource_id: world.resource_id.parse().expect("an id"),
            scopes: scopes.split(' ').map(str::to_owned).collect(),
            created_by: "tests".to_owned(),
        };
        let mut tx = self.begin().await;
        grants::insert(&mut tx, &new).await.expect("a grant");
        (new.id, self.announce(tx, |_| FeedBody::ZoneChanged).await)
    }

    pub(crate) async fn revoke_grant(&self, id: GrantId) -> String {
        let mut tx = self.begin().await;
        assert!(
            grants::revoke(&mut tx, self.zone, id)
                .await
                .expect("revoked")
                .is_some()
        );
        self.announce(tx, |_| FeedBody::ZoneChanged).await
    }

    async fn dek(&self) -> Dek {
        let sealed = keys::dek(&mut *self.conn().await, self.zone).await.expect("read");
        let kek = Kek::parse(ZONE_KEK).expect("a key");
        kek.open_dek(self.zone, &sealed.expect("a DEK")).expect("opened")
    }

    /// A session of a signed-in user, and its token.
    pub(crate) async fn user_session(&self, world: &World, issuer: &str, user: &str) -> String {
        let (sid, now) = (SessionId::mint(&SystemClock::default()), now());
        let row = NewSession {
            id: sid,
            zone_id: self.zone,
            session_type: SubjectType::User,
            subject_id: user.to_owned(),
            application_id: world.application_id.parse().expect("an id"),
            parent_id: None,
            root_id: sid,
            scopes: ScopeSet::default(),
            target: vec![],
            agent_session_id: None,
            authenticated_at: now,
            expires_at: now + Duration::hours(1),
            created_at: now,
            epoch: world.epoch.parse::<i64>().expect("an epoch").into(),
        };
        sessions::insert(&mut *self.conn().await, &row)
            .await
            .expect("a session");
        let claims: Claims = serde_json::from_value(json!({
            "iss": issuer, "sub": user, "aud": [issuer], "exp": now.timestamp() + 3600, "iat": now.timestamp(),
            "nbf": now.timestamp(), "jti": TokenId::mint(&SystemClock::default()), "zone_id": self.zone,
            "client_id": world.application_id, "scope": "", "sid": sid, "root_sid": sid, "use": "session",
            "sub_type": "user", "target": [], "epoch": world.epoch.parse::<i64>().expect("an epoch"),
        }))
        .expect("claims");
        self.sign(&claims).await
    }

    /// What the zone's own key would sign.
    pub(crate) async fn sign(&self, claims: &Claims) -> String {
        let held = keys::signing_keys(&mut *self.conn().await, self.zone)
            .await
            .expect("read");
        let active = held
            .into_iter()
            .find(|key| key.status == KeyStatus::Active)
            .expect("an active key");
        let active = SigningKey::from(active);
        let dek = self.dek().await;
        let pkcs8 = dek.open(
            self.zone,
            Purpose::SigningKey,
            active.id.into(),
            &active.sealed_private,
        );
        let signer = Signer::from_pkcs8(active.id, &pkcs8.expect("opened")).expect("a signer");
        signer.sign(claims).expect("signed")
    }
}

fn anchor(kind: AnchorKind, named: &impl ToString, epoch: Epoch) -> Anchor {
    Anchor {
        kind,
        value: named.to_string(),
        epoch,
        expires_at: now() + Duration::hours(1),
    }
}

/// A text among these members.
pub(crate) fn text(members: &serde_json::Value, name: &str) -> String {
    let text = members.get(name).and_then(serde_json::Value::as_str);
    text.expect("a text").to_owned()
}

/// Bounds of so many scopes, and nothing else but an hour and a number of hops.
pub(crate) fn bounds(scopes: &str, max_hops: u8) -> Bounds {
    Bounds {
        scopes: scopes.parse().expect("scopes"),
        resource_id: None,
        resources: None,
        actions: None,
        expires_at: now() + Duration::hours(1),
        ttl_seconds: None,
        max_hops,
        budget: None,
    }
}

/// A set of these policies, active from now on; the epoch that shows it.
pub(crate) async fn adopt_all(stack: &Stack, world: &World, policies: &[&str]) -> String {
    let admin = stack.admin();
    let mut manifest = Vec::new();
    for (n, content) in policies.iter().enumerate() {
        let name = format!("{}-{n}", crate::signing::unique());
        let made = admin
            .post(
                &world.path("policies"),
                &json!({"name": name, "content": content}),
            )
            .await;
        assert_eq!(made.status, 201, "{}", made.text);
        let version = made.body.pointer("/version/id").expect("a version").clone();
        manifest.push(json!({"policy_version_id": version}));
    }
    let body = json!({"manifest": manifest, "schema_version": caracal_testkit::world::SCHEMA_VERSION});
    let set = world.path(&format!("policy-sets/{}", world.policy_set_id));
    let version = admin.post(&format!("{set}/versions"), &body).await;
    assert_eq!(version.status, 201, "{}", version.text);
    let chosen = json!({"version_id": version.member("id")});
    let activated = admin.post(&format!("{set}/activate"), &chosen).await;
    assert_eq!(activated.status, 202, "{}", activated.text);
    activated.epoch()
}

/// Another application of the world's zone.
pub(crate) async fn second(stack: &Stack, world: &World, name: &str) -> Second {
    let body = json!({"name": name, "registration_method": "managed", "credential_type": "token"});
    let made = stack.admin().post(&world.path("applications"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    Second {
        id: made.member("id").to_owned(),
        secret: made.member("client_secret").to_owned(),
    }
}

impl Second {
    /// A token request with this application's credential and whatever else.
    pub(crate) async fn token(
        &self,
        sts: &caracal_testkit::Client,
        fields: &[(&str, &str)],
    ) -> caracal_testkit::Answer {
        let mut form = vec![
            ("application_id", self.id.as_str()),
            ("client_secret", self.secret.as_str()),
        ];
        form.extend_from_slice(fields);
        sts.form("/oauth/2/token", &form).await
    }
}
