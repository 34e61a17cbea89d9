//! One zone as this replica sees it: immutable, swapped whole, with its keys ready for use.

use crate::error::{Failure, Fault};
use caracal_domain::id::ZoneId;
use caracal_domain::zone::{SigningKey, ZoneSnapshot};
use caracal_domain::{Anchor, AnchorSet, Clock, Epoch, Timestamp};
use caracal_jose::{Dek, Kek, Purpose, Signer, VerifyingKeys};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Past so many anchors a zone's view is not kept: bounded memory, and nothing forgotten.
const ANCHORS_A_ZONE: usize = 100_000;
/// How often anchors that no living token can name are looked for.
const EXPIRE_EVERY: chrono::Duration = chrono::Duration::minutes(1);

/// A zone's configuration with its keys opened, and what has been revoked in it, both as of `epoch`.
#[derive(Debug)]
pub struct ZoneView {
    /// The epoch this view shows in full.
    pub epoch: Epoch,
    /// Since which epoch agents and edges are as they are: what was read of them earlier must be read again.
    pub graph_epoch: Epoch,
    /// Configuration and keys.
    pub zone: Arc<Zone>,
    /// The negative list.
    pub anchors: AnchorSet,
    /// When it was last rid of what has expired; `None` since it was read.
    expired_at: Option<Timestamp>,
}

/// The part of a view that only configuration changes replace.
#[derive(Debug)]
pub struct Zone {
    /// The configuration as stored.
    pub config: ZoneSnapshot,
    /// Signs with the active key.
    pub signer: Signer,
    /// Verifies with every key that is not retired.
    pub verifying: VerifyingKeys,
    /// Opens provider secrets.
    pub dek: Dek,
    /// The public keys as a JWK Set.
    pub jwks: Value,
}

impl ZoneView {
    /// Opens the keys of a snapshot.
    ///
    /// # Errors
    /// A [`Fault`] when the zone's keys cannot be opened with this KEK.
    pub fn open(mut config: ZoneSnapshot, kek: &Kek) -> Result<Self, Failure> {
        let dek = kek.open_dek(config.id, &config.sealed_dek)?;
        let active = config.active_key().ok_or(Fault::NoSigningKey)?;
        let signer = open_signer(config.id, active, &dek)?;
        let verifying =
            VerifyingKeys::from_points(config.keys.iter().map(|key| (key.id, key.public.clone())));
        let jwks = caracal_jose::jwks(&config.keys);
        let anchors = std::mem::take(&mut config.anchors);
        Ok(Self {
            epoch: config.epoch,
            graph_epoch: config.epoch,
            zone: Arc::new(Zone {
                config,
                signer,
                verifying,
                dek,
                jwks,
            }),
            anchors,
            expired_at: None,
        })
    }

    /// Whether it is small enough to be kept.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.anchors.len() <= ANCHORS_A_ZONE
    }

    /// The same zone with more anchors. `complete` says that nothing else happened up to the new epoch, so that the
    /// view may claim it; without it the anchors only add refusals.
    #[must_use]
    pub fn with_anchors(&self, added: &[Anchor], complete: Option<Epoch>, clock: &dyn Clock) -> Self {
        let (mut anchors, now) = (self.anchors.clone(), clock.now());
        let mut expired_at = self.expired_at;
        if expired_at.is_none_or(|last| last + EXPIRE_EVERY <= now) {
            anchors.expire(now);
            expired_at = Some(now);
        }
        for anchor in added {
            anchors.insert(anchor.clone());
        }
        Self {
            epoch: complete.unwrap_or(self.epoch),
            graph_epoch: self.graph_epoch,
            zone: Arc::clone(&self.zone),
            anchors,
            expired_at,
        }
    }

    /// The same zone, in which agents or edges changed at `epoch`.
    #[must_use]
    pub fn with_graph_changed(self, epoch: Epoch) -> Self {
        Self {
            graph_epoch: self.graph_epoch.max(epoch),
            ..self
        }
    }

    /// The public keys as a JWK Set, without those whose last token has expired since this view was made.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Cow<'_, Value> {
        let retiring = &self.zone.config.retiring;
        if retiring.values().all(|end| now < *end) {
            return Cow::Borrowed(&self.zone.jwks);
        }
        let keys = &self.zone.config.keys;
        let published: Vec<SigningKey> = keys
            .iter()
            .filter(|key| retiring.get(&key.id).is_none_or(|end| now < *end))
            .cloned()
            .collect();
        Cow::Owned(caracal_jose::jwks(&published))
    }
}

fn open_signer(zone: ZoneId, key: &SigningKey, dek: &Dek) -> Result<Signer, Failure> {
    let pkcs8 = dek.open(zone, Purpose::SigningKey, key.id.into(), &key.sealed_private)?;
    Ok(Signer::from_pkcs8(key.id, &pkcs8)?)
}
