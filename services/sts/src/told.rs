//! What an exchange turned out to be about: whoever looks for a session or a subject in the ledger finds what was refused
//! to it too, also when the refusal came before anything was decided.

use caracal_domain::Claims;
use caracal_domain::id::{AgentSessionId, SessionId};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The session that was presented.
    pub session_id: Option<SessionId>,
    /// Whose it is, or who signs in.
    pub subject_id: String,
    /// The agent session that the token is bound to.
    pub agent_session_id: Option<AgentSessionId>,
}

impl Told {
    /// By a token of ours that verified, whatever else is wrong with it.
    #[must_use]
    pub fn by_token(claims: &Claims) -> Self {
        Self {
            session_id: Some(claims.sid),
            subject_id: claims.sub.clone(),
            agent_session_id: claims.agent_session_id,
        }
    }

    /// By whoever signs in.
    #[must_use]
    pub fn by_sign_in(subject: String) -> Self {
        Self {
            session_id: None,
            subject_id: subject,
            agent_session_id: None,
        }
    }
}
