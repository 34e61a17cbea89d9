//! Delegation: what an edge hands on, that a child is never more than its parent, and what a whole path is worth.
//!
//! [`Bounds::hand_on`] is how an edge comes to be and [`Lineage::authority`] is what is left of one at each mint; both
//! can only narrow (see the property tests).

mod bounds;

pub use bounds::{BeyondParent, Bounds, Constraints, Dimension, Wish};

use crate::agent::Agent;
use crate::claims::DelegationHop;
use crate::clock::Timestamp;
use crate::id::{AgentSessionId, ApplicationId, DelegationEdgeId};
use crate::refusal::Refusal;
use serde_json::Value;
use std::collections::HashMap;

/// A bounded transfer of authority from one agent session to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Its id.
    pub id: DelegationEdgeId,
    /// The agent session that hands on.
    pub source_session_id: AgentSessionId,
    /// The agent session that receives.
    pub target_session_id: AgentSessionId,
    /// The application of the source.
    pub issuer_application_id: ApplicationId,
    /// The application of the target.
    pub receiver_application_id: ApplicationId,
    /// The edge it was handed on under; a root has none.
    pub parent_edge_id: Option<DelegationEdgeId>,
    /// Every edge from the root to this one.
    pub path: Vec<DelegationEdgeId>,
    /// What it hands on.
    pub bounds: Bounds,
    /// Its bounds as stored, for policy to read.
    pub constraints_json: Value,
    /// How often it was changed.
    pub edge_version: i64,
    /// The graph's epoch when it was made.
    pub graph_epoch: i64,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// An edge with everything above it, and every agent on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Lineage {
    /// Root to leaf; never empty.
    pub edges: Vec<Edge>,
    /// The agents at their ends.
    pub agents: HashMap<AgentSessionId, Agent>,
    /// The graph's epoch when this was read.
    pub graph_epoch: i64,
}

impl Lineage {
    /// The edge that is redeemed.
    #[must_use]
    pub fn leaf(&self) -> Option<&Edge> {
        self.edges.last()
    }

    /// The edge at the beginning: its issuer is where the authority comes from.
    #[must_use]
    pub fn root(&self) -> Option<&Edge> {
        self.edges.first()
    }

    /// Each hop root to leaf as it received: the root without an edge, each later one with the edge that reached it.
    #[must_use]
    pub fn chain(&self) -> Vec<DelegationHop> {
        let root = self.root().map(|edge| DelegationHop {
            application_id: edge.issuer_application_id,
            agent_session_id: edge.source_session_id,
            delegation_edge_id: None,
        });
        let received = self.edges.iter().map(|edge| DelegationHop {
            application_id: edge.receiver_application_id,
            agent_session_id: edge.target_session_id,
            delegation_edge_id: Some(edge.id),
        });
        root.into_iter().chain(received).collect()
    }

    /// What the leaf is worth at `now`: every hop is checked again, and the result is within each of them. It ends with the
    /// first of the agents on the way, since an edge dies with either end.
    ///
    /// # Errors
    /// What is wrong with the first hop that does not hold, root first.
    pub fn authority(&self, now: Timestamp) -> Result<Bounds, Refusal> {
        let mut authority: Option<Bounds> = None;
        for (place, edge) in self.edges.iter().enumerate() {
            self.refuse_dead(edge, now)?;
            self.refuse_broken(place, edge)?;
            let hops_from_here = self.edges.len() - place;
            if usize::from(edge.bounds.max_hops) < hops_from_here {
                return Err(Refusal::DelegationTooLong);
            }
            authority = Some(match authority {
                None => edge.bounds.clone(),
                Some(above) => {
                    edge.bounds
                        .is_within(&above)
                        .map_err(|_| Refusal::DelegationExceedsParent)?;
                    above.meet(&edge.bounds)
                }
            });
        }
        let authority = authority.ok_or(Refusal::DelegationNotFound)?;
        let ends = self
            .edges
            .iter()
            .flat_map(|edge| [edge.source_session_id, edge.target_session_id]);
        let ends = ends
            .filter_map(|agent| self.agents.get(&agent))
            .map(Agent::ends_at);
        Ok(Bounds {
            expires_at: ends.fold(authority.expires_at, Timestamp::min),
            ..authority
        })
    }

    fn refuse_dead(&self, edge: &Edge, now: Timestamp) -> Result<(), Refusal> {
        if edge.revoked {
            return Err(Refusal::DelegationRevoked);
        }
        if edge.bounds.expires_at <= now {
            return Err(Refusal::DelegationExpired);
        }
        let live = |id| self.agents.get(id).is_some_and(|agent| agent.is_live(now));
        if live(&edge.source_session_id) && live(&edge.target_session_id) {
            Ok(())
        } else {
            Err(Refusal::AgentNotLive)
        }
    }

    /// Whether the edge continues the one before it, and each end is of the application it says.
    fn refuse_broken(&self, place: usize, edge: &Edge) -> Result<(), Refusal> {
        let above = place.checked_sub(1).and_then(|above| self.edges.get(above));
        let continues = match above {
            None => edge.parent_edge_id.is_none(),
            Some(above) => {
                edge.parent_edge_id == Some(above.id)
                    && edge.source_session_id == above.target_session_id
                    && edge.issuer_application_id == above.receiver_application_id
            }
        };
        let of = |agent: &AgentSessionId| self.agents.get(agent).map(|agent| agent.application_id);
        let owned = of(&edge.source_session_id) == Some(edge.issuer_application_id)
            && of(&edge.target_session_id) == Some(edge.receiver_application_id);
        let path = self.edges.iter().take(place + 1).map(|edge| edge.id);
        if continues && owned && edge.path.iter().copied().eq(path) {
            Ok(())
        } else {
            Err(Refusal::DelegationBroken)
        }
    }
}

#[cfg(test)]
mod tests;
