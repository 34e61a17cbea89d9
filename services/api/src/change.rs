//! How every write ends: its record in the spool, its zone's new epoch, its message in the outbox, then the commit. All
//! four or none.

mod deed;

use crate::actor::Actor;
use crate::app::Api;
use crate::error::{Failure, Refusal};
use crate::idempotency::{Answer, Held};
use caracal_domain::event::{AuditDecision, EventType};
use caracal_domain::id::{EventId, OutboxId, ZoneId};
use caracal_domain::{AuditEvent, Clock, Epoch, FeedBody, FeedEvent, RequestId};
use caracal_lifecycle::trace::current_traceparent;
use caracal_storage::sessions::EndedSession;
use caracal_storage::zones::ZoneRow;
use caracal_storage::{Conn, Transaction, admin_tokens, outbox, spool, zones};
use caracal_wire::AUDIT_SUBJECT;
use futures::try_join;
use serde_json::json;
use std::sync::Arc;

pub(crate) use deed::{Deed, subjects_of};

/// Who does it, in which request.
#[derive(Debug, Clone)]
pub(crate) struct By {
    /// The administrator; `None` is the service itself.
    pub(crate) actor: Option<Actor>,
    /// The request.
    pub(crate) request_id: RequestId,
    /// The idempotency key it holds, if it came with one.
    pub(crate) held: Option<Arc<Held>>,
}

impl By {
    /// The service itself, at its start.
    pub(crate) const fn system(request_id: RequestId) -> Self {
        Self {
            actor: None,
            request_id,
            held: None,
        }
    }

    /// What `created_by` and the ledger call the actor.
    pub(crate) fn name(&self) -> String {
        self.actor
            .as_ref()
            .map_or_else(|| "caracal-api".to_owned(), Actor::name)
    }

    /// Refuses a zone's own token in a zone that is a system zone now.
    fn check_zone(&self, is_system: bool) -> Result<(), Failure> {
        if is_system && self.actor.as_ref().is_some_and(|actor| !actor.is_global()) {
            return Err(Refusal::SystemZoneReadOnly.into());
        }
        Ok(())
    }

    /// The same without its idempotency key: for one deed of several, whose answer is another's to keep.
    pub(crate) fn within_another(&self) -> Self {
        Self {
            held: None,
            ..self.clone()
        }
    }

    /// Keeps the answer for whoever repeats the request.
    pub(crate) async fn complete(
        &self,
        tx: &mut Conn,
        deed: &Deed,
        epoch: Option<Epoch>,
    ) -> Result<(), Failure> {
        let Some(held) = &self.held else { return Ok(()) };
        let (status, body) = deed.answer();
        let answer = Answer {
            status: status.as_u16(),
            body,
            epoch: epoch.map(Epoch::get),
            version: deed.version,
        };
        held.complete(tx, &answer).await
    }
}

/// A new value and the epoch it has.
#[derive(Debug)]
pub(crate) struct Written<T> {
    /// The value.
    pub(crate) value: T,
    /// The zone's epoch that shows it.
    pub(crate) epoch: Epoch,
}

/// An epoch drawn under the zone's row lock, to be announced in the same transaction.
#[derive(Debug)]
pub(crate) struct Change {
    /// The message that will tell of it.
    pub(crate) outbox_id: OutboxId,
    /// The epoch.
    pub(crate) epoch: Epoch,
    previous: Epoch,
    is_system: bool,
    zone: ZoneId,
}

impl Change {
    /// Draws the zone's next epoch; what follows in the transaction is what needs the number. The zone's row is ours from
    /// here on, so what it lets in is settled here: it may have been archived, or made a system zone, since the request
    /// was admitted.
    pub(crate) async fn draw(tx: &Conn, clock: &dyn Clock, zone: ZoneId, by: &By) -> Result<Self, Failure> {
        let bump = zones::bump_epoch(tx, zone).await?;
        if bump.is_archived {
            return Err(Refusal::ZoneNotFound.into());
        }
        by.check_zone(bump.is_system)?;
        Ok(Self {
            outbox_id: OutboxId::mint(clock),
            epoch: bump.epoch,
            previous: bump.previous,
            is_system: bump.is_system,
            zone,
        })
    }

    /// The epoch that the row of a zone just made came with.
    fn first(clock: &dyn Clock, zone: &ZoneRow) -> Self {
        Self {
            outbox_id: OutboxId::mint(clock),
            epoch: zone.epoch,
            previous: Epoch::default(),
            is_system: zone.is_system,
            zone: zone.id,
        }
    }

    /// Leaves the message that tells every replica.
    pub(crate) async fn announce(self, tx: &Conn, body: FeedBody) -> Result<Epoch, Failure> {
        let Self {
            outbox_id: id,
            zone: zone_id,
            previous: previous_epoch,
            epoch,
            ..
        } = self;
        tell(
            tx,
            &FeedEvent {
                id,
                zone_id,
                epoch,
                previous_epoch,
                body,
            },
        )
        .await?;
        Ok(epoch)
    }
}

/// Leaves a message that changes nothing: modules that may be needed soon.
pub(crate) async fn announce_compiled(
    tx: &Conn,
    clock: &dyn Clock,
    zone_id: ZoneId,
    modules: Vec<String>,
) -> Result<(), Failure> {
    let (id, none) = (OutboxId::mint(clock), Epoch::default());
    let body = FeedBody::PolicyCompiled { modules };
    tell(
        tx,
        &FeedEvent {
            id,
            zone_id,
            epoch: none,
            previous_epoch: none,
            body,
        },
    )
    .await
}

async fn tell(tx: &Conn, event: &FeedEvent) -> Result<(), Failure> {
    let payload = caracal_wire::encode_feed(event);
    Ok(outbox::append(tx, event, &payload, current_traceparent().as_deref()).await?)
}

impl Api {
    /// Ends a write that changes its zone's configuration: record, epoch, message, commit.
    pub(crate) async fn conclude(
        &self,
        tx: Transaction,
        by: &By,
        deed: Deed,
        body: FeedBody,
    ) -> Result<Epoch, Failure> {
        // In this order, in one round trip.
        let ((), change) = try_join!(
            self.keep(&tx, by, &deed),
            Change::draw(&tx, &*self.clock, deed.zone, by),
        )?;
        settle(tx, by, &deed, change, body).await
    }

    /// Ends a write that makes `after` of `before`, or nothing of it.
    pub(crate) async fn conclude_change<R>(
        &self,
        tx: Transaction,
        by: &By,
        deed: Deed,
        (before, after): (R, R),
    ) -> Result<Written<R>, Failure> {
        if deed.changes_nothing() {
            return self.leave(tx, by, deed.zone, before).await;
        }
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Written { value: after, epoch })
    }

    /// Ends a write that [changes nothing](Deed::changes_nothing): the object keeps its version, no replica is told, and
    /// there is nothing to record.
    pub(crate) async fn leave<R>(
        &self,
        mut tx: Transaction,
        by: &By,
        zone: ZoneId,
        before: R,
    ) -> Result<Written<R>, Failure> {
        let epoch = self.epoch_of(&mut tx, by, zone).await?;
        Ok(Written { value: before, epoch })
    }

    /// The same for a write that has drawn its epoch already.
    pub(crate) async fn conclude_at(
        &self,
        tx: Transaction,
        by: &By,
        deed: Deed,
        change: Change,
        body: FeedBody,
    ) -> Result<Epoch, Failure> {
        self.keep(&tx, by, &deed).await?;
        settle(tx, by, &deed, change, body).await
    }

    /// Ends the write that made a zone: its row has its first epoch already.
    pub(crate) async fn conclude_first(
        &self,
        mut tx: Transaction,
        by: &By,
        deed: Deed,
        zone: &ZoneRow,
    ) -> Result<Epoch, Failure> {
        let change = Change::first(&*self.clock, zone);
        // In this order, in one round trip.
        let ((), epoch) = try_join!(
            self.keep(&tx, by, &deed),
            change.announce(&tx, FeedBody::ZoneChanged),
        )?;
        by.complete(&mut tx, &deed, Some(epoch)).await?;
        tx.commit().await?;
        Ok(epoch)
    }

    /// The zone's epoch for a write that draws none. The zone stays as it is until the commit, so what it lets in is settled
    /// here, as it is by [`Change::draw`].
    pub(crate) async fn epoch_of(&self, tx: &mut Conn, by: &By, zone: ZoneId) -> Result<Epoch, Failure> {
        let zone = zones::hold(tx, zone).await?.ok_or(Refusal::ZoneNotFound)?;
        by.check_zone(zone.is_system)?;
        Ok(zone.epoch)
    }

    /// Puts the record of a deed into the spool, so that it is in the ledger exactly when the deed is done, by somebody who
    /// still may. `epoch` is the one its answer names, if it does.
    pub(crate) async fn record(
        &self,
        tx: &mut Conn,
        by: &By,
        deed: Deed,
        epoch: Option<Epoch>,
    ) -> Result<(), Failure> {
        self.keep(tx, by, &deed).await?;
        by.complete(tx, &deed, epoch).await
    }

    /// Records each session that ended with something else, so that whoever looks for it learns why.
    pub(crate) async fn note_ended(
        &self,
        tx: &Conn,
        by: &By,
        (zone, cause): (ZoneId, &'static str),
        sessions: &[EndedSession],
    ) -> Result<(), Failure> {
        let status = |status: &str| json!({"status": status});
        let event = |session: &EndedSession| {
            let deed = Deed::new(zone, "session.revoke", session.id)
                .from(&status("active"))
                .to(&status("revoked"))
                .about("subject_id", session.subject_id.as_str())
                .about("application_id", session.application_id.to_string())
                .about("with", cause);
            let event = self.event_of(by, &deed);
            (event.id, caracal_wire::encode_audit(&event))
        };
        let events: Vec<_> = sessions.iter().map(event).collect();
        let trace = current_traceparent();
        Ok(spool::append_all(tx, zone, AUDIT_SUBJECT, &events, trace.as_deref()).await?)
    }

    fn event_of(&self, by: &By, deed: &Deed) -> AuditEvent {
        AuditEvent::new(
            EventId::mint(&*self.clock),
            deed.zone,
            EventType::Admin(deed.what.to_owned()),
            by.request_id.clone(),
            AuditDecision::Allow,
            deed.metadata(by.name()),
            self.clock.now(),
        )
    }

    async fn keep(&self, tx: &Conn, by: &By, deed: &Deed) -> Result<(), Failure> {
        let event = self.event_of(by, deed);
        let (payload, trace) = (caracal_wire::encode_audit(&event), current_traceparent());
        let (zone, id, trace) = (event.zone_id, event.id, trace.as_deref());
        // What was admitted may have waited, for its body or for the compiler, longer than its token stood.
        let standing = async {
            match &by.actor {
                Some(actor) => admin_tokens::stands(tx, actor.token_id).await,
                None => Ok(true),
            }
        };
        let (stands, ()) = try_join!(
            standing,
            spool::append(tx, zone, id, AUDIT_SUBJECT, &payload, trace)
        )?;
        if stands {
            Ok(())
        } else {
            Err(Refusal::InvalidAdminToken.into())
        }
    }
}

/// The rest of a write whose record is kept: its message, the answer for whoever repeats it, the commit.
async fn settle(
    mut tx: Transaction,
    by: &By,
    deed: &Deed,
    change: Change,
    body: FeedBody,
) -> Result<Epoch, Failure> {
    if !change.is_system && deed.takes_reserved() {
        return Err(Refusal::ReservedNamespace.into());
    }
    let epoch = change.announce(&tx, body).await?;
    by.complete(&mut tx, deed, Some(epoch)).await?;
    tx.commit().await?;
    Ok(epoch)
}
