//! Agent sessions: the run-time units that act (contract §3).

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

/// An agent session as a decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentSessionId,
    /// The application it belongs to.
    pub application_id: ApplicationId,
    /// The subject session it hangs on, if any.
    pub session_id: Option<SessionId>,
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
    /// Whether it may act at `now`. A TTL or a lease that has run out counts at once, before anybody swept it.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.status == AgentStatus::Active
            && now < self.expires_at
            && self.lease_expires_at.is_none_or(|end| now < end)
    }
}
