//! The session class: client only, or with a user whom a registered issuer vouches for (contract §2, "Classes").

use super::{Exchange, Issued, left, remaining};
use crate::acting::Acting;
use crate::actor::Acts;
use crate::app::Sts;
use crate::decide::Asked;
use crate::error::Failure;
use crate::external::User;
use crate::narrow::{Ceiling, lifetime};
use crate::settle::Opening;
use crate::step_up::Showing;
use crate::view::ZoneView;
use caracal_domain::clock::Timestamp;
use caracal_domain::id::SessionId;
use caracal_domain::zone::Application;
use caracal_domain::{Claims, Refusal, Scope, ScopeSet, SubjectType, TokenUse};
use caracal_storage::sessions::{NewSession, SessionRow, SessionState};
use std::sync::Arc;

/// Seconds, unless less is asked for; also the most.
const SESSION_SECONDS: u32 = 3600;

impl Sts {
    /// A row in `sessions`, written before the answer. Without resources it carries no authority, so
    /// policy is asked only about those it names.
    pub(super) async fn open_session(
        &self,
        view: &Arc<ZoneView>,
        application: &Arc<Application>,
        user: Option<&User>,
        acts: &Acts,
        exchange: &Exchange,
    ) -> Result<Issued, Failure> {
        let request = &exchange.request;
        if request.session_id.is_some() || request.delegation_edge_id.is_some() {
            // A session is of nobody else's making, and carries nothing that was handed on.
            return Err(Refusal::NotSupported.into());
        }
        let (sub, sub_type) = match user {
            Some(user) => (user.subject.clone(), SubjectType::User),
            None => (application.id.to_string(), SubjectType::Application),
        };
        let wish = request.scopes.clone().unwrap_or_default();
        let scopes = wish.without_agent_lifecycle();
        let subject = user.map(|user| user.subject.as_str());
        let acting = self.acting(view, application, None, subject, exchange).await?;
        let parent = self.parent_session(view, &acting, exchange.now).await?;
        let until_parent_ends = parent.as_ref().map_or(i64::MAX, |parent| {
            (parent.expires_at - exchange.now).num_seconds()
        });
        let limits = [
            (remaining(application, exchange.now), Refusal::InvalidClient),
            (left(acts.claims(), exchange.now), Refusal::ActorTokenExpired),
            (until_parent_ends, Refusal::AgentNotLive),
        ];
        let limits = limits.into_iter().chain(acting.limits(exchange.now));
        let seconds = lifetime(request.ttl_seconds, SESSION_SECONDS, limits)?;
        let named = self.named(view, &request.resources);
        let showing = Showing {
            view,
            application,
            session: None,
            user: subject,
            acting: &acting,
            named: &named,
            scopes: &scopes,
            exchange,
        };
        let met = self.met(&showing).await?;
        let wishes = !scopes.is_empty() || !request.foreign_scopes.is_empty();
        if request.resources.is_empty() && wishes {
            return Err(Refusal::ScopeExceedsResource.into());
        }
        let asked = Asked {
            view,
            application,
            acting,
            session: None,
            user: subject,
            signing_in: user,
            actor: acts.claims(),
            ceiling: Ceiling::default(),
            named: &named,
            scopes,
            met,
            exchange,
            for_gateway: false,
        };
        let decided = self.decide(&asked).await?;
        let sid = SessionId::mint(&*self.clock);
        let claims = Claims {
            aud: vec![self.issuer(view.zone.config.id)],
            scope: granted_scopes(&asked.scopes, &wish),
            target: decided.identifiers(),
            sid,
            root_sid: parent.as_ref().map_or(sid, |parent| parent.root_id),
            token_use: TokenUse::Session,
            sub,
            sub_type,
            auth_time: user.map(|user| user.authenticated_at.timestamp()),
            act: acts.act.clone(),
            event_id: None,
            ..self.claims(view, application, exchange.now, seconds)
        };
        let claims = asked.acting.claim(claims);
        let opening = Opening {
            row: session_row(&claims, parent.map(|parent| parent.id), exchange.now),
            event: self.session_event(view, application, &claims, exchange, decided.is_partial()),
        };
        self.settle(&asked, &decided, &claims, Some(opening)).await?;
        self.issue(view, claims, decided, seconds)
    }

    /// The subject session that the agent hangs on: what is bound to the agent ends with it.
    async fn parent_session(
        &self,
        view: &ZoneView,
        acting: &Acting,
        now: Timestamp,
    ) -> Result<Option<SessionRow>, Failure> {
        let Some(parent) = acting.agent.as_ref().and_then(|agent| agent.session.as_ref()) else {
            return Ok(None);
        };
        let found = self
            .stored(async {
                let mut conn = self.database.acquire_in(view.zone.config.id).await?;
                caracal_storage::sessions::find(&mut conn, view.zone.config.id, parent.id).await
            })
            .await?;
        let live = found.filter(|session| session.state(now) == SessionState::Active);
        Ok(Some(live.ok_or(Refusal::AgentNotLive)?))
    }
}

fn session_row(claims: &Claims, parent: Option<SessionId>, now: Timestamp) -> NewSession {
    NewSession {
        id: claims.sid,
        zone_id: claims.zone_id,
        session_type: claims.sub_type,
        subject_id: claims.sub.clone(),
        application_id: claims.client_id,
        parent_id: parent,
        root_id: claims.root_sid,
        scopes: claims.scope.clone(),
        target: claims.target.clone(),
        agent_session_id: claims.agent_session_id,
        authenticated_at: claims
            .auth_time
            .and_then(|at| chrono::DateTime::from_timestamp(at, 0))
            .unwrap_or(now),
        expires_at: now + chrono::Duration::seconds(claims.exp - claims.iat),
        created_at: now,
        epoch: claims.epoch,
    }
}

/// The scopes decided, and the platform's own if it was asked for.
fn granted_scopes(decided: &ScopeSet, wish: &ScopeSet) -> ScopeSet {
    decided
        .iter()
        .chain(wish.iter().filter(|scope| Scope::is_agent_lifecycle(scope)))
        .cloned()
        .collect()
}
