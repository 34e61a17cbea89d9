//! How authority ends: the rows, the anchors that every replica refuses by, and the messages that carry them, all in
//! the caller's transaction. Sessions end by one cut-off each for a subject or an application, whatever their number;
//! agents and edges by one anchor each.

use crate::app::Api;
use crate::change::{By, Change};
use crate::error::Failure;
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::{Anchor, AnchorKind, Epoch, FeedBody, Timestamp};
use caracal_storage::endings::{self, Ended};
use caracal_storage::{Conn, anchors, sessions};
use chrono::TimeDelta;
use std::fmt::Display;

/// No token lives longer: a session token an hour, and what is minted under it no longer than that; an agent a day.
const LONGEST_TOKEN: TimeDelta = TimeDelta::hours(24);

/// How much ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Toll {
    pub(crate) sessions: usize,
    pub(crate) agents: usize,
    pub(crate) edges: usize,
}

impl Api {
    /// Ends every session of a subject and whatever was decided for it before now.
    pub(crate) async fn end_sessions_of(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        subject: &str,
    ) -> Result<usize, Failure> {
        let cut_off = (AnchorKind::Subject, subject.to_owned(), self.last_expiry());
        self.refuse(tx, zone, vec![cut_off], |anchors| FeedBody::SessionsRevoked { anchors })
            .await?;
        Ok(sessions::revoke_of_subject(tx, zone, subject, &by.name()).await?)
    }

    /// Ends a subject's sessions, the agents bound to them with all they spawned, and the edges that touch those. A
    /// subject may be an application acting for itself: then its own agents end too.
    pub(crate) async fn end_subject(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        subject: &str,
    ) -> Result<Toll, Failure> {
        let ended = self.end_sessions_of(tx, by, zone, subject).await?;
        let toll = self
            .end_agents(tx, by, zone, subject.parse().ok(), Some(subject))
            .await?;
        Ok(Toll {
            sessions: ended,
            ..toll
        })
    }

    /// Ends an application's sessions, agents and edges, and whatever was decided for it before now.
    pub(crate) async fn end_holder(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        application: ApplicationId,
    ) -> Result<Toll, Failure> {
        let cut_off = (AnchorKind::Application, application.to_string(), self.last_expiry());
        self.refuse(tx, zone, vec![cut_off], |anchors| FeedBody::SessionsRevoked { anchors })
            .await?;
        let ended = sessions::revoke_of_application(tx, zone, application, &by.name()).await?;
        let toll = self.end_agents(tx, by, zone, Some(application), None).await?;
        Ok(Toll {
            sessions: ended,
            ..toll
        })
    }

    async fn end_agents(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        application: Option<ApplicationId>,
        subject: Option<&str>,
    ) -> Result<Toll, Failure> {
        let agents = endings::terminate_agents(tx, zone, application, subject, &by.name()).await?;
        let edges = endings::revoke_edges(tx, zone, &agents, &by.name()).await?;
        let named = of(AnchorKind::AgentSessionId, &agents);
        self.refuse(tx, zone, named, |anchors| FeedBody::AgentsEnded { anchors })
            .await?;
        let named = of(AnchorKind::DelegationEdgeId, &edges);
        self.refuse(tx, zone, named, |anchors| FeedBody::DelegationsRevoked { anchors })
            .await?;
        Ok(Toll {
            sessions: 0,
            agents: agents.len(),
            edges: edges.len(),
        })
    }

    /// Draws an epoch, adds the anchors at it and announces them; nothing happens without any. The zone's row is locked
    /// from here on, so a decision of an older epoch cannot outrun the anchors.
    pub(crate) async fn refuse(
        &self,
        tx: &mut Conn,
        zone: ZoneId,
        named: Vec<(AnchorKind, String, Timestamp)>,
        body: impl FnOnce(Vec<Anchor>) -> FeedBody,
    ) -> Result<Option<Epoch>, Failure> {
        if named.is_empty() {
            return Ok(None);
        }
        let change = Change::draw(tx, &*self.clock, zone).await?;
        let mut drawn = Vec::with_capacity(named.len());
        for (kind, value, expires_at) in named {
            let anchor = Anchor {
                kind,
                value,
                epoch: change.epoch,
                expires_at,
            };
            anchors::insert(tx, zone, &anchor).await?;
            drawn.push(anchor);
        }
        Ok(Some(change.announce(tx, body(drawn)).await?))
    }

    /// When the last token that is out now has expired.
    pub(crate) fn last_expiry(&self) -> Timestamp {
        self.clock.now() + LONGEST_TOKEN
    }
}

fn of<I: Display>(kind: AnchorKind, ended: &[Ended<I>]) -> Vec<(AnchorKind, String, Timestamp)> {
    ended
        .iter()
        .map(|one| (kind, one.id.to_string(), one.expires_at))
        .collect()
}
