//! The document a policy sees as `input` (contract §2, "Policy input", schema `2026-03-16`).

use crate::agent::Agent;
use crate::claims::{Claims, SubjectType};
use crate::clock::Timestamp;
use crate::decision::ChallengeType;
use crate::delegation::Edge;
use crate::id::{AgentSessionId, ApplicationId, DelegationEdgeId, GrantId, ResourceId, SessionId, ZoneId};
use crate::resource::ResourceIdentifier;
use crate::scope::ScopeSet;
use crate::zone::{Application, CredentialType, RegistrationMethod};
use serde::{Serialize, Serializer};
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
    pub delegation_edge: Option<DelegationEdgeInput<'a>>,
    /// With which grant; null for an application acting for itself.
    pub grant: Option<GrantInput<'a>>,
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
    /// The same, acting as one of its agent sessions.
    #[must_use]
    pub fn acting_as(self, agent: Option<&'a Agent>) -> Self {
        match agent {
            None => self,
            Some(agent) => Self {
                agent_session_id: Some(agent.id),
                lifecycle: Some(agent.lifecycle.as_str()),
                labels: &agent.labels,
                ..self
            },
        }
    }

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
    #[serde(serialize_with = "as_written")]
    pub authenticated_at: Timestamp,
}

/// `input.delegation_edge`: the edge that is redeemed, whose hops have all been checked.
#[derive(Debug, Clone, Serialize)]
pub struct DelegationEdgeInput<'a> {
    /// The edge.
    pub id: DelegationEdgeId,
    /// The agent session that handed on.
    pub source_session_id: AgentSessionId,
    /// The agent session that received.
    pub target_session_id: AgentSessionId,
    /// The application of the source.
    pub issuer_application_id: ApplicationId,
    /// The application of the target.
    pub receiver_application_id: ApplicationId,
    /// The one resource it is for.
    pub resource_id: Option<ResourceId>,
    /// What it carries.
    pub scopes: &'a ScopeSet,
    /// How often it was changed.
    pub edge_version: i64,
    /// Every edge from the root to it.
    pub path: &'a [DelegationEdgeId],
    /// The graph's epoch when it was made.
    pub graph_epoch: i64,
    /// Its bounds, as stored.
    pub constraints_json: &'a Value,
}

impl<'a> From<&'a Edge> for DelegationEdgeInput<'a> {
    fn from(edge: &'a Edge) -> Self {
        Self {
            id: edge.id,
            source_session_id: edge.source_session_id,
            target_session_id: edge.target_session_id,
            issuer_application_id: edge.issuer_application_id,
            receiver_application_id: edge.receiver_application_id,
            resource_id: edge.bounds.resource_id,
            scopes: &edge.bounds.scopes,
            edge_version: edge.edge_version,
            path: &edge.path,
            graph_epoch: edge.graph_epoch,
            constraints_json: &edge.constraints_json,
        }
    }
}

/// `input.grant`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct GrantInput<'a> {
    /// The grant.
    pub id: GrantId,
    /// For which user.
    pub user_id: &'a str,
    /// Of what.
    pub scopes: &'a ScopeSet,
}

/// `input.context.challenge`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ChallengeInput<'a> {
    /// Which proof it asked for.
    #[serde(rename = "type")]
    pub challenge_type: ChallengeType,
    /// When it was met.
    #[serde(serialize_with = "as_written")]
    pub satisfied_at: Timestamp,
    /// Who said so.
    pub satisfied_by: &'a str,
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
    pub delegation_edge_id: Option<DelegationEdgeId>,
    /// Whether a step-up challenge was met for this request.
    pub challenge_resolved: bool,
    /// That challenge.
    pub challenge: Option<ChallengeInput<'a>>,
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

/// Every time a policy sees is written with as many digits, so that two of them compare as texts.
fn written(at: &Timestamp) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

fn as_written<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(at))
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
            rfc3339: written(&at),
            unix: at.timestamp(),
        }
    }
}
