//! What is done with zones.

use super::{DcrShutdown, NewZoneBody, ZonePatch, ZoneView};
use crate::app::Api;
use crate::change::{By, Change, Deed, Written};
use crate::ending::Ending;
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::sight::Sight;
use crate::text::{Name, RESERVED, Slug, is_reserved};
use caracal_domain::id::{SigningKeyId, ZoneId};
use caracal_domain::zone::SYSTEM_SLUG;
use caracal_domain::zone::{KeyStatus, SigningKey};
use caracal_domain::{Clock, Epoch, FeedBody};
use caracal_jose::{Dek, Purpose, generate_key_pair};
use caracal_storage::zones::{self, NewZone, ZoneChanges, ZoneRow};
use caracal_storage::{Conn, applications, keys};
use futures::try_join;

/// How often a zone is tried to be made while others take, by asking for it, the very slug that was free for it; and how
/// often its door is tried to be closed while others come through it.
const ATTEMPTS: u32 = 8;

/// A zone to be, with everything defaulted but its slug.
#[derive(Debug, Clone)]
pub(crate) struct NewZoneSpec {
    pub(crate) name: String,
    pub(crate) org_id: String,
    pub(crate) slug: SlugWish,
    pub(crate) dcr_enabled: bool,
    pub(crate) pkce_required: bool,
    pub(crate) login_flow: String,
    pub(crate) is_system: bool,
}

/// How a zone's slug is chosen.
#[derive(Debug, Clone)]
pub(crate) enum SlugWish {
    /// This one, or none.
    Exactly(String),
    /// This one, or a free one of `-2`, `-3`, ….
    Like(Slug),
}

impl NewZoneSpec {
    /// The zone that exists from first start.
    pub(crate) fn system() -> Self {
        let slug = SlugWish::Exactly(SYSTEM_SLUG.to_owned());
        Self {
            is_system: true,
            ..Self::named("Caracal system".to_owned(), slug)
        }
    }

    /// A zone with the defaults of seed `004`.
    pub(crate) fn named(name: String, slug: SlugWish) -> Self {
        Self {
            name,
            slug,
            org_id: "default".to_owned(),
            dcr_enabled: false,
            pkce_required: true,
            login_flow: "default".to_owned(),
            is_system: false,
        }
    }
}

impl From<NewZoneBody> for NewZoneSpec {
    fn from(body: NewZoneBody) -> Self {
        let slug = match body.slug {
            Some(slug) => SlugWish::Exactly(slug.into_string()),
            None => SlugWish::Like(Slug::derive(&body.name)),
        };
        let plain = Self::named(body.name.into_string(), slug);
        Self {
            org_id: body.org_id.map_or(plain.org_id, Name::into_string),
            dcr_enabled: body.dcr_enabled.unwrap_or(plain.dcr_enabled),
            pkce_required: body.pkce_required.unwrap_or(plain.pkce_required),
            login_flow: body.login_flow.map_or(plain.login_flow, Name::into_string),
            is_system: body.is_system.unwrap_or(plain.is_system),
            ..plain
        }
    }
}

impl Api {
    /// Makes a zone, its data-encryption key, an active and a next signing key, all in one transaction.
    pub(crate) async fn create_zone(&self, by: &By, spec: NewZoneSpec) -> Result<Written<ZoneRow>, Failure> {
        let mut attempts = match spec.slug {
            SlugWish::Exactly(_) => 1,
            SlugWish::Like(_) => ATTEMPTS,
        };
        loop {
            attempts -= 1;
            match self.try_create_zone(by, spec.clone()).await {
                Err(Failure::Storage(error))
                    if attempts > 0 && error.conflict() == Some("zones_slug_live") => {}
                made => return made,
            }
        }
    }

    async fn try_create_zone(&self, by: &By, spec: NewZoneSpec) -> Result<Written<ZoneRow>, Failure> {
        let tx = self.database.begin(Sight::Everything).await?;
        let zone = self.insert_zone(&tx, spec).await?;
        let deed = Deed::new(zone.id, "zone.create", zone.id)
            .to(&ZoneView::from(&zone))
            .version(zone.version);
        let epoch = self.conclude_first(tx, by, deed, &zone).await?;
        Ok(Written { value: zone, epoch })
    }

    /// The same within a transaction of the caller's.
    pub(crate) async fn insert_zone(&self, tx: &Conn, spec: NewZoneSpec) -> Result<ZoneRow, Failure> {
        if !spec.is_system && is_reserved(&spec.name) {
            return Err(Refusal::ReservedNamespace.into());
        }
        let slug = match spec.slug {
            SlugWish::Exactly(slug) => slug,
            SlugWish::Like(slug) => zones::free_slug(tx, slug.as_str()).await?,
        };
        let new = NewZone {
            id: ZoneId::mint(&*self.clock),
            org_id: spec.org_id,
            name: spec.name,
            slug,
            dcr_enabled: spec.dcr_enabled,
            pkce_required: spec.pkce_required,
            login_flow: spec.login_flow,
            is_system: spec.is_system,
        };
        let (dek, sealed) = self.kek.new_dek(new.id)?;
        let active = new_signing_key(&*self.clock, new.id, &dek, KeyStatus::Active)?;
        let next = new_signing_key(&*self.clock, new.id, &dek, KeyStatus::Next)?;
        let signing_keys = [&active, &next];
        // In this order, in one round trip.
        let (zone, (), ()) = try_join!(
            zones::insert(tx, &new),
            keys::insert_dek(tx, new.id, &sealed),
            keys::insert_signing_keys(tx, new.id, &signing_keys),
        )?;
        Ok(zone)
    }

    /// Changes a zone.
    pub(crate) async fn change_zone(
        &self,
        by: &By,
        id: ZoneId,
        if_match: &IfMatch,
        patch: ZonePatch,
    ) -> Result<Written<ZoneRow>, Failure> {
        let shutdown = patch.dcr_shutdown;
        let changes = changes(patch);
        if changes == ZoneChanges::default() && shutdown.is_none() {
            return Err(Refusal::NoFields.into());
        }
        for _ in 0..ATTEMPTS {
            let changed = self.try_change_zone(by, id, if_match, &changes, shutdown).await?;
            if let Some(written) = changed {
                return Ok(written);
            }
        }
        Err(Failure::Busy("Applications go on registering themselves."))
    }

    /// The same once; `None` when applications that are to end registered themselves meanwhile.
    async fn try_change_zone(
        &self,
        by: &By,
        id: ZoneId,
        if_match: &IfMatch,
        changes: &ZoneChanges,
        shutdown: Option<DcrShutdown>,
    ) -> Result<Option<Written<ZoneRow>>, Failure> {
        let mut tx = self.database.begin(id).await?;
        let mut ending = Ending::default();
        let ends = shutdown == Some(DcrShutdown::RevokeLive);
        if ends {
            // Before the zone's row is ours, as whoever changes one of them has it; taken back with all else on refusal.
            ending = self.end_registrations(&mut tx, by, id).await?;
        }
        let before = zones::find_for_update(&mut tx, id)
            .await?
            .ok_or(Refusal::ZoneNotFound)?;
        if_match.check(before.version)?;
        let is_system = changes.is_system.unwrap_or(before.is_system);
        if !is_system && is_reserved(changes.name.as_ref().unwrap_or(&before.name)) {
            return Err(Refusal::ReservedNamespace.into());
        }
        if before.is_system && !is_system {
            let names = zones::names_within(&mut tx, id, RESERVED).await?;
            if names.iter().any(|name| is_reserved(name)) {
                return Err(Refusal::ReservedNamespace.into());
            }
        }
        if before.slug == SYSTEM_SLUG && (changes.slug.is_some() || changes.is_system == Some(false)) {
            return Err(Refusal::SystemZoneProtected.into());
        }
        let stays_open = changes.dcr_enabled.unwrap_or(before.dcr_enabled);
        if shutdown.is_some() && stays_open {
            return Err(Failure::field("dcr_shutdown", "goes with dcr_enabled false only"));
        }
        // Also when the door is closed already: those that were kept then are still somebody's decision.
        if changes.dcr_enabled == Some(false) && shutdown.is_none() {
            let live = applications::live_dcr(&mut tx, id).await?;
            if live > 0 {
                return Err(Failure::DcrShutdownRequired(live));
            }
        }
        if ends && applications::live_dcr(&mut tx, id).await? > 0 {
            // Whoever changes one of them waits for the zone's row, so they are not waited for while it is ours.
            return Ok(None);
        }
        let zone = zones::update(&mut tx, id, changes).await?;
        let deed = Deed::new(id, "zone.update", id)
            .from(&ZoneView::from(&before))
            .to(&ZoneView::from(&zone));
        if !ends {
            return Ok(Some(self.conclude_change(tx, by, deed, (before, zone)).await?));
        }
        self.announce(&mut tx, by, (id, "zone.update"), ending).await?;
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Some(Written { value: zone, epoch }))
    }

    /// Archives a zone: replicas that reload it find nothing, so nothing is minted or passed any more.
    pub(crate) async fn archive_zone(
        &self,
        by: &By,
        id: ZoneId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(id).await?;
        let before = zones::find_for_update(&mut tx, id)
            .await?
            .ok_or(Refusal::ZoneNotFound)?;
        if_match.check(before.version)?;
        if before.slug == SYSTEM_SLUG {
            return Err(Refusal::SystemZoneProtected.into());
        }
        let change = Change::draw(&tx, &*self.clock, id, by).await?;
        zones::archive(&mut tx, id).await?;
        let deed = Deed::new(id, "zone.archive", id).from(&ZoneView::from(&before));
        self.conclude_at(tx, by, deed, change, FeedBody::ZoneChanged)
            .await
    }

    /// How many self-registered applications of the zone are live.
    pub(crate) async fn live_registrations(&self, zone: ZoneId) -> Result<i64, Failure> {
        let mut conn = self.database.acquire(zone).await?;
        Ok(applications::live_dcr(&mut conn, zone).await?)
    }
}

/// A key pair for the zone, its private half sealed for its own row.
pub(crate) fn new_signing_key(
    clock: &dyn Clock,
    zone: ZoneId,
    dek: &Dek,
    status: KeyStatus,
) -> Result<SigningKey, Failure> {
    let (id, pair) = (SigningKeyId::mint(clock), generate_key_pair()?);
    let sealed_private = dek.seal(zone, Purpose::SigningKey, id.into(), &pair.pkcs8)?;
    Ok(SigningKey {
        id,
        status,
        public: pair.public,
        sealed_private,
    })
}

fn changes(patch: ZonePatch) -> ZoneChanges {
    ZoneChanges {
        org_id: patch.org_id.map(Name::into_string),
        name: patch.name.map(Name::into_string),
        slug: patch.slug.map(Slug::into_string),
        dcr_enabled: patch.dcr_enabled,
        pkce_required: patch.pkce_required,
        login_flow: patch.login_flow.map(Name::into_string),
        is_system: patch.is_system,
        mint_rate_per_minute: patch.mint_rate_per_minute,
    }
}
