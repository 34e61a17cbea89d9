//! `POST /oauth/2/revoke` (RFC 7009): a client gives a token of its own back. A session ends with everything made from
//! it and the agents that hang on it; a mandate ends alone.

use crate::about_token::AboutToken;
use crate::app::Sts;
use crate::authenticate::{Authenticated, Caller};
use crate::error::{Failure, OAuthError};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::id::{EventId, OutboxId, SessionId, ZoneId};
use caracal_domain::zone::Application;
use caracal_domain::{
    Anchor, AnchorKind, AuditDecision, AuditEvent, Claims, Epoch, EventType, FeedBody, FeedEvent, Refusal,
    RequestId, Timestamp, TokenUse,
};
use caracal_storage::sessions::{self, SessionState, Whose};
use caracal_storage::{Conn, anchors, endings, outbox, spool, zones};
use caracal_web::{CurrentRequestId, MinEpoch, NO_STORE, to_completion, zone_epoch};
use secrecy::ExposeSecret;
use serde_json::json;

/// What the session's row says of why it ended.
const REASON: &str = "revoked by its application";

/// Answers 200 whether or not there was anything to end (RFC 7009 §2.2): an unknown, expired or foreign token is as
/// good as revoked, and what another application holds is none of the caller's business.
///
/// # Errors
/// The OAuth error that is the answer.
pub async fn revoke(
    sts: Data<Sts>,
    request: HttpRequest,
    id: CurrentRequestId,
    epoch: MinEpoch,
    body: Payload,
) -> Result<HttpResponse, OAuthError> {
    let asked = AboutToken::read(&sts, &request, &id.0, epoch, body).await;
    let asked = asked.map_err(|failure| failure.answering(id.0.clone()))?;
    let request_id = id.0.clone();
    let ended = to_completion(async move { sts.take_back(asked, &request_id).await }).await;
    let epoch = ended.map_err(|failure| failure.answering(id.0))?;
    let mut answer = HttpResponse::Ok();
    for header in NO_STORE {
        answer.insert_header(header);
    }
    Ok(answer.insert_header(zone_epoch(epoch)).finish())
}

impl Sts {
    /// Ends what the caller gives back; the epoch that shows it.
    async fn take_back(&self, asked: AboutToken, request_id: &RequestId) -> Result<Epoch, Failure> {
        let source = asked.source;
        let (token, caller) = asked.caller(self, request_id).await?;
        let (application, view) = match caller {
            Some(Authenticated {
                caller: Caller::Application(application),
                view,
            }) => (application, view),
            of_gateway => {
                // A gateway holds no token of its own that it could give back.
                let reason = Refusal::InvalidClient.reason();
                let metadata = json!({"caller": "gateway", "source": source, "endpoint": "/oauth/2/revoke"});
                let zone = of_gateway.as_ref().map(|known| known.view.zone.config.id);
                let is_of_zone = match of_gateway {
                    Some(known) => self.is_of_zone(known.view, Some(&token)).await,
                    None => false,
                };
                match zone.filter(|_| is_of_zone) {
                    Some(zone) => self.note_refused(zone, request_id, reason, metadata),
                    None => self.note_stranger(source, request_id, reason, metadata),
                }
                return Err(Refusal::InvalidClient.into());
            }
        };
        let (view, verified) = self.verify_current(view, token.expose_secret()).await;
        let Ok(verified) = verified else {
            return Ok(view.epoch);
        };
        let claims = verified.claims();
        let gone = view.anchors.refuses(claims, verified.kid()).is_some();
        if gone || claims.client_id != application.id {
            return Ok(view.epoch);
        }
        let zone = view.zone.config.id;
        let ended = self
            .stored(self.end(zone, &application, claims, request_id))
            .await;
        match ended {
            Ok((epoch, message)) => {
                // Here it counts at once; everywhere else, as soon as the feed tells of it.
                if let Some(message) = message {
                    self.zones.apply(&message);
                }
                Ok(epoch)
            }
            Err(failure) => {
                let metadata = json!({"application_id": application.id, "jti": claims.jti, "endpoint": "/oauth/2/revoke"});
                self.note_refused(zone, request_id, failure.reason(), metadata);
                Err(failure)
            }
        }
    }

    /// In one transaction: the row, the anchors that every replica refuses by, the record, the epoch, the message. Of
    /// several at once one ends it; the others answer with the epoch that shows that, and no message.
    async fn end(
        &self,
        zone: ZoneId,
        application: &Application,
        claims: &Claims,
        request_id: &RequestId,
    ) -> Result<(Epoch, Option<FeedEvent>), caracal_storage::Error> {
        let mut tx = self.database.begin_in(zone).await?;
        let session = match claims.token_use {
            TokenUse::Resource => None,
            TokenUse::Session => {
                let row = sessions::find_for_update(&mut tx, zone, claims.sid).await?;
                let Some(live) = row.filter(|row| row.state(self.clock.now()) == SessionState::Active) else {
                    let shown = zones::epoch(&mut tx, zone).await?;
                    tx.rollback().await?;
                    return Ok((shown.unwrap_or_default(), None));
                };
                let ended = sessions::end(&mut tx, zone, Whose::Session(live.id), REASON).await?;
                let ids: Vec<SessionId> = ended.iter().map(|session| session.id).collect();
                let agents = endings::agents_below(&mut tx, zone, &ids).await?;
                Some((live, ended, agents))
            }
        };
        let bump = zones::bump_epoch(&tx, zone).await?;
        let list = if let Some((session, ended, agents)) = session {
            let agents = agents.into_iter().map(|agent| Anchor {
                kind: AnchorKind::AgentSessionId,
                value: agent.id.to_string(),
                epoch: bump.epoch,
                expires_at: agent.expires_at,
            });
            session
                .anchors(&ended, bump.epoch)
                .into_iter()
                .chain(agents)
                .collect()
        } else {
            let anchor = anchor_of(claims, bump.epoch, self.clock.now());
            // The zone's row is locked from here on, so whoever came first is seen.
            if anchors::holds(&mut tx, zone, anchor.kind, &anchor.value).await? {
                tx.rollback().await?;
                return Ok((bump.previous, None));
            }
            vec![anchor]
        };
        for anchor in &list {
            anchors::insert(&mut tx, zone, anchor).await?;
        }
        let event = self.ended(zone, application, claims, request_id);
        write_record(&mut tx, &event).await?;
        let message = FeedEvent {
            id: OutboxId::mint(&*self.clock),
            zone_id: zone,
            epoch: bump.epoch,
            previous_epoch: bump.previous,
            body: FeedBody::SessionsRevoked { anchors: list },
        };
        let (payload, trace) = (
            caracal_wire::encode_feed(&message),
            caracal_lifecycle::trace::current_traceparent(),
        );
        outbox::append(&tx, &message, &payload, trace.as_deref()).await?;
        tx.commit().await?;
        Ok((bump.epoch, Some(message)))
    }

    fn ended(
        &self,
        zone: ZoneId,
        application: &Application,
        claims: &Claims,
        request_id: &RequestId,
    ) -> AuditEvent {
        let what = match claims.token_use {
            TokenUse::Session => "revoked",
            TokenUse::Resource => "mandate_revoked",
        };
        AuditEvent::new(
            EventId::mint(&*self.clock),
            zone,
            EventType::Session(what.to_owned()),
            request_id.clone(),
            AuditDecision::Allow,
            json!({
                "application_id": application.id, "session_id": claims.sid, "subject_id": claims.sub,
                "jti": claims.jti, "by": "application",
            }),
            self.clock.now(),
        )
    }
}

/// One mandate ends: kept until it would have expired.
fn anchor_of(claims: &Claims, epoch: Epoch, now: Timestamp) -> Anchor {
    let left = chrono::Duration::seconds(claims.exp - now.timestamp());
    Anchor {
        kind: AnchorKind::Jti,
        value: claims.jti.to_string(),
        epoch,
        expires_at: now + left + chrono::Duration::seconds(1),
    }
}

/// The record commits with what it records.
async fn write_record(tx: &mut Conn, event: &AuditEvent) -> Result<(), caracal_storage::Error> {
    let (payload, trace) = (
        caracal_wire::encode_audit(event),
        caracal_lifecycle::trace::current_traceparent(),
    );
    spool::append(
        tx,
        event.zone_id,
        event.id,
        caracal_bus::AUDIT_SUBJECT,
        &payload,
        trace.as_deref(),
    )
    .await
}
