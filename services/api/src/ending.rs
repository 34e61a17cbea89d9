//! How authority ends: the rows, the anchors that every replica refuses by, and the messages that carry them, all in
//! the caller's transaction. Sessions end by one cut-off for a subject or an application, whatever their number; those of
//! others that lie below them, agents and edges by one anchor each.
//!
//! Rows first, the zone's epoch last, as every writer has it: so no two of them wait for each other. A session that
//! comes to be meanwhile has a smaller epoch than the cut-off, so its tokens are refused all the same.

use crate::app::Api;
use crate::change::{By, Change};
use crate::error::Failure;
use caracal_domain::id::{ApplicationId, SessionId, ZoneId};
use caracal_domain::{Anchor, AnchorKind, Epoch, FeedBody, Timestamp};
use caracal_storage::endings::{self, Ended};
use caracal_storage::sessions::{self, Whose};
use caracal_storage::{Conn, anchors};
use chrono::TimeDelta;
use std::fmt::Display;

/// No token lives longer: a session token an hour, and what is minted under it no longer than that; an agent a day.
const LONGEST_TOKEN: TimeDelta = TimeDelta::hours(24);

/// Names to refuse, and until when.
type Named = Vec<(AnchorKind, String, Timestamp)>;

/// What ended as rows, and is still to be announced.
#[derive(Debug, Default)]
#[must_use = "rows that ended without their anchors leave tokens good"]
pub(crate) struct Ending {
    sessions: Vec<SessionId>,
    of_sessions: Named,
    agents: Named,
    edges: Named,
}

impl Ending {
    /// How many sessions.
    pub(crate) const fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many agents.
    pub(crate) const fn agents(&self) -> usize {
        self.agents.len()
    }

    /// How many delegation edges.
    pub(crate) const fn edges(&self) -> usize {
        self.edges.len()
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.sessions.extend(other.sessions);
        self.of_sessions.extend(other.of_sessions);
        self.agents.extend(other.agents);
        self.edges.extend(other.edges);
        self
    }
}

impl Api {
    /// Ends every session of a subject, and what lies below them.
    pub(crate) async fn end_sessions_of(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        subject: &str,
    ) -> Result<Ending, Failure> {
        let cut_off = (AnchorKind::Subject, subject.to_owned(), self.last_expiry());
        end_sessions(tx, by, zone, Whose::Subject(subject), cut_off).await
    }

    /// Ends a subject's sessions, the agents bound to them with all they spawned, and the edges that touch those. A
    /// subject may be an application acting for itself: then its own agents end too.
    pub(crate) async fn end_subject(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        subject: &str,
    ) -> Result<Ending, Failure> {
        let ended = self.end_sessions_of(tx, by, zone, subject).await?;
        let agents = end_agents(tx, by, zone, subject.parse().ok(), Some(subject), &ended).await?;
        Ok(ended.and(agents))
    }

    /// Ends an application's sessions, its agents with all they spawned, and the edges that touch those.
    pub(crate) async fn end_holder(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        application: ApplicationId,
    ) -> Result<Ending, Failure> {
        let cut_off = (
            AnchorKind::Application,
            application.to_string(),
            self.last_expiry(),
        );
        let ended = end_sessions(tx, by, zone, Whose::Application(application), cut_off).await?;
        let agents = end_agents(tx, by, zone, Some(application), None, &ended).await?;
        Ok(ended.and(agents))
    }

    /// Adds the anchors of what ended, and announces them. The zone's row is locked from here on.
    pub(crate) async fn announce(&self, tx: &mut Conn, zone: ZoneId, ending: Ending) -> Result<(), Failure> {
        self.refuse(tx, zone, ending.of_sessions, |anchors| {
            FeedBody::SessionsRevoked { anchors }
        })
        .await?;
        self.refuse(tx, zone, ending.agents, |anchors| FeedBody::AgentsEnded {
            anchors,
        })
        .await?;
        self.refuse(tx, zone, ending.edges, |anchors| FeedBody::DelegationsRevoked {
            anchors,
        })
        .await?;
        Ok(())
    }

    /// Draws an epoch, adds the anchors at it and announces them; without any, nothing happens.
    pub(crate) async fn refuse(
        &self,
        tx: &mut Conn,
        zone: ZoneId,
        named: Named,
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

/// The rows, and beside the cut-off of those meant an anchor for each that it does not reach.
async fn end_sessions(
    tx: &mut Conn,
    by: &By,
    zone: ZoneId,
    whose: Whose<'_>,
    cut_off: (AnchorKind, String, Timestamp),
) -> Result<Ending, Failure> {
    let ended = sessions::end(tx, zone, whose, &by.name()).await?;
    let beyond = ended.iter().flat_map(|session| session.anchors(whose));
    Ok(Ending {
        of_sessions: std::iter::once(cut_off).chain(beyond).collect(),
        sessions: ended.iter().map(|session| session.id).collect(),
        ..Ending::default()
    })
}

/// Agents of the application, or that act in a session of the subject or in one that has just ended.
async fn end_agents(
    tx: &mut Conn,
    by: &By,
    zone: ZoneId,
    application: Option<ApplicationId>,
    subject: Option<&str>,
    ended: &Ending,
) -> Result<Ending, Failure> {
    let agents =
        endings::terminate_agents(tx, zone, application, subject, &ended.sessions, &by.name()).await?;
    let edges = endings::revoke_edges(tx, zone, &agents, &by.name()).await?;
    Ok(Ending {
        agents: named(AnchorKind::AgentSessionId, &agents),
        edges: named(AnchorKind::DelegationEdgeId, &edges),
        ..Ending::default()
    })
}

fn named<I: Display>(kind: AnchorKind, ended: &[Ended<I>]) -> Named {
    ended
        .iter()
        .map(|one| (kind, one.id.to_string(), one.expires_at))
        .collect()
}
