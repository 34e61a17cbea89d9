//! Revocation as a negative list: each anchor is kept until the last token that could name it has expired.

use crate::claims::Claims;
use crate::clock::Timestamp;
use crate::epoch::Epoch;
use crate::id::SigningKeyId;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
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

/// In how many parts a list is kept: adding to a copy copies one of them.
const SHARDS: usize = 256;

/// The negative list of one zone. It only ever grows by [`AnchorSet::insert`] and shrinks by [`AnchorSet::expire`]. A
/// copy shares everything with its original until one of them changes, and then all but what changed.
#[derive(Debug, Clone, Default)]
pub struct AnchorSet {
    /// None, or [`SHARDS`] of them.
    shards: Vec<Arc<Shard>>,
    len: usize,
}

type Shard = HashMap<AnchorKind, HashMap<String, (Epoch, Timestamp)>>;

impl AnchorSet {
    /// Adds an anchor. Of two with the same name the later epoch and the later expiry hold.
    pub fn insert(&mut self, anchor: Anchor) {
        if self.shards.is_empty() {
            self.shards = vec![Arc::default(); SHARDS];
        }
        let Some(shard) = self.shards.get_mut(shard_of(&anchor.value)) else {
            return;
        };
        let names = Arc::make_mut(shard).entry(anchor.kind).or_default();
        let before = names.len();
        let entry = names
            .entry(anchor.value)
            .or_insert((anchor.epoch, anchor.expires_at));
        entry.0 = entry.0.max(anchor.epoch);
        entry.1 = entry.1.max(anchor.expires_at);
        self.len += names.len() - before;
    }

    /// Drops what no living token can name any more.
    pub fn expire(&mut self, now: Timestamp) {
        let over = |(_, expires_at): &(Epoch, Timestamp)| *expires_at <= now;
        for shard in &mut self.shards {
            if shard.values().any(|names| names.values().any(over)) {
                Arc::make_mut(shard).retain(|_, names| {
                    names.retain(|_, entry| !over(entry));
                    !names.is_empty()
                });
            }
        }
        self.len = self.shards.iter().map(|shard| anchors_in(shard)).sum();
        if self.len == 0 {
            self.shards.clear();
        }
    }

    /// How many anchors are held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first anchor that refuses a token with these claims, signed by `kid`.
    #[must_use]
    pub fn refuses(&self, claims: &Claims, kid: SigningKeyId) -> Option<AnchorKind> {
        if self.is_empty() {
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
        let mut buffer = Uuid::encode_buffer();
        self.named(kind, id.hyphenated().encode_lower(&mut buffer))
            .is_some()
    }

    /// Whether a cut-off of this kind refuses what was decided at `decided_at` for `value`.
    #[must_use]
    pub fn cuts_off(&self, kind: AnchorKind, value: &str, decided_at: Epoch) -> bool {
        let cut_off = self.named(kind, value);
        cut_off.is_some_and(|(epoch, _)| decided_at < *epoch)
    }

    fn named(&self, kind: AnchorKind, value: &str) -> Option<&(Epoch, Timestamp)> {
        self.shards.get(shard_of(value))?.get(&kind)?.get(value)
    }
}

/// Where a name is kept. It need not be hard to foresee: a crowded shard only makes adding to it slower.
fn shard_of(value: &str) -> usize {
    let mixed = value
        .bytes()
        .fold(0_u8, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(byte));
    usize::from(mixed)
}

fn anchors_in(shard: &Shard) -> usize {
    shard.values().map(HashMap::len).sum()
}

#[cfg(test)]
mod tests;
