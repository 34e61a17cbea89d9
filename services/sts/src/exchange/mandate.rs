//! The mandate class: client and one of our session tokens, by itself, with a delegation, or for one call of a gateway
//! (contract §2, "Classes").

use super::{Exchange, Issued, left, remaining};
use crate::actor::Acts;
use crate::app::Sts;
use crate::decide::Asked;
use crate::error::Failure;
use crate::naming::Named;
use crate::narrow::{Ceiling, lifetime, wished};
use crate::step_up::Showing;
use crate::subject::LiveSession;
use crate::view::ZoneView;
use caracal_domain::zone::{Application, Resource};
use caracal_domain::{Claims, Refusal, SubjectType, TokenUse};
use std::sync::Arc;

/// Seconds, unless less is asked for; also the most.
const MANDATE_SECONDS: u32 = 900;

impl Sts {
    /// No row; the record is the event.
    pub(super) async fn mint(
        &self,
        view: &Arc<ZoneView>,
        application: &Arc<Application>,
        session: &LiveSession,
        acts: &Acts,
        exchange: &Exchange,
        for_gateway: bool,
    ) -> Result<Issued, Failure> {
        let request = &exchange.request;
        let subject = session.claims();
        if request.resources.is_empty() {
            return Err(Refusal::MissingResource.into());
        }
        if request.session_id.is_some_and(|sid| sid != subject.sid) {
            return Err(Refusal::SessionMismatch.into());
        }
        let user = (subject.sub_type == SubjectType::User).then_some(subject.sub.as_str());
        let acting = self
            .acting(view, application, Some(subject), user, exchange)
            .await?;
        let limits = [
            (remaining(application, exchange.now), Refusal::InvalidClient),
            (left(Some(subject), exchange.now), Refusal::SubjectTokenExpired),
            (left(acts.claims(), exchange.now), Refusal::ActorTokenExpired),
        ];
        let limits = limits.into_iter().chain(acting.limits(exchange.now));
        let seconds = lifetime(request.ttl_seconds, MANDATE_SECONDS, limits)?;
        let ceiling = Ceiling::of(subject, |target| self.name_of(view, target));
        let named = self.named(view, &request.resources);
        let known = known(&named);
        let scopes = wished(request.scopes.as_ref(), acting.scopes(), &ceiling, &known);
        let showing = Showing {
            view,
            application,
            session: Some(subject),
            user,
            acting: &acting,
            named: &named,
            scopes: &scopes,
            exchange,
        };
        let met = self.met(&showing).await?;
        let asked = Asked {
            view,
            application,
            acting,
            session: Some(subject),
            user,
            signing_in: None,
            actor: acts.claims(),
            ceiling,
            named: &named,
            scopes,
            met,
            exchange,
            for_gateway,
        };
        let decided = self.decide(&asked).await?;
        let identifiers = decided.identifiers();
        let claims = Claims {
            aud: identifiers.iter().map(ToString::to_string).collect(),
            scope: asked.scopes.clone(),
            target: identifiers,
            sid: subject.sid,
            root_sid: subject.root_sid,
            token_use: TokenUse::Resource,
            sub: subject.sub.clone(),
            sub_type: subject.sub_type,
            act: acts.act.clone(),
            event_id: decided.granted.first().map(|granted| granted.event_id),
            ..self.claims(view, application, exchange.now, seconds)
        };
        let claims = asked.acting.claim(claims);
        self.settle(&asked, &decided, &claims, None).await?;
        self.issue(view, claims, decided, seconds)
    }
}

fn known(named: &[Named]) -> Vec<Arc<Resource>> {
    named.iter().filter_map(|named| named.resource.clone()).collect()
}
