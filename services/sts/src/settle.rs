//! No record, no mandate: everything an exchange that grants something must leave behind before its token does.
//!
//! Without a challenge that is the ledger's record of each grant, acknowledged by `JetStream` or spooled, and for a
//! session its row. With one, all of it and the challenge's end are one transaction: of two retries one wins, and a
//! later deny does not burn it.

use crate::app::Sts;
use crate::decide::{Asked, Decided};
use crate::error::Failure;
use crate::record::{decision_event, withheld_event};
use crate::step_up::{Met, only};
use caracal_domain::{AuditDecision, AuditEvent, Claims, Refusal};
use caracal_jose::MAX_TOKEN_BYTES;
use caracal_storage::sessions::NewSession;
use serde_json::json;

/// A session that begins with this exchange.
pub struct Opening {
    /// Its row.
    pub row: NewSession,
    /// Its record.
    pub event: AuditEvent,
}

impl Sts {
    /// Returns only when every grant is on record, the session is stored, and the challenge is used up.
    ///
    /// # Errors
    /// [`Refusal::TokenTooLarge`] before anything is written, [`Refusal::NoRecord`] when no store takes a record, [`Refusal::ChallengeUsed`] when another retry won.
    pub async fn settle(
        &self,
        asked: &Asked<'_>,
        decided: &Decided,
        claims: &Claims,
        opening: Option<Opening>,
    ) -> Result<(), Failure> {
        if asked.view.zone.signer.length_of(claims)? > MAX_TOKEN_BYTES {
            return Err(self.withheld(decided, asked));
        }
        let events = decided.findings.iter().map(|finding| {
            (
                finding.refusal.is_some(),
                decision_event(asked, finding, Some(claims)),
            )
        });
        let (refused, granted): (Vec<_>, Vec<_>) = events.partition(|(is_refused, _)| *is_refused);
        let mut records: Vec<AuditEvent> = granted.into_iter().map(|(_, event)| event).collect();
        let row = opening.map(|Opening { row, event }| {
            records.push(event);
            row
        });
        if let Some(met) = &asked.met {
            records.push(self.consumed(asked, met, claims));
            self.settle_at_once(met, row, &records).await?;
        } else {
            if let Some(row) = row {
                self.stored(async {
                    let mut conn = self.database.acquire().await?;
                    caracal_storage::sessions::insert(&mut conn, &row).await
                })
                .await?;
            }
            for record in &records {
                self.keep(record).await?;
            }
        }
        // Last: a session that could not be opened yet is decided again.
        for (_, event) in refused {
            self.recorder.note(event);
        }
        Ok(())
    }

    /// Whoever verifies would refuse a token of this size: none of what was allowed is granted, and each is recorded so.
    fn withheld(&self, decided: &Decided, asked: &Asked<'_>) -> Failure {
        let refusal = Refusal::TokenTooLarge;
        if decided.findings.is_empty() {
            return refusal.into();
        }
        for finding in &decided.findings {
            self.recorder.note(withheld_event(asked, finding, refusal));
        }
        Failure::Denied {
            refusal,
            retry_after: None,
        }
    }

    fn consumed(&self, asked: &Asked<'_>, met: &Met, claims: &Claims) -> AuditEvent {
        let metadata = json!({
            "challenge_id": met.id, "challenge_type": met.challenge_type.as_str(), "jti": claims.jti,
            "application_id": asked.application.id, "session_id": claims.sid, "subject_id": claims.sub,
            "resource": only(asked.named).map(|named| &named.name),
            "agent_session_id": claims.agent_session_id, "satisfied_by": met.satisfied_by,
        });
        self.step_up_event(
            asked.view,
            asked.exchange,
            "consumed",
            AuditDecision::Allow,
            metadata,
        )
    }

    async fn settle_at_once(
        &self,
        met: &Met,
        session: Option<NewSession>,
        records: &[AuditEvent],
    ) -> Result<(), Failure> {
        let zone = records.first().map(|record| record.zone_id);
        let zone = zone.ok_or(Refusal::NoRecord)?;
        let traceparent = caracal_lifecycle::trace::current_traceparent();
        let won = self
            .stored(async {
                let mut tx = self.database.begin_in(zone).await?;
                if caracal_storage::step_up::consume(&mut tx, zone, met.id)
                    .await?
                    .is_none()
                {
                    tx.rollback().await?;
                    return Ok(false);
                }
                if let Some(session) = &session {
                    caracal_storage::sessions::insert(&mut tx, session).await?;
                }
                for record in records {
                    caracal_storage::spool::append(
                        &tx,
                        record.zone_id,
                        record.id,
                        caracal_wire::AUDIT_SUBJECT,
                        &caracal_wire::encode_audit(record),
                        traceparent.as_deref(),
                    )
                    .await?;
                }
                tx.commit().await?;
                Ok(true)
            })
            .await?;
        if won {
            Ok(())
        } else {
            Err(Refusal::ChallengeUsed.into())
        }
    }
}
