//! Agent sessions: the run-time units that act (contract §3).

use crate::claims::SubjectType;
use crate::clock::Timestamp;
use crate::id::{AgentSessionId, ApplicationId, SessionId};
use serde::{Deserialize, Serialize};

/// How an agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Does one thing and ends with its TTL.
    Task,
    /// Lives for as long as its heartbeat renews a lease.
    Service,
}

impl Lifecycle {
    /// The name stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Service => "service",
        }
    }
}

/// Where an agent stands: `active ⇄ suspended → terminated | expired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It may act.
    Active,
    /// It may not, for now.
    Suspended,
    /// It was ended.
    Terminated,
    /// Its time ran out.
    Expired,
}

/// The subject session an agent hangs on, as far as the agent lives by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectSession {
    /// Its id.
    pub id: SessionId,
    /// The session at the root of its line; itself when it has no parent.
    pub root_id: SessionId,
    /// Whose session it is: a user's or an application's.
    pub subject_type: SubjectType,
    /// Whose, by name.
    pub subject_id: String,
    /// When it ends by itself, and when its root does.
    pub ends_at: [Timestamp; 2],
    /// Whether it or its root was revoked.
    pub is_revoked: bool,
}

/// An agent session as a decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentSessionId,
    /// The application it belongs to.
    pub application_id: ApplicationId,
    /// The subject session it hangs on, if any.
    pub session: Option<SubjectSession>,
    /// How it lives.
    pub lifecycle: Lifecycle,
    /// Where it stands, as stored.
    pub status: AgentStatus,
    /// Its labels.
    pub labels: Vec<String>,
    /// When its TTL ends, swept or not.
    pub expires_at: Timestamp,
    /// When its lease ends; a service has one.
    pub lease_expires_at: Option<Timestamp>,
}

impl Agent {
    /// When it ends at the latest: with its TTL, with the session it hangs on, or with the root of that.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        let sessions = self.session.iter().flat_map(|session| session.ends_at);
        sessions.fold(self.expires_at, Timestamp::min)
    }

    /// Whether it may act at `now`. A TTL or a lease that has run out counts at once, before anybody swept it, and so
    /// does a session above it that expired or was revoked, whatever became of its anchor.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.status == AgentStatus::Active
            && now < self.ends_at()
            && self.lease_expires_at.is_none_or(|end| now < end)
            && self.session.as_ref().is_none_or(|session| !session.is_revoked)
    }

    /// Whether it may act for this user. One that hangs on a user's session acts for that user and for its application
    /// alone, and for no other user.
    #[must_use]
    pub fn may_act_for(&self, user: Option<&str>) -> bool {
        let of_user = |session: &&SubjectSession| session.subject_type == SubjectType::User;
        let session = self.session.as_ref().filter(of_user);
        session
            .zip(user)
            .is_none_or(|(session, user)| session.subject_id == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(seconds: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    fn session(is_revoked: bool) -> SubjectSession {
        SubjectSession {
            id: Uuid::from_u128(1).into(),
            root_id: Uuid::from_u128(2).into(),
            subject_type: SubjectType::User,
            subject_id: "ada".to_owned(),
            ends_at: [at(10), at(20)],
            is_revoked,
        }
    }

    #[test]
    fn an_agent_ends_with_the_session_it_hangs_on() {
        let mut agent = agent();
        assert!(agent.is_live(at(50)));
        agent.session = Some(session(false));
        assert!(agent.is_live(at(9)) && !agent.is_live(at(10)));
        assert_eq!(agent.ends_at(), at(10));
        let of_short_root = SubjectSession {
            ends_at: [at(10), at(5)],
            ..session(false)
        };
        agent.session = Some(of_short_root);
        assert!(agent.is_live(at(4)) && !agent.is_live(at(5)));
        agent.session = Some(session(true));
        assert!(!agent.is_live(at(4)));
    }

    #[test]
    fn an_agent_on_a_users_session_acts_for_no_other_user() {
        let mut agent = agent();
        assert!(agent.may_act_for(Some("bob")), "it hangs on nobody's");
        agent.session = Some(session(false));
        assert!(agent.may_act_for(Some("ada")) && agent.may_act_for(None));
        assert!(!agent.may_act_for(Some("bob")));
        let of_application = SubjectSession {
            subject_type: SubjectType::Application,
            ..session(false)
        };
        agent.session = Some(of_application);
        assert!(
            agent.may_act_for(Some("bob")),
            "an application's serves its users"
        );
    }

    fn agent() -> Agent {
        Agent {
            id: Uuid::from_u128(3).into(),
            application_id: Uuid::from_u128(4).into(),
            session: None,
            lifecycle: Lifecycle::Task,
            status: AgentStatus::Active,
            labels: vec![],
            expires_at: at(100),
            lease_expires_at: None,
        }
    }
}
