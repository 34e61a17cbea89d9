//! How every write ends: its record in the spool, its zone's new epoch, its message in the outbox, then the commit. All
//! four or none.

use crate::actor::Actor;
use crate::app::Api;
use crate::error::{Failure, Refusal};
use crate::idempotency::{Answer, Held};
use crate::routes::is_deed;
use crate::text::is_reserved;
use actix_web::http::StatusCode;
use caracal_domain::event::{AuditDecision, EventType, REDACTED};
use caracal_domain::id::{EventId, OutboxId, ZoneId};
use caracal_domain::{AuditEvent, Clock, Epoch, FeedBody, FeedEvent, RequestId};
use caracal_jose::sha256_hex;
use caracal_lifecycle::trace::current_traceparent;
use caracal_storage::sessions::EndedSession;
use caracal_storage::zones::ZoneRow;
use caracal_storage::{Conn, Transaction, admin_tokens, outbox, spool, zones};
use caracal_wire::AUDIT_SUBJECT;
use futures::try_join;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::sync::Arc;

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

/// What was done, for the ledger. Made of views, which hold no secret.
#[derive(Debug)]
pub(crate) struct Deed {
    zone: ZoneId,
    what: &'static str,
    object: String,
    before: Value,
    after: Value,
    /// Which secrets changed: whether there was one, and whether there is one.
    secrets: Vec<(String, bool, bool)>,
    about: Map<String, Value>,
    answer: Option<(StatusCode, Value)>,
    version: Option<i64>,
}

impl Deed {
    /// `what` is `<noun>.<verb>`, as the table of routes has it, so that a refusal of the same is found with it.
    pub(crate) fn new(zone: ZoneId, what: &'static str, object: impl Display) -> Self {
        debug_assert!(is_deed(what), "no route is called {what}");
        Self {
            zone,
            what,
            object: object.to_string(),
            before: Value::Null,
            after: Value::Null,
            secrets: Vec::new(),
            about: Map::new(),
            answer: None,
            version: None,
        }
    }

    /// What the object looked like before.
    pub(crate) fn from<V: Serialize>(mut self, view: &V) -> Self {
        self.before = serde_json::to_value(view).unwrap_or_default();
        self
    }

    /// What it looks like now.
    pub(crate) fn to<V: Serialize>(mut self, view: &V) -> Self {
        self.after = serde_json::to_value(view).unwrap_or_default();
        self
    }

    /// A secret, which no view shows, was put in place, replaced or taken away.
    pub(crate) fn secret(mut self, name: impl Into<String>, was: bool, is: bool) -> Self {
        self.secrets.push((name.into(), was, is));
        self
    }

    /// What else it is about, for those who look for it in the ledger.
    pub(crate) fn about(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.about.insert(name.to_owned(), value.into());
        self
    }

    /// What a repeated request is answered, where that is not the object as it now looks (`201` for `….create`, else
    /// `200`). Never with a secret.
    pub(crate) fn answered<V: Serialize>(mut self, status: StatusCode, view: &V) -> Self {
        self.answer = Some((status, serde_json::to_value(view).unwrap_or_default()));
        self
    }

    /// The version of the object that is answered with, where the answer has an `ETag`.
    pub(crate) const fn version(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }

    fn changes(&self) -> Value {
        let mut changes = difference(&self.before, &self.after);
        let shown = |there: bool| there.then_some(REDACTED);
        for (name, was, is) in self.secrets.iter().filter(|(_, was, is)| *was || *is) {
            changes.insert(name.clone(), json!({"from": shown(*was), "to": shown(*is)}));
        }
        changes.into()
    }

    /// Everything but the changes: by these members the ledger's filters find it.
    fn subjects(&self) -> Map<String, Value> {
        let noun = self.what.split('.').next().unwrap_or_default();
        let mut subjects = subjects_of(noun, &self.object);
        let member = |view: &Value, name: &str| view.get(name).filter(|value| value.is_string()).cloned();
        let last = |name: &str| member(&self.after, name).or_else(|| member(&self.before, name));
        for name in ["application_id", "session_id", "agent_session_id"] {
            subjects.extend(last(name).map(|value| (name.to_owned(), value)));
        }
        if noun == "resource" {
            let (was, is) = (member(&self.before, "identifier"), last("identifier"));
            if was.is_some() && was != is {
                subjects.insert("resources".to_owned(), json!([was, is]));
            }
            subjects.extend(is.map(|is| ("resource".to_owned(), is)));
        }
        subjects.extend(self.about.clone());
        subjects
    }

    /// Whether it leaves a name that belongs to system zones.
    fn takes_reserved(&self) -> bool {
        let named = |name: &str| self.after.get(name).and_then(Value::as_str);
        let traits = self.after.get("traits").and_then(Value::as_array);
        let traits = traits.into_iter().flatten().filter_map(Value::as_str);
        let names = ["name", "identifier", "subject_prefix"]
            .into_iter()
            .filter_map(named);
        names.chain(traits).any(is_reserved)
    }

    fn answer(&self) -> (StatusCode, Value) {
        let usual = || {
            let new = self.what.ends_with(".create");
            let status = if new { StatusCode::CREATED } else { StatusCode::OK };
            (status, self.after.clone())
        };
        self.answer.clone().unwrap_or_else(usual)
    }
}

/// What the ledger's filters know an object of this noun by.
pub(crate) fn subjects_of(noun: &str, object: &str) -> Map<String, Value> {
    let name = match noun {
        "application" => "application_id",
        "session" => "session_id",
        _ => return Map::new(),
    };
    Map::from_iter([(name.to_owned(), object.into())])
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
        let mut metadata = deed.subjects();
        metadata.insert("actor".to_owned(), by.name().into());
        metadata.insert("object_id".to_owned(), deed.object.as_str().into());
        metadata.insert("changes".to_owned(), deed.changes());
        AuditEvent::new(
            EventId::mint(&*self.clock),
            deed.zone,
            EventType::Admin(deed.what.to_owned()),
            by.request_id.clone(),
            AuditDecision::Allow,
            metadata.into(),
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

/// So many bytes of JSON of one value stand in a record; of a larger one its size and its hash. An event of all a body may
/// hold, twice, would be more than NATS carries.
const SHOWN: usize = 16 * 1024;

/// A value as a record shows it.
fn in_record(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= SHOWN {
        return value;
    }
    json!({"bytes": text.len(), "sha256": sha256_hex(text.as_bytes())})
}

/// `{field: {from, to}}` for every field that differs; times of the row itself say nothing.
fn difference(before: &Value, after: &Value) -> Map<String, Value> {
    let none = Map::new();
    let (old, new) = (
        before.as_object().unwrap_or(&none),
        after.as_object().unwrap_or(&none),
    );
    let mut changes = Map::new();
    for field in old.keys().chain(new.keys()) {
        // A field that is not there says no more than one that is null.
        let value = |of: &Map<String, Value>| of.get(field).cloned().unwrap_or_default();
        let (from, to) = (value(old), value(new));
        if from != to && !matches!(field.as_str(), "created_at" | "updated_at") {
            changes.insert(
                field.clone(),
                json!({"from": in_record(from), "to": in_record(to)}),
            );
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_value_is_known_by_its_hash() {
        let large = "x".repeat(SHOWN);
        let changes = difference(&json!({"name": "a"}), &json!({"name": large}));
        let expected = json!({"bytes": SHOWN + 2, "sha256": sha256_hex(format!("\"{large}\"").as_bytes())});
        assert_eq!(changes["name"], json!({"from": "a", "to": expected}));
        let most = "x".repeat(SHOWN - 2);
        let changes = difference(&Value::Null, &json!({"name": most}));
        assert_eq!(changes["name"]["to"], json!(most));
    }

    #[test]
    fn a_difference_names_only_what_changed() {
        let before = json!({"name": "a", "prefix": false, "updated_at": 1});
        let after = json!({"name": "b", "prefix": false, "updated_at": 2, "scopes": ["x"]});
        let changes = json!({"name": {"from": "a", "to": "b"}, "scopes": {"from": null, "to": ["x"]}});
        assert_eq!(Value::from(difference(&before, &after)), changes);
        let made = difference(&Value::Null, &json!({"name": "a", "description": null}));
        assert_eq!(
            Value::from(made),
            json!({"name": {"from": null, "to": "a"}}),
            "nothing became nothing"
        );
        assert!(difference(&Value::Null, &Value::Null).is_empty());
    }
}
