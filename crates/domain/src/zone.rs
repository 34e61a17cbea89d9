//! A zone's configuration as the decision point sees it: one consistent picture at one epoch.

use crate::anchor::AnchorSet;
use crate::clock::Timestamp;
use crate::epoch::Epoch;
use crate::id::{
    ApplicationId, PolicySetId, PolicySetVersionId, PolicyVersionId, ProviderId, ResourceId, SigningKeyId,
    SubjectIssuerId, ZoneId,
};
use crate::resource::{ResourceIdentifier, find_resource};
use crate::scope::{Scope, ScopeSet};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;

/// The slug of the one zone that exists from first start (contract §1, "System zone").
pub const SYSTEM_SLUG: &str = "caracal-sys";

/// Everything about a zone that a decision needs, read in one transaction at `epoch`.
#[derive(Debug, Clone)]
pub struct ZoneSnapshot {
    /// The zone.
    pub id: ZoneId,
    /// Its slug.
    pub slug: String,
    /// The epoch this picture shows.
    pub epoch: Epoch,
    /// Mandates a minute, per resource, application and replica.
    pub mint_rate_per_minute: u32,
    /// The zone's data-encryption key, sealed by the key-encryption key.
    pub sealed_dek: Sealed,
    /// Signing keys that are not retired.
    pub keys: Vec<SigningKey>,
    /// When each key that signs no more leaves the published set.
    pub retiring: HashMap<SigningKeyId, Timestamp>,
    /// Live applications.
    pub applications: HashMap<ApplicationId, Arc<Application>>,
    /// Live resources.
    pub resources: Vec<Arc<Resource>>,
    /// Live providers.
    pub providers: HashMap<ProviderId, Arc<Provider>>,
    /// Live issuers whose tokens make user sessions, oldest first.
    pub subject_issuers: Vec<Arc<SubjectIssuer>>,
    /// The active policy set version, if any.
    pub active: Option<Arc<Manifest>>,
    /// The version that is only observed, if any.
    pub shadow: Option<Arc<Manifest>>,
    /// What has been revoked.
    pub anchors: AnchorSet,
}

impl ZoneSnapshot {
    /// The resource `asked` means: exact, else longest prefix.
    #[must_use]
    pub fn resource(&self, asked: &ResourceIdentifier) -> Option<&Arc<Resource>> {
        find_resource(&self.resources, asked)
    }

    /// The key that signs now.
    #[must_use]
    pub fn active_key(&self) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.status == KeyStatus::Active)
    }
}

/// Ciphertext and the id of the key-encryption key, or of the zone's DEK generation, that made it. What it is bound
/// to (zone, purpose, row) is additional data and not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key sealed it.
    pub key_id: String,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// Where a signing key stands in its life (contract §1, "Zones").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    /// Published, so that verifiers know it before it signs.
    Next,
    /// Signs.
    Active,
    /// Signs no more; published until the last token it signed has expired.
    Retiring,
    /// Gone.
    Retired,
}

/// A zone's ES256 key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The `kid`.
    pub id: SigningKeyId,
    /// Where it stands.
    pub status: KeyStatus,
    /// The public half: an uncompressed P-256 point (65 bytes).
    pub public: Vec<u8>,
    /// The private half as PKCS#8, sealed under the zone's DEK.
    pub sealed_private: Sealed,
}

/// How an application proves itself (seed `004`, `credential_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialType {
    /// A shared secret.
    Token,
    /// A shared secret under its other name.
    Password,
    /// A JWK Set kept with us.
    PublicKey,
    /// A JWK Set fetched from `jwks_uri`.
    Url,
    /// Nothing: it cannot authenticate.
    Public,
}

/// How an application came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMethod {
    /// By an administrator.
    Managed,
    /// By dynamic client registration; it expires.
    Dcr,
}

/// A registered workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its id, the OAuth `client_id`.
    pub id: ApplicationId,
    /// Its name.
    pub name: String,
    /// How it came to be.
    pub registration_method: RegistrationMethod,
    /// How it proves itself.
    pub credential_type: CredentialType,
    /// Argon2id hash (PHC string) of its shared secret, if it has one.
    pub secret_hash: Option<String>,
    /// Its public keys (RFC 7517), of credential type `public-key`.
    pub jwks: Option<serde_json::Value>,
    /// Where its public keys are, of credential type `url`.
    pub jwks_uri: Option<String>,
    /// Labels that policy can read.
    pub traits: Vec<String>,
    /// When a DCR application ends.
    pub expires_at: Option<Timestamp>,
}

impl Application {
    /// Whether what proved `other` proves this one too: the same secret, the same keys, the same place of them.
    #[must_use]
    pub fn has_credential_of(&self, other: &Self) -> bool {
        self.id == other.id
            && self.secret_hash == other.secret_hash
            && self.jwks == other.jwks
            && self.jwks_uri == other.jwks_uri
    }
}

/// An outside issuer whose tokens make user sessions (contract §1, "Subject issuers").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectIssuer {
    /// Its id.
    pub id: SubjectIssuerId,
    /// Its `iss`, exactly.
    pub issuer: String,
    /// Where its keys are; found by discovery without one.
    pub jwks_uri: Option<String>,
    /// What its tokens must be for.
    pub audience: String,
    /// What goes before its `sub` to make a subject of ours.
    pub subject_prefix: String,
}

/// How the gateway authenticates to a resource's upstream (contract §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Passes the mandate on.
    CaracalJwt,
    /// Injects an OAuth access token.
    ProviderOauth,
    /// Injects an API key.
    ProviderApikey,
    /// Sends no credential.
    None,
}

/// One permitted call of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// HTTP method; HEAD counts as GET.
    pub method: String,
    /// Path with `{name}` segments and perhaps a trailing `/**`.
    pub path: String,
    /// The scope the caller must hold.
    pub scope: Scope,
}

/// A protected upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its id.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// What tokens and policies call it.
    pub identifier: ResourceIdentifier,
    /// Whether it also covers what lies below its identifier.
    pub prefix: bool,
    /// What may be asked for.
    pub scopes: ScopeSet,
    /// Where calls go.
    pub upstream_url: Option<Url>,
    /// Where the upstream credential comes from.
    pub provider_id: Option<ProviderId>,
    /// How the gateway authenticates to the upstream.
    pub auth_mode: AuthMode,
    /// When not empty, the only calls that pass.
    pub operations: Vec<Operation>,
    /// Request headers that pass beyond the gateway's own list.
    pub forward_headers: Vec<String>,
}

/// What a provider is (contract §1). The finer names of seed `001` are equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// OAuth 2.0: authorization code when it has an authorization endpoint, else client credentials.
    Oauth2,
    /// `OpenID` Connect by discovery.
    Oidc,
    /// An API key.
    Apikey,
    /// A workload identity.
    Workload,
    /// OAuth 2.0 authorization code.
    Oauth2AuthorizationCode,
    /// OAuth 2.0 client credentials.
    Oauth2ClientCredentials,
    /// An API key, by its finer name.
    ApiKey,
    /// A fixed bearer token.
    BearerToken,
}

/// Where an upstream credential comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// What it is.
    pub kind: ProviderKind,
    /// What may be shown.
    pub config: serde_json::Value,
    /// A JSON object of secrets, sealed under the zone's DEK; absent when it has none.
    pub sealed_secrets: Option<Sealed>,
}

/// A policy set version, resolved to compiled modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The set.
    pub policy_set_id: PolicySetId,
    /// The version.
    pub version_id: PolicySetVersionId,
    /// SHA-256 of the manifest, hex.
    pub sha256: String,
    /// What it bundles, in order.
    pub policies: Vec<ManifestEntry>,
}

/// One policy of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ManifestEntry {
    /// The immutable version.
    pub policy_version_id: PolicyVersionId,
    /// The compiled module's name: SHA-256, hex.
    pub module: String,
}
