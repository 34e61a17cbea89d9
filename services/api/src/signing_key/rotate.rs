//! Rotation of a zone's signing keys. All of it under the zone's row lock, so that one rotation at a time finds one
//! active and one `next` key, and leaves one of each.

use super::{RotationMode, SigningKeyView, views};
use crate::app::Api;
use crate::change::{By, Deed};
use crate::error::{Failure, Refusal};
use crate::sight::Sight;
use crate::upkeep::told;
use crate::zone::new_signing_key;
use actix_web::http::StatusCode;
use caracal_domain::id::ZoneId;
use caracal_domain::zone::{KeyStatus, SigningKey};
use caracal_domain::{AnchorKind, Epoch, FeedBody, RequestId, Timestamp};
use caracal_storage::keys::{self, SigningKeyRow};
use caracal_storage::{Conn, Transaction, database_time, upkeep, zones};
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

/// A verifier may use a JWKS for 300 s (its `max-age`); a minute more covers replicas that published it late.
const UNTIL_EVERYONE_HAS_IT: TimeDelta = TimeDelta::seconds(300 + 60);
/// A session token lives an hour at most; replicas that hear of the rotation late, and leeway, get five minutes.
const UNTIL_NOTHING_NAMES_IT: TimeDelta = TimeDelta::seconds(3600 + 300);
/// How many zones one round of upkeep serves.
const ZONES_A_ROUND: i64 = 100;

/// What a rotation left.
#[derive(Debug)]
pub(super) struct Rotated {
    pub(super) keys: Vec<SigningKeyRow>,
    pub(super) epoch: Epoch,
    /// Whether it has happened (200) or still has to (202).
    pub(super) status: StatusCode,
}

impl Api {
    /// Rotates, or sets the time when it will happen.
    pub(super) async fn rotate_keys(
        &self,
        by: &By,
        zone: ZoneId,
        mode: RotationMode,
    ) -> Result<Rotated, Failure> {
        let mut tx = self.database.begin(zone).await?;
        zones::find_for_update(&mut tx, zone)
            .await?
            .ok_or(Refusal::ZoneNotFound)?;
        let before = keys::signing_keys(&mut tx, zone).await?;
        if mode == RotationMode::Emergency {
            return self.emergency(tx, by, zone, &before).await;
        }
        let next = next_of(&before)?;
        if next.activates_at.is_some() {
            return Err(Refusal::RotationInProgress.into());
        }
        let ready_at = next.created_at + UNTIL_EVERYONE_HAS_IT;
        if ready_at <= database_time(&mut tx).await? {
            return self.graceful(tx, by, zone, &before).await;
        }
        keys::schedule_rotation(&mut tx, zone, ready_at).await?;
        let deed = Deed::new(zone, "signing_key.rotate", next.id).about("mode", "graceful");
        self.finish(tx, by, deed, (zone, &before), StatusCode::ACCEPTED)
            .await
    }

    /// What time brings about: scheduled rotations that are due, and keys whose last token has expired.
    pub(crate) async fn keep_keys(&self) -> Result<(), Failure> {
        let mut guard = self.database.begin(Sight::Everything).await?;
        if !upkeep::try_alone(&mut guard, "signing keys").await? {
            return Ok(());
        }
        for zone in keys::zones_due(&mut guard, ZONES_A_ROUND).await? {
            let by = By::system(RequestId::accept_or_mint(None, &*self.clock));
            told(
                "keeping a zone's signing keys",
                self.keep_keys_of(&by, zone).await,
            );
        }
        Ok(guard.rollback().await?)
    }

    async fn keep_keys_of(&self, by: &By, zone: ZoneId) -> Result<(), Failure> {
        let mut tx = self.database.begin(zone).await?;
        if zones::find_for_update(&mut tx, zone).await?.is_none() {
            return Ok(());
        }
        let before = keys::signing_keys(&mut tx, zone).await?;
        let now = database_time(&mut tx).await?;
        let gone = keys::retire_expired(&mut tx, zone).await?;
        if next_of(&before)?.activates_at.is_some_and(|at| at <= now) {
            self.graceful(tx, by, zone, &before).await?;
        } else if !gone.is_empty() {
            let deed = Deed::new(zone, "signing_key.retire", zone);
            self.finish(tx, by, deed, (zone, &before), StatusCode::OK).await?;
        }
        Ok(())
    }

    async fn graceful(
        &self,
        mut tx: Transaction,
        by: &By,
        zone: ZoneId,
        before: &[SigningKeyRow],
    ) -> Result<Rotated, Failure> {
        let next = self.fresh_key(&mut tx, zone).await?;
        let retires_at: Timestamp = database_time(&mut tx).await? + UNTIL_NOTHING_NAMES_IT;
        keys::rotate_graceful(&mut tx, zone, &next, retires_at).await?;
        let deed = Deed::new(zone, "signing_key.rotate", next_of(before)?.id).about("mode", "graceful");
        self.finish(tx, by, deed, (zone, before), StatusCode::OK).await
    }

    /// Which key leaked is not said, so every key that ever signed is dropped and refused.
    async fn emergency(
        &self,
        mut tx: Transaction,
        by: &By,
        zone: ZoneId,
        before: &[SigningKeyRow],
    ) -> Result<Rotated, Failure> {
        let next = self.fresh_key(&mut tx, zone).await?;
        let dropped = keys::rotate_emergency(&mut tx, zone, &next).await?;
        let after = keys::signing_keys(&mut tx, zone).await?;
        let deed = Deed::new(zone, "signing_key.rotate", next_of(before)?.id)
            .about("mode", "emergency")
            .from(&by_kid(before))
            .to(&by_kid(&after));
        let expires_at = self.last_expiry();
        let named = dropped
            .into_iter()
            .map(|kid| (AnchorKind::Kid, kid.to_string(), expires_at))
            .collect();
        let epoch = self
            .refuse(&mut tx, by, zone, named, |anchors| FeedBody::KeysChanged {
                anchors,
            })
            .await?
            .ok_or(Failure::Fault("finding the active signing key"))?;
        let deed = deed.answered(StatusCode::OK, &views(&after));
        self.record(&mut tx, by, deed, Some(epoch)).await?;
        tx.commit().await?;
        Ok(Rotated {
            keys: after,
            epoch,
            status: StatusCode::OK,
        })
    }

    async fn finish(
        &self,
        mut tx: Transaction,
        by: &By,
        deed: Deed,
        (zone, before): (ZoneId, &[SigningKeyRow]),
        status: StatusCode,
    ) -> Result<Rotated, Failure> {
        let keys = keys::signing_keys(&mut tx, zone).await?;
        let deed = deed.from(&by_kid(before)).to(&by_kid(&keys));
        let deed = deed.answered(status, &views(&keys));
        let body = FeedBody::KeysChanged { anchors: Vec::new() };
        let epoch = self.conclude(tx, by, deed, body).await?;
        Ok(Rotated { keys, epoch, status })
    }

    /// The key that will be `next`.
    async fn fresh_key(&self, tx: &mut Conn, zone: ZoneId) -> Result<SigningKey, Failure> {
        let sealed = keys::dek(tx, zone).await?;
        let sealed = sealed.ok_or(Failure::Fault("finding the zone's data key"))?;
        let dek = self.kek.open_dek(zone, &sealed)?;
        new_signing_key(&*self.clock, zone, &dek, KeyStatus::Next)
    }
}

fn next_of(keys: &[SigningKeyRow]) -> Result<&SigningKeyRow, Failure> {
    let next = keys.iter().find(|key| key.status == KeyStatus::Next);
    next.ok_or(Failure::Fault("finding the next signing key"))
}

/// For the ledger: what became of each key.
fn by_kid(keys: &[SigningKeyRow]) -> Value {
    let entry = |key: &SigningKeyRow| (key.id.to_string(), json!(SigningKeyView::from(key)));
    Value::Object(keys.iter().map(entry).collect::<Map<_, _>>())
}
