//! What a token of ours says (contract §2, "Claims").

use crate::actor::Actor;
use crate::epoch::Epoch;
use crate::id::{AgentSessionId, ApplicationId, DelegationEdgeId, EventId, SessionId, TokenId, ZoneId};
use crate::resource::ResourceIdentifier;
use crate::scope::ScopeSet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a token is for; decides which rules apply, never the shape of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenUse {
    /// Proves a live session to the STS, the coordinator and the gateway; carries no authority over a resource.
    Session,
    /// A mandate: authority over the resources in its audience.
    Resource,
}

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectType {
    /// The application acts for itself; `sub` is its id.
    Application,
    /// The application acts for a signed-in user; `sub` is the external subject.
    User,
}

/// One hop of a delegation, root to leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegationHop {
    /// The application at this hop.
    pub application_id: ApplicationId,
    /// Its agent session.
    pub agent_session_id: AgentSessionId,
    /// The edge that reached it; the root has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delegation_edge_id: Option<DelegationEdgeId>,
}

/// The claims of a session token or a mandate. Unknown claims are ignored, duplicate ones are a parse error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer: `{ISSUER_URL}/zones/{zone_id}`.
    pub iss: String,
    /// Subject: the application's id or the user's external subject.
    pub sub: String,
    /// Audience: the issuer for a session, the resources for a mandate.
    pub aud: Vec<String>,
    /// Expiry, seconds since 1970.
    pub exp: i64,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Not before, seconds since 1970.
    pub nbf: i64,
    /// The token's own id.
    pub jti: TokenId,
    /// The zone that issued it.
    pub zone_id: ZoneId,
    /// The application it was issued to.
    pub client_id: ApplicationId,
    /// Granted scopes, space separated.
    #[serde(with = "space_separated")]
    pub scope: ScopeSet,
    /// The session it hangs on.
    pub sid: SessionId,
    /// The session at the root of that one.
    pub root_sid: SessionId,
    /// Session or mandate.
    #[serde(rename = "use")]
    pub token_use: TokenUse,
    /// Application or user.
    pub sub_type: SubjectType,
    /// Resources named when the token was asked for.
    pub target: Vec<ResourceIdentifier>,
    /// The zone's epoch when it was decided; cut-off anchors refuse smaller ones.
    pub epoch: Epoch,
    /// On mandates: the decision event that recorded it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_id: Option<EventId>,
    /// When a user signed in at its own issuer, seconds since 1970 (RFC 9068 §2.2.1).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub auth_time: Option<i64>,
    /// Who acts for the subject (RFC 8693 §4.1).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub act: Option<Box<Actor>>,
    /// The agent session it is bound to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agent_session_id: Option<AgentSessionId>,
    /// The delegation edge it was minted under.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delegation_edge_id: Option<DelegationEdgeId>,
    /// The agent session that handed the authority on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_session_id: Option<AgentSessionId>,
    /// The agent session that received it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_session_id: Option<AgentSessionId>,
    /// Every edge of that delegation, root to leaf.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub delegation_path: Vec<DelegationEdgeId>,
    /// Every hop of that delegation, root to leaf.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub delegation_chain: Vec<DelegationHop>,
    /// How many edges that delegation has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hop_count: Option<u32>,
    /// The epoch of the zone's delegation graph when it was minted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delegation_graph_epoch: Option<i64>,
    /// HTTP methods it is limited to; empty means no limit.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub actions: Vec<String>,
}

impl Claims {
    /// Whether the token has expired at `now` (seconds since 1970). No leeway on our own tokens (contract).
    #[must_use]
    pub const fn is_expired_at(&self, now: i64) -> bool {
        now >= self.exp
    }

    /// Everyone who acts for the subject, newest first.
    pub fn actors(&self) -> impl Iterator<Item = &Actor> {
        self.act.iter().flat_map(|actor| actor.chain())
    }

    /// Whether the token carries authority over `resource`.
    #[must_use]
    pub fn is_for(&self, resource: &ResourceIdentifier) -> bool {
        self.aud.iter().any(|aud| aud == resource.as_str())
    }
}

mod space_separated {
    use super::{Deserialize, Deserializer, ScopeSet, Serializer, de};

    pub(super) fn serialize<S: Serializer>(scopes: &ScopeSet, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(scopes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ScopeSet, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
