//! What travels on the feed: the one stream that keeps every replica's view of a zone current.

use crate::anchor::Anchor;
use crate::clock::Timestamp;
use crate::epoch::Epoch;
use crate::id::{OutboxId, PolicySetVersionId, ZoneId};
use serde::{Deserialize, Serialize};

/// A change a replica must hear of. Written to the outbox in the transaction that makes the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedEvent {
    /// The outbox row's id, also the message's `Nats-Msg-Id`.
    pub id: OutboxId,
    /// The zone that changed.
    pub zone_id: ZoneId,
    /// The zone's epoch after the change; zero for an event that changes nothing ([`FeedBody::PolicyCompiled`]).
    pub epoch: Epoch,
    /// The zone's epoch before it: whoever stands exactly there can apply the event without reading the database.
    pub previous_epoch: Epoch,
    /// What changed.
    pub body: FeedBody,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FeedBody {
    /// A policy set version became the zone's active one.
    PolicyActivated {
        /// Which; `None` when the zone is left without one.
        policy_set_version_id: Option<PolicySetVersionId>,
    },
    /// A set version naming these modules exists and may be activated soon: warm them.
    PolicyCompiled {
        /// SHA-256 names of the modules, hex.
        modules: Vec<String>,
    },
    /// The zone's signing keys changed; some may be refused from now on.
    KeysChanged {
        /// `kid` anchors of an emergency rotation.
        anchors: Vec<Anchor>,
    },
    /// The zone, its applications, resources, providers or issuers changed.
    ZoneChanged,
    /// Sessions, subjects or single tokens were revoked.
    SessionsRevoked {
        /// What to refuse.
        anchors: Vec<Anchor>,
    },
    /// Delegation edges were revoked.
    DelegationsRevoked {
        /// What to refuse.
        anchors: Vec<Anchor>,
    },
    /// Agent sessions ended or were suspended.
    AgentsEnded {
        /// What to refuse.
        anchors: Vec<Anchor>,
    },
}

impl FeedBody {
    /// The subject it travels on (architecture, "Events").
    #[must_use]
    pub const fn subject(&self) -> &'static str {
        match self {
            Self::PolicyActivated { .. } | Self::PolicyCompiled { .. } => "caracal.policy.invalidate",
            Self::KeysChanged { .. } => "caracal.keys.invalidate",
            Self::ZoneChanged => "caracal.zones.invalidate",
            Self::SessionsRevoked { .. } => "caracal.sessions.revoke",
            Self::DelegationsRevoked { .. } => "caracal.delegations.invalidate",
            Self::AgentsEnded { .. } => "caracal.agents.lifecycle",
        }
    }

    /// The anchors it brings.
    #[must_use]
    pub fn anchors(&self) -> &[Anchor] {
        match self {
            Self::KeysChanged { anchors }
            | Self::SessionsRevoked { anchors }
            | Self::DelegationsRevoked { anchors }
            | Self::AgentsEnded { anchors } => anchors,
            Self::PolicyActivated { .. } | Self::PolicyCompiled { .. } | Self::ZoneChanged => &[],
        }
    }

    /// Whether the zone's configuration must be read again: anchors alone can be applied as they are.
    #[must_use]
    pub const fn changes_configuration(&self) -> bool {
        match self {
            Self::PolicyActivated { .. } | Self::KeysChanged { .. } | Self::ZoneChanged => true,
            Self::PolicyCompiled { .. }
            | Self::SessionsRevoked { .. }
            | Self::DelegationsRevoked { .. }
            | Self::AgentsEnded { .. } => false,
        }
    }
}

/// The promise that everything committed before `database_time` stands earlier in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The database's time when the relay looked.
    pub database_time: Timestamp,
}
