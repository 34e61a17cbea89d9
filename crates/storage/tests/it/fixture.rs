//! Rows the tests start from.

use caracal_domain::clock::FixedClock;
use caracal_domain::feed::FeedBody;
use caracal_domain::id::{
    ApplicationId, EventId, OutboxId, PolicyId, PolicySetId, PolicySetVersionId, PolicyVersionId, ProviderId,
    ResourceId, SessionId, SigningKeyId, ZoneId,
};
use caracal_domain::zone::{
    AuthMode, CredentialType, KeyStatus, ProviderKind, RegistrationMethod, Sealed, SigningKey,
};
use caracal_domain::{Epoch, FeedEvent, SubjectType, Timestamp};
use caracal_storage::applications::{self, NewApplication};
use caracal_storage::modules::{self, NewModule};
use caracal_storage::policies::{self, NewPolicy, NewPolicyVersion};
use caracal_storage::policy_sets::{self, NewPolicySet, NewPolicySetVersion};
use caracal_storage::providers::{self, NewProvider, ProviderSecrets};
use caracal_storage::resources::{self, NewResource};
use caracal_storage::sessions::{self, NewSession};
use caracal_storage::zones::{self, NewZone};
use caracal_storage::{Conn, keys};
use chrono::{Duration, Utc};

pub(crate) fn clock() -> FixedClock {
    FixedClock(now())
}

/// To the microsecond, as PostgreSQL keeps it.
pub(crate) fn now() -> Timestamp {
    let now = Utc::now();
    Timestamp::from_timestamp_micros(now.timestamp_micros()).unwrap()
}

pub(crate) fn sealed(text: &str) -> Sealed {
    Sealed {
        key_id: "k1".into(),
        bytes: text.as_bytes().to_vec(),
    }
}

pub(crate) fn new_zone(slug: &str) -> NewZone {
    NewZone {
        id: ZoneId::mint(&clock()),
        org_id: "default".into(),
        name: slug.into(),
        slug: slug.into(),
        dcr_enabled: false,
        pkce_required: true,
        login_flow: "default".into(),
        is_system: false,
    }
}

/// A zone with its DEK and its keys.
pub(crate) async fn zone(conn: &mut Conn, slug: &str) -> ZoneId {
    let zone = zones::insert(conn, &new_zone(slug)).await.unwrap().id;
    keys::insert_dek(conn, zone, &sealed("dek")).await.unwrap();
    for status in [KeyStatus::Active, KeyStatus::Next] {
        keys::insert_signing_keys(conn, zone, &[&signing_key(status)])
            .await
            .unwrap();
    }
    zone
}

pub(crate) fn signing_key(status: KeyStatus) -> SigningKey {
    let id = SigningKeyId::mint(&clock());
    SigningKey {
        id,
        status,
        public: vec![4; 65],
        sealed_private: sealed("private"),
    }
}

pub(crate) fn new_application(zone_id: ZoneId, name: &str) -> NewApplication {
    NewApplication {
        zone_id,
        id: ApplicationId::mint(&clock()),
        name: name.into(),
        registration_method: RegistrationMethod::Managed,
        credential_type: CredentialType::Token,
        secret_hash: Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into()),
        jwks: None,
        jwks_uri: None,
        traits: vec!["role:reader".into()],
        consent: "implicit".into(),
        redirect_uris: vec![],
        expires_at: None,
    }
}

pub(crate) async fn application(conn: &mut Conn, zone: ZoneId, name: &str) -> ApplicationId {
    applications::insert(conn, &new_application(zone, name))
        .await
        .unwrap()
        .id
}

pub(crate) async fn provider(conn: &mut Conn, zone_id: ZoneId, identifier: &str) -> ProviderId {
    let new = NewProvider {
        zone_id,
        id: ProviderId::mint(&clock()),
        name: identifier.into(),
        identifier: identifier.into(),
        kind: ProviderKind::Apikey,
        owner_type: "customer".into(),
        config_json: serde_json::json!({ "location": "header" }),
        secrets: ProviderSecrets {
            sealed: Some(sealed("secrets")),
            keys: vec!["api_key".into()],
        },
    };
    providers::insert(conn, &new).await.unwrap().id
}

pub(crate) fn new_resource(zone_id: ZoneId, identifier: &str) -> NewResource {
    NewResource {
        zone_id,
        id: ResourceId::mint(&clock()),
        name: identifier.into(),
        identifier: identifier.into(),
        prefix: false,
        scopes: vec!["read".into(), "write".into()],
        upstream_url: Some("https://upstream.example/".into()),
        credential_provider_id: None,
        auth_mode: AuthMode::CaracalJwt,
        operations: vec![],
        forward_headers: vec![],
    }
}

/// A policy with one version of one module.
pub(crate) async fn policy(conn: &mut Conn, zone_id: ZoneId, name: &str) -> PolicyVersionId {
    // SHA-256 of "\0asm".
    let wasm_sha256 = "cd5d4935a48c0672cb06407bb443bc0087aff947c6b864bac886982c73b3027f";
    let module = NewModule {
        name: "ab".repeat(32),
        wasm: b"\0asm".to_vec(),
        wasm_sha256: wasm_sha256.into(),
        opa_version: "1.0.0".into(),
    };
    modules::insert_if_absent(conn, &module).await.unwrap();
    let new = NewPolicy {
        zone_id,
        id: PolicyId::mint(&clock()),
        name: name.into(),
        description: None,
        owner_type: "customer".into(),
        created_by: "tests".into(),
    };
    let policy_id = policies::insert(conn, &new).await.unwrap().id;
    policies::insert_version(conn, &new_policy_version(zone_id, policy_id))
        .await
        .unwrap()
        .id
}

pub(crate) fn new_policy_version(zone_id: ZoneId, policy_id: PolicyId) -> NewPolicyVersion {
    NewPolicyVersion {
        zone_id,
        id: PolicyVersionId::mint(&clock()),
        policy_id,
        content: "package caracal.authz\n".into(),
        content_sha256: "86079f7b75c3f5230c16af0a6749f836dd5aad7b8ec17a8e4e77bf10e1830864".into(),
        schema_version: "2026-03-16".into(),
        module: "ab".repeat(32),
        names: Vec::new(),
        created_by: "tests".into(),
    }
}

/// A set with one version that bundles the given policies.
pub(crate) async fn policy_set(
    conn: &mut Conn,
    zone_id: ZoneId,
    name: &str,
    manifest: Vec<PolicyVersionId>,
) -> (PolicySetId, PolicySetVersionId) {
    let new = NewPolicySet {
        zone_id,
        id: PolicySetId::mint(&clock()),
        name: name.into(),
        description: None,
        created_by: "tests".into(),
    };
    let set = policy_sets::insert(conn, &new).await.unwrap().id;
    let version = policy_sets::insert_version(conn, &new_set_version(zone_id, set, manifest))
        .await
        .unwrap();
    (set, version.id)
}

pub(crate) fn new_set_version(
    zone: ZoneId,
    set: PolicySetId,
    manifest: Vec<PolicyVersionId>,
) -> NewPolicySetVersion {
    NewPolicySetVersion {
        zone_id: zone,
        id: PolicySetVersionId::mint(&clock()),
        policy_set_id: set,
        manifest_sha256: "cd".repeat(32),
        schema_version: "2026-03-16".into(),
        created_by: "tests".into(),
        manifest,
    }
}

pub(crate) async fn resource(conn: &mut Conn, zone: ZoneId, identifier: &str) -> ResourceId {
    resources::insert(conn, &new_resource(zone, identifier))
        .await
        .unwrap()
        .id
}

pub(crate) fn new_session(zone_id: ZoneId, application_id: ApplicationId) -> NewSession {
    let (id, at) = (SessionId::mint(&clock()), now());
    NewSession {
        id,
        zone_id,
        session_type: SubjectType::Application,
        subject_id: application_id.to_string(),
        application_id,
        parent_id: None,
        agent_session_id: None,
        root_id: id,
        scopes: "read".parse().unwrap(),
        target: vec![],
        authenticated_at: at,
        expires_at: at + Duration::hours(1),
        created_at: at,
        epoch: i64::MAX.into(),
    }
}

pub(crate) async fn session(conn: &mut Conn, zone: ZoneId, application: ApplicationId) -> SessionId {
    let new = new_session(zone, application);
    sessions::insert(conn, &new).await.unwrap();
    new.id
}

pub(crate) fn feed_event(zone_id: ZoneId, epoch: Epoch) -> FeedEvent {
    let (id, previous_epoch) = (OutboxId::mint(&clock()), Epoch::default());
    FeedEvent {
        id,
        zone_id,
        epoch,
        previous_epoch,
        body: FeedBody::ZoneChanged,
    }
}

pub(crate) fn event_id() -> EventId {
    EventId::mint(&clock())
}
