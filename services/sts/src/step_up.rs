//! Step-up: a further proof that policy asks for (contract §2, "Step-up"; RFC 9470). A deny makes a challenge bound to
//! who asked for what; once it is met the same request may come again, with the challenge's secret.

mod poll;

pub use poll::poll;

use crate::acting::Acting;
use crate::app::Sts;
use crate::decide::Asked;
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::naming::Named;
use crate::view::ZoneView;
use caracal_domain::decision::ChallengeType;
use caracal_domain::id::{ChallengeId, EventId};
use caracal_domain::zone::Application;
use caracal_domain::{AuditDecision, AuditEvent, Claims, EventType, Refusal, ScopeSet, Timestamp};
use caracal_storage::step_up::{ChallengeRow, Failed, NewChallenge};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Wrong responses to one challenge within two minutes that rest it for five.
const FAILURES: i32 = 5;

/// As `fail.sql` has it.
const REST_SECONDS: u32 = 300;

/// A challenge on its way out: the only time its secret is shown.
#[derive(Debug)]
pub struct Held {
    /// Its id.
    pub id: ChallengeId,
    /// Which proof it asks for.
    pub challenge_type: ChallengeType,
    /// What the retry has to show.
    pub secret: SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A challenge that was met, shown by who may show it; not used up yet.
#[derive(Debug, Clone)]
pub struct Met {
    /// Its id.
    pub id: ChallengeId,
    /// Which proof it asked for.
    pub challenge_type: ChallengeType,
    /// When it was met.
    pub satisfied_at: Timestamp,
    /// Who said so.
    pub satisfied_by: String,
}

/// Who shows a challenge, and for what.
pub struct Showing<'a> {
    /// The zone.
    pub view: &'a ZoneView,
    /// The application.
    pub application: &'a Application,
    /// Its session, if with one.
    pub session: Option<&'a Claims>,
    /// The user it is for, if for one.
    pub user: Option<&'a str>,
    /// Its agent, if as one.
    pub acting: &'a Acting,
    /// What is asked for: the resources.
    pub named: &'a [Named],
    /// And the scopes.
    pub scopes: &'a ScopeSet,
    /// The request.
    pub exchange: &'a Exchange,
}

impl Sts {
    /// Makes a challenge for a request that policy holds.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn hold(&self, asked: &Asked<'_>, challenge_type: ChallengeType) -> Result<Held, Failure> {
        let now = asked.exchange.now;
        let secret = caracal_jose::random_token("")?;
        let new = NewChallenge {
            zone_id: asked.view.zone.config.id,
            id: ChallengeId::mint(&*self.clock),
            application_id: asked.application.id,
            session_id: asked.session.map(|session| session.sid),
            agent_session_id: asked.acting.agent.as_ref().map(|agent| agent.id),
            challenge_type,
            resources: asked.named.iter().map(|named| named.name.clone()).collect(),
            scopes: asked.scopes.clone(),
            secret_sha256: caracal_jose::sha256(secret.expose_secret().as_bytes()),
            metadata_json: bound_to(asked.user, &asked.acting),
            expires_at: now + lifetime(challenge_type),
        };
        self.stored(async {
            let mut conn = self.database.acquire().await?;
            caracal_storage::step_up::insert(&mut conn, &new).await
        })
        .await?;
        let metadata = json!({
            "challenge_id": new.id, "challenge_type": challenge_type.as_str(), "resources": new.resources,
            "resource": only(&new.resources), "application_id": new.application_id,
            "session_id": new.session_id, "subject_id": asked.session.map(|session| session.sub.as_str()).or(asked.user),
            "agent_session_id": new.agent_session_id, "requested_scopes": new.scopes, "expires_at": new.expires_at,
        });
        let event = self.step_up_event(
            asked.view,
            asked.exchange,
            "required",
            AuditDecision::Deny,
            metadata,
        );
        self.recorder
            .note(event.because(Refusal::StepUpRequired.reason()));
        Ok(Held {
            id: new.id,
            challenge_type,
            secret,
            expires_at: new.expires_at,
        })
    }

    /// The challenge that the request shows, if it shows one: met, unused, and made for this very request.
    ///
    /// # Errors
    /// `invalid_grant` with what is wrong with it, 429 while it rests after too many wrong responses.
    pub async fn met(&self, showing: &Showing<'_>) -> Result<Option<Met>, Failure> {
        let request = &showing.exchange.request;
        let Some((id, response)) = &request.challenge else {
            return Ok(None);
        };
        let zone = showing.view.zone.config.id;
        let found = self
            .stored(async {
                let mut conn = self.database.acquire_in(zone).await?;
                caracal_storage::step_up::find(&mut conn, zone, *id).await
            })
            .await?;
        let row = found
            .filter(|row| row.application_id == showing.application.id)
            .ok_or(Refusal::ChallengeInvalid)?;
        let now = showing.exchange.now;
        if let Some(until) = row.rests_until.filter(|until| now < *until) {
            return Err(resting(until, now));
        }
        let shown = caracal_jose::sha256(response.expose_secret().as_bytes());
        if !caracal_jose::constant_time_eq(&shown, &row.secret_sha256) {
            return Err(self.wrong_response(showing, &row).await?);
        }
        Ok(Some(usable(row, showing, now)?))
    }

    async fn wrong_response(&self, showing: &Showing<'_>, row: &ChallengeRow) -> Result<Failure, Failure> {
        let now = showing.exchange.now;
        let failed = self
            .stored(async {
                let mut conn = self.database.acquire().await?;
                caracal_storage::step_up::fail(&mut conn, row.zone_id, row.id, FAILURES, now).await
            })
            .await?;
        // Of several at once, those that came after the last one put up with.
        if let Failed::Rested(until) = failed {
            return Ok(resting(until, now));
        }
        let metadata = json!({
            "challenge_id": row.id, "challenge_type": row.challenge_type.as_str(), "rests": failed == Failed::Rests,
            "resource": only(&row.resources), "application_id": row.application_id,
            "session_id": row.session_id, "subject_id": showing.session.map(|session| session.sub.as_str()).or(showing.user),
        });
        let event = self.step_up_event(
            showing.view,
            showing.exchange,
            "failed",
            AuditDecision::Deny,
            metadata,
        );
        self.recorder
            .note(event.because(Refusal::ChallengeInvalid.reason()));
        Ok(Refusal::ChallengeInvalid.into())
    }

    /// An event of a challenge's life.
    pub fn step_up_event(
        &self,
        view: &ZoneView,
        exchange: &Exchange,
        what: &str,
        decision: AuditDecision,
        metadata: Value,
    ) -> AuditEvent {
        AuditEvent::new(
            EventId::mint(&*self.clock),
            view.zone.config.id,
            EventType::StepUp(what.to_owned()),
            exchange.request_id.clone(),
            decision,
            metadata,
            exchange.now,
        )
    }
}

fn resting(until: Timestamp, now: Timestamp) -> Failure {
    // By two clocks: it is never longer than it is.
    let seconds = (until - now).num_milliseconds().div_euclid(1000) + 1;
    let seconds = u32::try_from(seconds).unwrap_or_default().min(REST_SECONDS);
    Failure::Wait(Refusal::StepUpCooldown, seconds)
}

/// The one resource a challenge is for; one for several is found by what was decided of each.
pub fn only<T>(resources: &[T]) -> Option<&T> {
    match resources {
        [only] => Some(only),
        _ => None,
    }
}

/// A person takes longer than a second factor.
fn lifetime(challenge_type: ChallengeType) -> chrono::Duration {
    match challenge_type {
        ChallengeType::HumanApproval => chrono::Duration::minutes(30),
        ChallengeType::Mfa | ChallengeType::SoftwareAttestation => chrono::Duration::minutes(5),
    }
}

fn usable(row: ChallengeRow, showing: &Showing<'_>, now: Timestamp) -> Result<Met, Refusal> {
    if row.consumed_at.is_some() {
        return Err(Refusal::ChallengeUsed);
    }
    if row.expires_at <= now {
        return Err(Refusal::ChallengeExpired);
    }
    if !is_for(&row, showing) {
        return Err(Refusal::ChallengeMismatch);
    }
    let met = row.satisfied_at.zip(row.satisfied_by);
    let (satisfied_at, satisfied_by) = met.ok_or(Refusal::ChallengeUnsatisfied)?;
    Ok(Met {
        id: row.id,
        challenge_type: row.challenge_type,
        satisfied_at,
        satisfied_by,
    })
}

/// Whether the same principal asks for the same.
fn is_for(row: &ChallengeRow, showing: &Showing<'_>) -> bool {
    let asked: BTreeSet<&str> = showing.named.iter().map(|named| named.name.as_str()).collect();
    let scopes: BTreeSet<&str> = showing.scopes.iter().map(caracal_domain::Scope::as_str).collect();
    row.session_id == showing.session.map(|session| session.sid)
        && row.agent_session_id == showing.acting.agent.as_ref().map(|agent| agent.id)
        && row.resources.iter().map(String::as_str).collect::<BTreeSet<_>>() == asked
        && row.scopes.iter().map(String::as_str).collect::<BTreeSet<_>>() == scopes
        && row.metadata_json == bound_to(showing.user, showing.acting)
}

/// For whom and on whose authority it was asked: whoever approves sees it, and nobody else's request is approved by it.
/// A sign-in has no session yet to tell one user from another.
fn bound_to(user: Option<&str>, acting: &Acting) -> Value {
    let delegation = acting.delegation.as_ref();
    json!({"user_id": user, "delegation_edge_id": delegation.map(|delegation| delegation.leaf.id)})
}
