//! As whom the caller acts: an agent session of its own, and perhaps under a delegation, each hop of which is checked
//! again at every mint (contract §2, "Order": agent session → delegation).

use crate::app::Sts;
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::graph::is_anchored;
use crate::view::ZoneView;
use caracal_domain::agent::Agent;
use caracal_domain::delegation::{Bounds, Edge, Lineage};
use caracal_domain::id::DelegationEdgeId;
use caracal_domain::zone::{Application, Resource};
use caracal_domain::{AnchorKind, Claims, Refusal, ResourceIdentifier, ScopeSet, Timestamp};
use std::sync::Arc;

/// See the module. Without an agent the application acts as itself.
#[derive(Debug, Clone, Default)]
pub struct Acting {
    /// The agent session.
    pub agent: Option<Arc<Agent>>,
    /// What it redeems.
    pub delegation: Option<Delegation>,
}

/// A delegation whose hops all hold.
#[derive(Debug, Clone)]
pub struct Delegation {
    /// Every hop.
    pub lineage: Arc<Lineage>,
    /// The edge that is redeemed.
    pub leaf: Edge,
    /// Where the authority comes from.
    pub root: Edge,
    /// Whose authority it is: the application that handed on the root edge.
    pub issuer: Arc<Application>,
    /// What is left of it here.
    pub authority: Bounds,
}

impl Acting {
    /// The scopes handed on, if any are.
    #[must_use]
    pub fn scopes(&self) -> Option<&ScopeSet> {
        self.delegation
            .as_ref()
            .map(|delegation| &delegation.authority.scopes)
    }

    /// How long a token may live, by the agent, the edge, and what the edge says of lifetimes; each with what it is when
    /// nothing is left of it.
    pub fn limits(&self, now: Timestamp) -> impl Iterator<Item = (i64, Refusal)> {
        let until = move |end: Timestamp| (end - now).num_seconds();
        let agent = self.agent.as_ref();
        let agent = agent.map(|agent| (until(agent.ends_at()), Refusal::AgentNotLive));
        let edge = self.delegation.as_ref().map(|delegation| {
            let ttl = delegation.authority.ttl_seconds.map_or(i64::MAX, i64::from);
            let left = until(delegation.authority.expires_at).min(ttl);
            (left, Refusal::DelegationExpired)
        });
        agent.into_iter().chain(edge)
    }

    /// Whether the delegation, if there is one, lets these scopes at this resource through.
    ///
    /// # Errors
    /// The first bound it breaks.
    pub fn within_bounds(
        &self,
        scopes: &ScopeSet,
        name: &ResourceIdentifier,
        resource: &Resource,
        method: Option<&str>,
    ) -> Result<(), Refusal> {
        let Some(Delegation { authority, .. }) = &self.delegation else {
            return Ok(());
        };
        let rules = [
            (scopes.is_subset(&authority.scopes), Refusal::DelegationScopes),
            (authority.affords(scopes), Refusal::DelegationBudget),
            (authority.covers(name, resource), Refusal::DelegationResource),
            (
                method.is_none_or(|method| authority.permits(method)),
                Refusal::ActionNotAllowed,
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, refusal)) => Err(refusal),
            None => Ok(()),
        }
    }

    /// The same claims with what a token says of the agent and the delegation.
    #[must_use]
    pub fn claim(&self, claims: Claims) -> Claims {
        let claims = Claims {
            agent_session_id: self.agent.as_ref().map(|agent| agent.id),
            ..claims
        };
        let Some(delegation) = &self.delegation else {
            return claims;
        };
        let actions = delegation.authority.actions.iter().flatten();
        Claims {
            delegation_edge_id: Some(delegation.leaf.id),
            source_session_id: Some(delegation.leaf.source_session_id),
            target_session_id: Some(delegation.leaf.target_session_id),
            delegation_path: delegation.leaf.path.clone(),
            delegation_chain: delegation.lineage.chain(),
            hop_count: u32::try_from(delegation.leaf.path.len()).ok(),
            delegation_graph_epoch: Some(delegation.lineage.graph_epoch),
            actions: actions.cloned().collect(),
            ..claims
        }
    }
}

impl Sts {
    /// Establishes as whom `application` acts: the agent it names, or the one its session is bound to.
    ///
    /// # Errors
    /// `access_denied` when the agent or the edge is not the caller's to use, or not live.
    pub async fn acting(
        &self,
        view: &Arc<ZoneView>,
        application: &Application,
        session: Option<&Claims>,
        user: Option<&str>,
        exchange: &Exchange,
    ) -> Result<Acting, Failure> {
        let asked = exchange.request.agent_session_id;
        let edge = exchange.request.delegation_edge_id;
        let bound = session.and_then(|claims| claims.agent_session_id);
        if bound.is_some() && asked.is_some() && bound != asked {
            return Err(Refusal::AgentNotUsable.into());
        }
        let Some(id) = asked.or(bound) else {
            return match edge {
                Some(_) => Err(Refusal::AgentSessionMissing.into()),
                None => Ok(Acting::default()),
            };
        };
        let agent = self.agent(view, id, exchange.now).await?;
        let agent = agent
            .filter(|agent| agent.application_id == application.id && agent.may_act_for(user))
            .ok_or(Refusal::AgentNotUsable)?;
        if !agent.is_live(exchange.now) || is_anchored(view, &agent) {
            return Err(Refusal::AgentNotLive.into());
        }
        let delegation = match edge {
            Some(edge) => Some(self.redeem(view, &agent, edge, exchange.now).await?),
            None => None,
        };
        Ok(Acting {
            agent: Some(agent),
            delegation,
        })
    }

    /// The target redeems an edge, and nobody else.
    async fn redeem(
        &self,
        view: &Arc<ZoneView>,
        agent: &Agent,
        edge: DelegationEdgeId,
        now: Timestamp,
    ) -> Result<Delegation, Failure> {
        let lineage = self.lineage(view, edge, now).await?;
        let lineage = lineage.ok_or(Refusal::DelegationNotFound)?;
        let ends = lineage.leaf().zip(lineage.root());
        let (leaf, root) = ends.ok_or(Refusal::DelegationNotFound)?;
        if leaf.id != edge || leaf.target_session_id != agent.id {
            return Err(Refusal::DelegationNotFound.into());
        }
        let authority = lineage.authority(now)?;
        let view = self.knowing_all(view, &lineage).await;
        self.refuse_anchored(&view, &lineage)?;
        let issuer = self.live(&view, root.issuer_application_id);
        let issuer = issuer.ok_or(Refusal::DelegatorNotAuthorized)?;
        let (leaf, root) = (leaf.clone(), root.clone());
        Ok(Delegation {
            lineage,
            leaf,
            root,
            issuer,
            authority,
        })
    }

    /// A view that knows every application on the way, if the database does: an agent and an edge are read from there, so
    /// they may be newer than the view, and so may whoever made them.
    async fn knowing_all(&self, view: &Arc<ZoneView>, lineage: &Lineage) -> Arc<ZoneView> {
        let mut agents = lineage.agents.values();
        if agents.all(|agent| self.live(view, agent.application_id).is_some()) {
            Arc::clone(view)
        } else {
            self.zones.confirmed(view).await
        }
    }

    /// What was kept may be older than the latest anchors; and every application on the way must still be there.
    fn refuse_anchored(&self, view: &ZoneView, lineage: &Lineage) -> Result<(), Refusal> {
        let edge_ended = |edge: &Edge| view.anchors.holds(AnchorKind::DelegationEdgeId, edge.id.into());
        if lineage.edges.iter().any(edge_ended) {
            return Err(Refusal::DelegationRevoked);
        }
        let agent_gone =
            |agent: &Agent| is_anchored(view, agent) || self.live(view, agent.application_id).is_none();
        if lineage.agents.values().any(agent_gone) {
            return Err(Refusal::AgentNotLive);
        }
        Ok(())
    }
}
