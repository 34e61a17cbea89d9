//! Agents, delegations and grants, read by id on first use into bounded caches (architecture, "Snapshot and caches").
//!
//! What is kept carries the epoch of the view it was read under. Whatever takes authority away draws an epoch, and a
//! view says since when its agents and edges are as they are; older readings are read again. While the feed is behind,
//! the view itself comes from the database, so the same comparison reads through. What does not permit anything, such as
//! an agent that is suspended or a lease that has run out, is never kept.

use crate::app::Sts;
use crate::error::Failure;
use crate::view::ZoneView;
use caracal_domain::agent::Agent;
use caracal_domain::delegation::Lineage;
use caracal_domain::id::{AgentSessionId, ApplicationId, DelegationEdgeId, GrantId, ResourceId, ZoneId};
use caracal_domain::{AnchorKind, Epoch, ScopeSet, Timestamp};
use moka::sync::Cache;
use std::sync::Arc;

const AGENTS: u64 = 100_000;
const LINEAGES: u64 = 50_000;
const GRANTS: u64 = 100_000;

/// What an application may do with a resource for a user.
#[derive(Debug)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// For which user.
    pub user_id: String,
    /// Of what.
    pub scopes: ScopeSet,
}

type GrantKey = (ZoneId, ApplicationId, ResourceId, String);

/// What was read, and under which view.
#[derive(Debug, Clone)]
struct Kept<T> {
    what: T,
    epoch: Epoch,
}

impl<T> Kept<T> {
    /// Whether what it says of this agent is still so, as far as that can be seen from here: a subject's sessions are cut
    /// off without a word of the agents that hang on them.
    fn holds_of(&self, agent: &Agent, view: &ZoneView) -> bool {
        agent.session.as_ref().is_none_or(|session| {
            let subject = &session.subject_id;
            !view.anchors.cuts_off(AnchorKind::Subject, subject, self.epoch)
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct Graph {
    agents: Cache<(ZoneId, AgentSessionId), Kept<Arc<Agent>>>,
    lineages: Cache<(ZoneId, DelegationEdgeId), Kept<Arc<Lineage>>>,
    grants: Cache<GrantKey, (Epoch, Option<Arc<Grant>>)>,
}

impl Default for Graph {
    fn default() -> Self {
        Self {
            agents: Cache::new(AGENTS),
            lineages: Cache::new(LINEAGES),
            grants: Cache::new(GRANTS),
        }
    }
}

impl Sts {
    /// The agent session, live or not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn agent(
        &self,
        view: &ZoneView,
        id: AgentSessionId,
        now: Timestamp,
    ) -> Result<Option<Arc<Agent>>, Failure> {
        let zone = view.zone.config.id;
        let kept = self.graph.agents.get(&(zone, id));
        if let Some(kept) = kept
            && kept.epoch >= view.graph_epoch
            && kept.what.is_live(now)
            && kept.holds_of(&kept.what, view)
        {
            return Ok(Some(kept.what));
        }
        let found = self
            .stored(async {
                let mut conn = self.database.acquire_in(zone).await?;
                caracal_storage::agents::find(&mut conn, zone, id).await
            })
            .await?;
        let found = found.map(Arc::new);
        if let Some(agent) = found.as_ref().filter(|agent| agent.is_live(now)) {
            self.graph
                .agents
                .insert((zone, id), kept_under(view, Arc::clone(agent)));
        }
        Ok(found)
    }

    /// The edge with everything above it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn lineage(
        &self,
        view: &ZoneView,
        id: DelegationEdgeId,
        now: Timestamp,
    ) -> Result<Option<Arc<Lineage>>, Failure> {
        let zone = view.zone.config.id;
        let kept = self.graph.lineages.get(&(zone, id));
        if let Some(kept) = kept
            && kept.epoch >= view.graph_epoch
            && kept.what.authority(now).is_ok()
            && kept.what.agents.values().all(|agent| kept.holds_of(agent, view))
        {
            return Ok(Some(kept.what));
        }
        let found = self
            .stored(async {
                let mut conn = self.database.acquire_in(zone).await?;
                caracal_storage::delegations::lineage(&mut conn, zone, id).await
            })
            .await?;
        let found = found.map(Arc::new);
        if let Some(lineage) = found.as_ref().filter(|lineage| lineage.authority(now).is_ok()) {
            self.graph
                .lineages
                .insert((zone, id), kept_under(view, Arc::clone(lineage)));
        }
        Ok(found)
    }

    /// The active grant of an application for a user on a resource. That there is none is kept too, until the zone's
    /// epoch moves: giving and revoking one both draw an epoch.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn grant(
        &self,
        view: &ZoneView,
        application: ApplicationId,
        user: &str,
        resource: ResourceId,
    ) -> Result<Option<Arc<Grant>>, Failure> {
        let zone = view.zone.config.id;
        let key = (zone, application, resource, user.to_owned());
        if let Some((at, grant)) = self.graph.grants.get(&key)
            && at >= view.epoch
        {
            return Ok(grant);
        }
        let found = self
            .stored(async {
                let mut conn = self.database.acquire_in(zone).await?;
                let row = caracal_storage::grants::find_active(&mut conn, zone, application, user, resource)
                    .await?;
                row.map(|row| {
                    Ok(Arc::new(Grant {
                        id: row.id,
                        scopes: row.scope_set()?,
                        user_id: row.user_id,
                    }))
                })
                .transpose()
            })
            .await?;
        self.graph.grants.insert(key, (view.epoch, found.clone()));
        Ok(found)
    }
}

fn kept_under<T>(view: &ZoneView, what: T) -> Kept<T> {
    Kept {
        what,
        epoch: view.epoch,
    }
}

/// Whether an anchor names the agent, or the session it hangs on, or the root of that.
#[must_use]
pub fn is_anchored(view: &ZoneView, agent: &Agent) -> bool {
    let session = agent.session.as_ref();
    view.anchors.holds(AnchorKind::AgentSessionId, agent.id.into())
        || session.is_some_and(|session| {
            view.anchors.holds(AnchorKind::Sid, session.id.into())
                || view.anchors.holds(AnchorKind::RootSid, session.root_id.into())
        })
}
