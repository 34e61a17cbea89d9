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
use caracal_storage::sessions::{self, EndedSession, Whose};
use caracal_storage::{Conn, anchors};
use chrono::TimeDelta;
use std::fmt::Display;

/// No token lives longer: a session token an hour, and what is minted under it no longer than that; an agent a day.
const LONGEST_TOKEN: TimeDelta = TimeDelta::hours(24);

/// One takes 72 bytes, or as many more as a subject's name is long (512); NATS carries a mebibyte.
const ANCHORS_OF_MESSAGE: usize = 1000;

/// Names to refuse, and until when.
type Named = Vec<(AnchorKind, String, Timestamp)>;

/// What ended as rows, and is still to be announced.
#[derive(Debug, Default)]
#[must_use = "rows that ended without their anchors leave tokens good"]
pub(crate) struct Ending {
    sessions: Vec<EndedSession>,
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
    /// Ends every session of a subject, and what lies below them, agents included.
    pub(crate) async fn end_sessions_of(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        subject: &str,
    ) -> Result<Ending, Failure> {
        let cut_off = (AnchorKind::Subject, subject.to_owned(), self.last_expiry());
        let ended = end_sessions(tx, by, zone, Whose::Subject(subject), cut_off).await?;
        let agents = end_agents(tx, by, zone, Holding::Sessions(&ids(&ended.sessions))).await?;
        Ok(ended.and(agents))
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
        let agents = end_agents(tx, by, zone, Holding::Subject(subject)).await?;
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
        let held = ids(&ended.sessions);
        let agents = end_agents(tx, by, zone, Holding::Application(application, &held)).await?;
        Ok(ended.and(agents))
    }

    /// Ends the agents that hang on sessions that have just ended, with all they spawned, and the edges that touch those.
    pub(crate) async fn end_agents_on(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        sessions: &[SessionId],
    ) -> Result<Ending, Failure> {
        end_agents(tx, by, zone, Holding::Sessions(sessions)).await
    }

    /// Adds the anchors of what ended with this deed, announces and records them; the last epoch drawn, if one was. The
    /// zone's row is locked from here on.
    pub(crate) async fn announce(
        &self,
        tx: &mut Conn,
        by: &By,
        (zone, cause): (ZoneId, &'static str),
        ending: Ending,
    ) -> Result<Option<Epoch>, Failure> {
        let sessions = |anchors| FeedBody::SessionsRevoked { anchors };
        let agents = |anchors| FeedBody::AgentsEnded { anchors };
        let edges = |anchors| FeedBody::DelegationsRevoked { anchors };
        let first = self.refuse(tx, by, zone, ending.of_sessions, sessions).await?;
        let second = self.refuse(tx, by, zone, ending.agents, agents).await?;
        let third = self.refuse(tx, by, zone, ending.edges, edges).await?;
        self.note_ended(tx, by, (zone, cause), &ending.sessions).await?;
        Ok(third.or(second).or(first))
    }

    /// Draws an epoch, adds the anchors at it and announces them, so many at a time as a message carries; without any,
    /// nothing happens.
    pub(crate) async fn refuse(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
        named: Named,
        body: impl Fn(Vec<Anchor>) -> FeedBody,
    ) -> Result<Option<Epoch>, Failure> {
        let mut last = None;
        for some in named.chunks(ANCHORS_OF_MESSAGE) {
            let change = Change::draw(tx, &*self.clock, zone, by).await?;
            let mut drawn = Vec::with_capacity(some.len());
            for (kind, value, expires_at) in some {
                let anchor = Anchor {
                    kind: *kind,
                    value: value.clone(),
                    epoch: change.epoch,
                    expires_at: *expires_at,
                };
                anchors::insert(tx, zone, &anchor).await?;
                drawn.push(anchor);
            }
            last = Some(change.announce(tx, body(drawn)).await?);
        }
        Ok(last)
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
    let of_sessions = std::iter::once(cut_off).chain(beyond).collect();
    Ok(Ending {
        of_sessions,
        sessions: ended,
        ..Ending::default()
    })
}

fn ids(ended: &[EndedSession]) -> Vec<SessionId> {
    ended.iter().map(|session| session.id).collect()
}

/// By what agents are held that are to end.
#[derive(Clone, Copy)]
enum Holding<'a> {
    /// By one of these sessions.
    Sessions(&'a [SessionId]),
    /// By any session of the subject. Who acts for itself is an application: then by that too.
    Subject(&'a str),
    /// By the application, or by one of these sessions.
    Application(ApplicationId, &'a [SessionId]),
}

async fn end_agents(tx: &mut Conn, by: &By, zone: ZoneId, held: Holding<'_>) -> Result<Ending, Failure> {
    let (application, subject, sessions) = match held {
        Holding::Sessions(sessions) => (None, None, sessions),
        Holding::Subject(subject) => (subject.parse().ok(), Some(subject), &[][..]),
        Holding::Application(application, sessions) => (Some(application), None, sessions),
    };
    let agents = endings::terminate_agents(tx, zone, application, subject, sessions, &by.name()).await?;
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
