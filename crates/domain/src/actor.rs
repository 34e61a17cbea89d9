//! Who acts for the subject: the `act` claim (RFC 8693 §4.1).

use crate::claims::{Claims, SubjectType};
use crate::id::{AgentSessionId, ApplicationId, SessionId};
use serde::{Deserialize, Serialize};

/// How long a chain of actors may grow.
pub const MAX_ACTORS: usize = 8;

/// One actor and, within it, the one that acted before. It names the sessions it hangs on, so that ending one of them
/// ends every token it acts in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The actor by name.
    pub sub: String,
    /// What it is.
    pub sub_type: SubjectType,
    /// The application whose session it shows.
    pub client_id: ApplicationId,
    /// That session.
    pub sid: SessionId,
    /// The session at the root of that one.
    pub root_sid: SessionId,
    /// The agent session it is bound to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agent_session_id: Option<AgentSessionId>,
    /// Who acted before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub act: Option<Box<Self>>,
}

impl Actor {
    /// The holder of a session as the next actor after `before`.
    #[must_use]
    pub fn of(session: &Claims, before: Option<Box<Self>>) -> Self {
        Self {
            sub: session.sub.clone(),
            sub_type: session.sub_type,
            client_id: session.client_id,
            sid: session.sid,
            root_sid: session.root_sid,
            agent_session_id: session.agent_session_id,
            act: before,
        }
    }

    /// This actor and those before it, newest first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |actor| actor.act.as_deref())
    }
}
