//! The document a policy sees as `input` (contract §2, "Policy input", schema `2026-03-16`).

use crate::claims::{Claims, SubjectType};
use crate::clock::Timestamp;
use crate::id::{AgentSessionId, ApplicationId, ResourceId, SessionId, ZoneId};
use crate::resource::ResourceIdentifier;
use crate::scope::ScopeSet;
use crate::zone::{Application, CredentialType, RegistrationMethod};
use serde::Serialize;
use serde_json::Value;

/// The schema this document follows.
pub const SCHEMA_VERSION: &str = "2026-03-16";

/// `input`.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyInput<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: &'static str,
    /// Who asks.
    pub principal: PrincipalInput<'a>,
    /// For what.
    pub resource: ResourceInput<'a>,
    /// To do what.
    pub action: ActionInput<'a>,
    /// In which session; null on the way to one.
    pub session: Option<SessionInput<'a>>,
    /// Under which delegation.
    pub delegation_edge: Option<Value>,
    /// With which grant; null for an application acting for itself.
    pub grant: Option<Value>,
    /// Around what.
    pub context: ContextInput<'a>,
}

/// `input.principal`.
#[derive(Debug, Clone, Serialize)]
pub struct PrincipalInput<'a> {
    /// Always `application`.
    #[serde(rename = "type")]
    pub principal_type: &'static str,
    /// The application.
    pub id: ApplicationId,
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its name.
    pub name: &'a str,
    /// How it came to be.
    pub registration_method: RegistrationMethod,
    /// How it proves itself.
    pub credential_type: CredentialType,
    /// Its traits.
    pub traits: &'a [String],
    /// The agent session, if one acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_session_id: Option<AgentSessionId>,
    /// That agent's lifecycle, `task` or `service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<&'a str>,
    /// That agent's labels.
    pub labels: &'a [String],
}

impl<'a> PrincipalInput<'a> {
    /// The application acting without an agent session.
    #[must_use]
    pub fn of(application: &'a Application, zone_id: ZoneId) -> Self {
        Self {
            principal_type: "application",
            id: application.id,
            zone_id,
            name: &application.name,
            registration_method: application.registration_method,
            credential_type: application.credential_type,
            traits: &application.traits,
            agent_session_id: None,
            lifecycle: None,
            labels: &[],
        }
    }
}

/// `input.resource`.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceInput<'a> {
    /// Always `resource`.
    #[serde(rename = "type")]
    pub resource_type: &'static str,
    /// The resource.
    pub id: ResourceId,
    /// The identifier asked for; below the resource's own when that is a prefix.
    pub identifier: &'a ResourceIdentifier,
    /// Everything the resource offers.
    pub scopes: &'a ScopeSet,
}

/// `input.action`.
#[derive(Debug, Clone, Serialize)]
pub struct ActionInput<'a> {
    /// Always `TokenExchange`.
    pub id: &'static str,
    /// The call's method, when the gateway asks for one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// The call's path, when the gateway asks for one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
}

/// `input.session`.
#[derive(Debug, Clone, Serialize)]
pub struct SessionInput<'a> {
    /// The session.
    pub id: SessionId,
    /// Whose.
    #[serde(rename = "type")]
    pub session_type: SubjectType,
    /// Whose, by name.
    pub subject_id: &'a str,
    /// When the subject proved itself.
    pub authenticated_at: Timestamp,
}

/// `input.context`.
#[derive(Debug, Clone, Serialize)]
pub struct ContextInput<'a> {
    /// Claims of the actor token.
    pub actor_claims: Option<&'a Claims>,
    /// Claims of the subject token.
    pub subject_claims: Option<SubjectClaims<'a>>,
    /// The request id.
    pub trace_id: &'a str,
    /// The session.
    pub session_id: Option<SessionId>,
    /// The agent session.
    pub agent_session_id: Option<AgentSessionId>,
    /// The delegation edge.
    pub delegation_edge_id: Option<Value>,
    /// Whether a step-up challenge was met for this request.
    pub challenge_resolved: bool,
    /// That challenge.
    pub challenge: Option<Value>,
    /// What is asked for.
    pub requested_scopes: &'a ScopeSet,
    /// The decision's one clock.
    pub time: TimeInput,
}

/// Claims of a subject token.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum SubjectClaims<'a> {
    /// Of one of our session tokens.
    Session(&'a Claims),
    /// Of a registered issuer's token, as that issuer wrote them.
    External(&'a serde_json::Map<String, Value>),
}

/// `input.context.time`.
#[derive(Debug, Clone, Serialize)]
pub struct TimeInput {
    /// RFC 3339, UTC.
    pub rfc3339: String,
    /// Seconds since 1970.
    pub unix: i64,
}

impl From<Timestamp> for TimeInput {
    fn from(at: Timestamp) -> Self {
        Self {
            rfc3339: at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            unix: at.timestamp(),
        }
    }
}
