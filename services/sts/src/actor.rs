//! Who acts for the subject: a session token of the same zone, of an application or one of its agents (RFC 8693 §4.1).
//!
//! An actor adds nothing to what may be granted. It is named in the token, policy sees it, and the token ends with it.

use crate::app::Sts;
use crate::error::Failure;
use crate::graph::is_anchored;
use crate::view::ZoneView;
use caracal_domain::actor::MAX_ACTORS;
use caracal_domain::id::AgentSessionId;
use caracal_domain::{Actor, Claims, Refusal, SubjectType, TokenUse};
use caracal_jose::Verified;
use secrecy::{ExposeSecret, SecretString};

/// Who acts for the subject, if anyone does.
#[derive(Debug, Default)]
pub struct Acts {
    /// The actor's own session.
    pub by: Option<Verified>,
    /// What the token will say: whoever acts now, and whoever did before.
    pub act: Option<Box<Actor>>,
}

impl Acts {
    /// What the actor's session says.
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        self.by.as_ref().map(Verified::claims)
    }
}

impl Sts {
    /// The token of whoever acts, if one is shown: a session of this zone.
    ///
    /// # Errors
    /// An `invalid_grant` refusal when it is none.
    pub(crate) fn shown_actor(
        &self,
        view: &ZoneView,
        token: Option<&SecretString>,
    ) -> Result<Option<Verified>, Refusal> {
        let Some(token) = token else {
            return Ok(None);
        };
        let verified = self.verify(view, token.expose_secret()).map_err(of_actor)?;
        match verified.claims().token_use {
            TokenUse::Session => Ok(Some(verified)),
            TokenUse::Resource => Err(Refusal::ActorTokenWrongUse),
        }
    }

    /// Whether its holder may act for others.
    ///
    /// # Errors
    /// An `invalid_grant` refusal when it is not a live session of an application.
    pub(crate) async fn may_act(&self, view: &ZoneView, actor: &Verified) -> Result<(), Failure> {
        let claims = actor.claims();
        if claims.sub_type != SubjectType::Application {
            return Err(Refusal::ActorTokenWrongUse.into());
        }
        if view.anchors.refuses(claims, actor.kid()).is_some() || self.live(view, claims.client_id).is_none()
        {
            return Err(Refusal::ActorRevoked.into());
        }
        match claims.agent_session_id {
            Some(agent) => self.live_agent(view, agent).await,
            None => Ok(()),
        }
    }

    /// Who acts as an agent acts only while that agent may.
    async fn live_agent(&self, view: &ZoneView, agent: AgentSessionId) -> Result<(), Failure> {
        let now = self.clock.now();
        let agent = self.agent(view, agent, now).await?;
        let live = agent.filter(|agent| agent.is_live(now) && !is_anchored(view, agent));
        live.map(|_| ()).ok_or_else(|| Refusal::ActorNotActive.into())
    }
}

/// The `act` claim: the actor, and within it whoever acted for the subject before. The subject is who asks: as an agent,
/// if it asks as one.
///
/// # Errors
/// [`Refusal::ActorIsSubject`] or [`Refusal::ActorChainTooLong`].
pub fn act_claim(
    actor: Option<&Claims>,
    subject: &str,
    subject_agent: Option<AgentSessionId>,
    before: Option<&Actor>,
) -> Result<Option<Box<Actor>>, Refusal> {
    let before = before.map(|actor| Box::new(actor.clone()));
    let Some(actor) = actor else {
        return Ok(before);
    };
    if actor.sub == subject && actor.agent_session_id == subject_agent {
        return Err(Refusal::ActorIsSubject);
    }
    let chain = Actor::of(actor, before);
    if chain.chain().count() > MAX_ACTORS {
        return Err(Refusal::ActorChainTooLong);
    }
    Ok(Some(Box::new(chain)))
}

/// The same fault, told of the other token.
fn of_actor(refusal: Refusal) -> Refusal {
    if refusal == Refusal::SigningKeyRevoked {
        Refusal::ActorRevoked
    } else if refusal == Refusal::SubjectTokenExpired {
        Refusal::ActorTokenExpired
    } else if refusal == Refusal::SubjectTokenWrongZone {
        Refusal::ActorTokenWrongZone
    } else {
        Refusal::ActorTokenInvalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u128) -> Claims {
        let id = uuid::Uuid::from_u128(n).to_string();
        serde_json::from_value(serde_json::json!({
            "iss": "i", "sub": id, "aud": ["i"], "exp": 2, "iat": 1, "nbf": 1, "jti": id, "zone_id": id,
            "client_id": id, "scope": "", "sid": id, "root_sid": id, "use": "session", "sub_type": "application",
            "target": [], "epoch": 1
        }))
        .expect("claims")
    }

    #[test]
    fn actors_chain_newest_first_up_to_a_bound() {
        let mut chain = None;
        for n in 0..u128::try_from(MAX_ACTORS).expect("small") {
            chain = act_claim(Some(&session(n)), "ada", None, chain.as_deref()).expect("within the bound");
        }
        let newest = chain.as_deref().expect("a chain");
        assert_eq!(newest.chain().count(), MAX_ACTORS);
        assert_eq!(newest.sub, session(7).sub);
        let beyond = act_claim(Some(&session(99)), "ada", None, Some(newest));
        assert_eq!(beyond, Err(Refusal::ActorChainTooLong));
        assert_eq!(
            act_claim(None, "ada", None, Some(newest)),
            Ok(chain.clone()),
            "what was said before stays said"
        );
    }

    #[test]
    fn nobody_acts_for_itself_but_its_agent_may() {
        let mut one = session(1);
        let subject = one.sub.clone();
        assert_eq!(
            act_claim(Some(&one), &subject, None, None),
            Err(Refusal::ActorIsSubject)
        );
        one.agent_session_id = Some(uuid::Uuid::from_u128(5).into());
        assert!(act_claim(Some(&one), &subject, None, None).is_ok());
    }
}
