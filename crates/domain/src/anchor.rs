//! Revocation as a negative list: each anchor is kept until the last token that could name it has expired.

use crate::claims::Claims;
use crate::clock::Timestamp;
use crate::epoch::Epoch;
use crate::id::SigningKeyId;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use uuid::Uuid;

/// What an anchor names (contract §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnchorKind {
    /// A session.
    Sid,
    /// A root session: it and every session below it.
    RootSid,
    /// An agent session.
    AgentSessionId,
    /// A delegation edge, anywhere in a token's path.
    DelegationEdgeId,
    /// One token.
    Jti,
    /// A signing key.
    Kid,
    /// A cut-off: every token of the subject decided before the anchor's epoch.
    Subject,
    /// A cut-off: every token of the application decided before the anchor's epoch.
    Application,
}

impl AnchorKind {
    /// Every kind, in the order they are checked.
    pub const ALL: [Self; 8] = [
        Self::Sid,
        Self::RootSid,
        Self::AgentSessionId,
        Self::DelegationEdgeId,
        Self::Jti,
        Self::Kid,
        Self::Subject,
        Self::Application,
    ];

    /// The name stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sid => "sid",
            Self::RootSid => "root_sid",
            Self::AgentSessionId => "agent_session_id",
            Self::DelegationEdgeId => "delegation_edge_id",
            Self::Jti => "jti",
            Self::Kid => "kid",
            Self::Subject => "subject",
            Self::Application => "application",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The slug that tells a caller why its token is refused.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Sid | Self::RootSid => "session_revoked",
            Self::AgentSessionId => "agent_session_revoked",
            Self::DelegationEdgeId => "delegation_revoked",
            Self::Jti => "token_revoked",
            Self::Kid => "signing_key_revoked",
            Self::Subject => "subject_revoked",
            Self::Application => "application_revoked",
        }
    }
}

/// One entry of the negative list of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// What it names.
    pub kind: AnchorKind,
    /// The id named, as text.
    pub value: String,
    /// The epoch it was drawn at; cut-offs compare it with the token's.
    pub epoch: Epoch,
    /// When the last token that could name it has expired.
    pub expires_at: Timestamp,
}

/// The negative list of one zone. It only ever grows by [`AnchorSet::insert`] and shrinks by [`AnchorSet::expire`].
#[derive(Debug, Clone, Default)]
pub struct AnchorSet {
    by_kind: HashMap<AnchorKind, HashMap<String, (Epoch, Timestamp)>>,
}

impl AnchorSet {
    /// Adds an anchor. Of two with the same name the later epoch and the later expiry hold.
    pub fn insert(&mut self, anchor: Anchor) {
        let names = self.by_kind.entry(anchor.kind).or_default();
        let entry = names
            .entry(anchor.value)
            .or_insert((anchor.epoch, anchor.expires_at));
        entry.0 = entry.0.max(anchor.epoch);
        entry.1 = entry.1.max(anchor.expires_at);
    }

    /// Drops what no living token can name any more.
    pub fn expire(&mut self, now: Timestamp) {
        self.by_kind.retain(|_, names| {
            names.retain(|_, (_, expires_at)| *expires_at > now);
            !names.is_empty()
        });
    }

    /// How many anchors are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_kind.values().map(HashMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }

    /// The first anchor that refuses a token with these claims, signed by `kid`.
    #[must_use]
    pub fn refuses(&self, claims: &Claims, kid: SigningKeyId) -> Option<AnchorKind> {
        if self.by_kind.is_empty() {
            return None;
        }
        AnchorKind::ALL
            .into_iter()
            .find(|anchor| self.names(*anchor, claims, kid))
    }

    /// Whether something is named by an exact anchor, token or not.
    #[must_use]
    pub fn holds(&self, kind: AnchorKind, id: Uuid) -> bool {
        self.has(kind, id)
    }

    fn names(&self, kind: AnchorKind, claims: &Claims, kid: SigningKeyId) -> bool {
        match kind {
            AnchorKind::Sid => {
                self.has(kind, claims.sid.into())
                    || claims.actors().any(|actor| self.has(kind, actor.sid.into()))
            }
            AnchorKind::RootSid => {
                self.has(kind, claims.root_sid.into())
                    || claims.actors().any(|actor| self.has(kind, actor.root_sid.into()))
            }
            AnchorKind::AgentSessionId => claims
                .agent_session_id
                .into_iter()
                .chain(claims.actors().filter_map(|actor| actor.agent_session_id))
                .chain(claims.delegation_chain.iter().map(|hop| hop.agent_session_id))
                .any(|id| self.has(kind, id.into())),
            AnchorKind::DelegationEdgeId => claims
                .delegation_edge_id
                .into_iter()
                .chain(claims.delegation_path.iter().copied())
                .any(|id| self.has(kind, id.into())),
            AnchorKind::Jti => self.has(kind, claims.jti.into()),
            AnchorKind::Kid => self.has(kind, kid.into()),
            AnchorKind::Subject => {
                self.cuts_off(kind, &claims.sub, claims.epoch)
                    || claims
                        .actors()
                        .any(|actor| self.cuts_off(kind, &actor.sub, claims.epoch))
            }
            AnchorKind::Application => {
                self.cuts_off(kind, &claims.client_id.to_string(), claims.epoch)
                    || claims
                        .delegation_chain
                        .iter()
                        .any(|hop| self.cuts_off(kind, &hop.application_id.to_string(), claims.epoch))
                    || claims
                        .actors()
                        .any(|actor| self.cuts_off(kind, &actor.client_id.to_string(), claims.epoch))
            }
        }
    }

    fn has(&self, kind: AnchorKind, id: Uuid) -> bool {
        let names = self.by_kind.get(&kind);
        names.is_some_and(|names| {
            names.contains_key(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
        })
    }

    /// Whether a cut-off of this kind refuses what was decided at `decided_at` for `value`.
    #[must_use]
    pub fn cuts_off(&self, kind: AnchorKind, value: &str, decided_at: Epoch) -> bool {
        let cut_off = self.by_kind.get(&kind).and_then(|names| names.get(value));
        cut_off.is_some_and(|(epoch, _)| decided_at < *epoch)
    }
}

#[cfg(test)]
mod tests;
