//! What this replica knows of each zone: what has been revoked in it, and up to which epoch it knows everything.

use caracal_domain::id::ZoneId;
use caracal_domain::{Anchor, AnchorKind, AnchorSet, Epoch, FeedEvent, Timestamp};
use caracal_jose::Verified;
use dashmap::DashMap;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

/// Past so many anchors a zone is read through: bounded memory, and nothing forgotten.
const ANCHORS_A_ZONE: usize = 100_000;
/// Changes heard out of order and waited for; past so many the view claims no more than it did.
const GAPS_A_ZONE: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Views {
    zones: DashMap<ZoneId, View>,
    built: AtomicBool,
}

#[derive(Debug, Default)]
struct View {
    anchors: AnchorSet,
    /// Everything up to here has been applied; unknown until the database or an unbroken line of events says so.
    complete_to: Option<Epoch>,
    /// Applied, but something before them has not been: from the epoch before to their own.
    ahead: BTreeMap<Epoch, Epoch>,
    /// The last change of configuration heard of.
    configured_at: Epoch,
    /// Anchors were left out for want of room.
    overflown: bool,
}

impl View {
    fn insert(&mut self, anchor: Anchor) {
        if self.anchors.len() < ANCHORS_A_ZONE {
            self.anchors.insert(anchor);
        } else {
            self.overflown = true;
        }
    }

    /// Within a zone the epochs are one unbroken line, but two relays may deliver it out of order.
    fn reach(&mut self, previous: Epoch, epoch: Epoch) {
        let Some(mut reached) = self.complete_to else {
            return;
        };
        if self.ahead.len() < GAPS_A_ZONE {
            self.ahead.insert(previous, epoch);
        }
        while let Some((before, after)) = self.ahead.pop_first() {
            if before > reached {
                self.ahead.insert(before, after);
                break;
            }
            reached = reached.max(after);
        }
        self.complete_to = Some(reached);
    }
}

impl Views {
    /// Applies a change. Events that carry no epoch only add.
    pub fn apply(&self, event: &FeedEvent) {
        let mut view = self.zones.entry(event.zone_id).or_default();
        for anchor in event.body.anchors() {
            view.insert(anchor.clone());
        }
        if event.body.changes_configuration() {
            view.configured_at = view.configured_at.max(event.epoch);
        }
        if event.epoch > Epoch::default() {
            view.reach(event.previous_epoch, event.epoch);
        }
    }

    /// Takes over what the database holds, after changes may have been missed: each zone with its epoch, read first,
    /// then every live anchor.
    pub fn rebuild(&self, epochs: &[(ZoneId, Epoch)], live: Vec<(ZoneId, Anchor)>) {
        let mut fresh: HashMap<ZoneId, View> = HashMap::with_capacity(epochs.len());
        for (zone, epoch) in epochs {
            fresh.entry(*zone).or_default().complete_to = Some(*epoch);
        }
        for (zone, anchor) in live {
            fresh.entry(zone).or_default().insert(anchor);
        }
        self.zones.retain(|zone, _| fresh.contains_key(zone));
        for (zone, view) in fresh {
            self.zones.insert(zone, view);
        }
        self.built.store(true, Ordering::Release);
    }

    /// Adds an anchor that the feed may have lost.
    pub fn heal(&self, zone: ZoneId, anchor: Anchor) {
        self.zones.entry(zone).or_default().insert(anchor);
    }

    /// The database stands at `epoch` and every anchor up to it has been added; whatever else changed went unheard.
    pub fn advance(&self, zone: ZoneId, epoch: Epoch) {
        let mut view = self.zones.entry(zone).or_default();
        if view.complete_to < Some(epoch) {
            view.complete_to = Some(epoch);
            view.configured_at = view.configured_at.max(epoch);
        }
    }

    /// Whether the database has been read at all.
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.built.load(Ordering::Acquire)
    }

    /// The anchor that refuses a token, if one does.
    #[must_use]
    pub fn refuses(&self, token: &Verified) -> Option<AnchorKind> {
        self.zones
            .get(&token.claims().zone_id)?
            .anchors
            .refuses(token.claims(), token.kid())
    }

    /// Whether everything up to `epoch` has been applied.
    #[must_use]
    pub fn has_reached(&self, zone: ZoneId, epoch: Epoch) -> bool {
        self.zones
            .get(&zone)
            .and_then(|view| view.complete_to)
            .is_some_and(|reached| reached >= epoch)
    }

    /// Whether every anchor of the zone is here.
    #[must_use]
    pub fn is_whole(&self, zone: ZoneId) -> bool {
        self.zones.get(&zone).is_none_or(|view| !view.overflown)
    }

    /// The last change of the zone's configuration heard of.
    #[must_use]
    pub fn configured_at(&self, zone: ZoneId) -> Epoch {
        self.zones
            .get(&zone)
            .map_or(Epoch::default(), |view| view.configured_at)
    }

    /// Drops what no living token can name any more.
    pub fn expire(&self, now: Timestamp) {
        for mut view in self.zones.iter_mut() {
            view.anchors.expire(now);
        }
    }

    /// How many anchors are held.
    #[must_use]
    pub fn anchors(&self) -> usize {
        self.zones.iter().map(|view| view.anchors.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caracal_domain::FeedBody;
    use caracal_domain::id::OutboxId;
    use uuid::Uuid;

    fn zone() -> ZoneId {
        Uuid::from_u128(1).into()
    }

    fn anchor(value: u128) -> Anchor {
        Anchor {
            kind: AnchorKind::Sid,
            value: Uuid::from_u128(value).to_string(),
            epoch: 1.into(),
            expires_at: Timestamp::MAX_UTC,
        }
    }

    fn event(previous: i64, epoch: i64, body: FeedBody) -> FeedEvent {
        let id = OutboxId::from(Uuid::nil());
        FeedEvent {
            id,
            zone_id: zone(),
            epoch: epoch.into(),
            previous_epoch: previous.into(),
            body,
        }
    }

    #[test]
    fn a_view_claims_an_epoch_only_when_nothing_before_it_is_missing() {
        let views = Views::default();
        views.apply(&event(3, 5, FeedBody::ZoneChanged));
        assert!(
            !views.has_reached(zone(), 5.into()),
            "nobody knows what came before"
        );
        views.rebuild(&[(zone(), 5.into())], vec![(zone(), anchor(1))]);
        assert!(views.has_reached(zone(), 5.into()) && !views.has_reached(zone(), 6.into()));
        views.apply(&event(8, 9, FeedBody::ZoneChanged));
        views.apply(&event(7, 8, FeedBody::ZoneChanged));
        assert!(!views.has_reached(zone(), 7.into()), "5 to 7 is missing");
        views.apply(&event(5, 7, FeedBody::ZoneChanged));
        assert!(views.has_reached(zone(), 9.into()));
        views.apply(&event(5, 7, FeedBody::ZoneChanged));
        assert!(
            views.has_reached(zone(), 9.into()),
            "the same event again is harmless"
        );
    }

    #[test]
    fn what_the_feed_lost_is_healed_and_makes_directives_old() {
        let views = Views::default();
        views.rebuild(&[(zone(), 5.into())], Vec::new());
        views.advance(zone(), 5.into());
        assert_eq!(views.configured_at(zone()), Epoch::default(), "nothing was lost");
        views.heal(zone(), anchor(1));
        views.advance(zone(), 6.into());
        assert!(views.has_reached(zone(), 6.into()));
        assert_eq!((views.configured_at(zone()), views.anchors()), (6.into(), 1));
    }

    #[test]
    fn only_configuration_makes_a_directive_old() {
        let views = Views::default();
        views.apply(&event(
            1,
            2,
            FeedBody::SessionsRevoked {
                anchors: vec![anchor(1)],
            },
        ));
        assert_eq!(views.configured_at(zone()), Epoch::default());
        views.apply(&event(
            2,
            3,
            FeedBody::PolicyActivated {
                policy_set_version_id: None,
            },
        ));
        assert_eq!(views.configured_at(zone()), 3.into());
        assert_eq!(views.anchors(), 1);
    }

    #[test]
    fn a_zone_without_room_is_no_longer_whole() {
        let views = Views::default();
        assert!(views.is_whole(zone()));
        let anchors = (0..=100_000).map(anchor).collect();
        views.apply(&event(0, 0, FeedBody::SessionsRevoked { anchors }));
        assert!(!views.is_whole(zone()));
        assert_eq!(views.anchors(), ANCHORS_A_ZONE);
    }
}
