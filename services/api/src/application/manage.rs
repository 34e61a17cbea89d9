//! What is done with applications.

use super::credential::{Offered, check_redirect_uris, is_shared};
use super::{ApplicationPatch, ApplicationView, NewApplicationBody};
use crate::app::Api;
use crate::change::{By, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::text::{Name, check_namespace};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::zone::{CredentialType, RegistrationMethod};
use caracal_domain::{Epoch, FeedBody, Timestamp};
use caracal_storage::applications::{self, ApplicationChanges, ApplicationRow, NewApplication};
use caracal_storage::zones::{self, ZoneRow};
use caracal_storage::{Conn, Transaction};
use chrono::TimeDelta;
use secrecy::SecretString;

const DCR_DEFAULT_SECONDS: i64 = 3600;
const DCR_MOST_SECONDS: i64 = 24 * 3600;
const DCR_PER_SECOND: i64 = 10;
const DCR_MOST_LIVE: i64 = 1000;

/// An application as it now is, its secret if we have just made one, and the epoch that shows it.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) row: ApplicationRow,
    pub(crate) secret: Option<SecretString>,
    pub(crate) epoch: Epoch,
}

impl Api {
    /// Registers an application, by an administrator or by itself (DCR).
    pub(super) async fn create_application(
        &self,
        by: &By,
        zone: &ZoneRow,
        body: NewApplicationBody,
    ) -> Result<Registered, Failure> {
        check_namespace(zone, &[body.name.as_str()])?;
        check_namespace(zone, &texts(&body.traits))?;
        check_redirect_uris(&body.redirect_uris)?;
        let expires_at = self.expiry(zone, body.registration_method, body.expires_in)?;
        let credential_type = body.credential_type.unwrap_or(match body.client_secret {
            // Whoever brings a secret means to prove itself with it.
            Some(_) => CredentialType::Token,
            None => CredentialType::Public,
        });
        let offered = Offered {
            credential_type,
            secret: body.client_secret,
            jwks: body.jwks,
            jwks_uri: body.jwks_uri,
        };
        self.check_offered(&offered)?;
        if expires_at.is_some() {
            self.admit_registering(zone.id)?;
        }
        let credential = self.credential(offered).await?;
        let new = NewApplication {
            zone_id: zone.id,
            id: ApplicationId::mint(&*self.clock),
            name: body.name.into_string(),
            registration_method: body.registration_method,
            credential_type,
            secret_hash: credential.secret_hash,
            jwks: credential.jwks,
            jwks_uri: credential.jwks_uri,
            traits: body.traits.into_iter().map(Name::into_string).collect(),
            consent: consent(body.consent),
            redirect_uris: body.redirect_uris,
            expires_at,
        };
        let mut tx = self.database.begin(zone).await?;
        if expires_at.is_some() {
            admit_registration(&mut tx, zone.id).await?;
        }
        let row = applications::insert(&mut tx, &new).await?;
        let deed = Deed::new(zone.id, "application.create", row.id)
            .to(&ApplicationView::from(&row))
            .secret("client_secret", false, row.secret_hash.is_some())
            .version(row.version);
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Registered {
            row,
            secret: credential.shown,
            epoch,
        })
    }

    /// Whether one more may register itself now. Looked at again, exactly, when it is written; this spares us the
    /// derivation of a secret for a flood.
    fn admit_registering(&self, zone: ZoneId) -> Result<(), Failure> {
        let allowed = u32::try_from(DCR_PER_SECOND).unwrap_or(u32::MAX);
        let now = self.clock.now();
        let admitted = self.registrations.lock().admit(zone, allowed, 1, now);
        Ok(admitted.map_err(|_| Refusal::DcrRateLimitExceeded)?)
    }

    /// When a self-registered application ends, if the zone takes them.
    fn expiry(
        &self,
        zone: &ZoneRow,
        method: RegistrationMethod,
        expires_in: Option<i64>,
    ) -> Result<Option<Timestamp>, Failure> {
        if method == RegistrationMethod::Managed {
            return match expires_in {
                Some(_) => Err(Failure::field(
                    "expires_in",
                    "goes with registration_method dcr only",
                )),
                None => Ok(None),
            };
        }
        if !zone.dcr_enabled {
            return Err(Refusal::DcrDisabled.into());
        }
        let seconds = expires_in.unwrap_or(DCR_DEFAULT_SECONDS);
        if !(1..=DCR_MOST_SECONDS).contains(&seconds) {
            return Err(Failure::field("expires_in", "must be from 1 to 86400 seconds"));
        }
        Ok(Some(self.clock.now() + TimeDelta::seconds(seconds)))
    }

    /// Changes an application.
    pub(super) async fn change_application(
        &self,
        by: &By,
        zone: &ZoneRow,
        id: ApplicationId,
        if_match: &IfMatch,
        patch: ApplicationPatch,
    ) -> Result<Registered, Failure> {
        if let Some(name) = &patch.name {
            check_namespace(zone, &[name.as_str()])?;
        }
        check_namespace(zone, &texts(patch.traits.as_deref().unwrap_or_default()))?;
        check_redirect_uris(patch.redirect_uris.as_deref().unwrap_or_default())?;
        if patch.is_empty() {
            return Err(Refusal::NoFields.into());
        }
        let hash = self.offered_hash(zone.id, id, &patch).await?;
        let mut tx = self.database.begin(zone).await?;
        let before = applications::find_for_update(&mut tx, zone.id, id)
            .await?
            .ok_or(Refusal::ApplicationNotFound)?;
        if_match.check(before.version)?;
        // Looked at again, now that nobody changes it any more.
        let credential = match offered(&patch, &before) {
            Some(offered) => {
                self.check_offered(&offered)?;
                Some(self.kept(offered, hash)?)
            }
            None => None,
        };
        let mut changes = ApplicationChanges {
            name: patch.name.map(Name::into_string),
            traits: patch
                .traits
                .map(|traits| traits.into_iter().map(Name::into_string).collect()),
            consent: patch.consent.map(consent),
            redirect_uris: patch.redirect_uris,
            credential_type: patch.credential_type,
            ..ApplicationChanges::default()
        };
        let mut secret = None;
        if let Some(new) = credential {
            changes.credential_type = Some(new.credential_type);
            changes.secret_hash = Some(new.secret_hash);
            changes.jwks = Some(new.jwks);
            changes.jwks_uri = Some(new.jwks_uri);
            secret = new.shown;
        }
        check_downgrade(&mut tx, &before, &changes).await?;
        let deed = Deed::new(zone.id, "application.update", id);
        self.update_application(tx, by, deed, &before, changes, secret)
            .await
    }

    /// Refuses at once what is no credential of the application as it is, and hashes a secret that was chosen.
    async fn offered_hash(
        &self,
        zone: ZoneId,
        id: ApplicationId,
        patch: &ApplicationPatch,
    ) -> Result<Option<String>, Failure> {
        let before = self
            .read(zone, async |conn| applications::find(conn, zone, id).await)
            .await?
            .ok_or(Refusal::ApplicationNotFound)?;
        if let Some(offered) = offered(patch, &before) {
            self.check_offered(&offered)?;
        }
        self.chosen_hash(patch.client_secret.as_ref()).await
    }

    /// Gives an application a new secret of our making.
    pub(crate) async fn rotate_secret(
        &self,
        by: &By,
        zone: ZoneId,
        id: ApplicationId,
        if_match: &IfMatch,
    ) -> Result<Registered, Failure> {
        let (hash, secret) = self.new_secret()?;
        let mut tx = self.database.begin(zone).await?;
        let before = applications::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::ApplicationNotFound)?;
        if_match.check(before.version)?;
        if before.secret_hash.is_none() {
            return Err(Refusal::ApplicationHasNoSecret.into());
        }
        let changes = ApplicationChanges {
            secret_hash: Some(Some(hash)),
            ..ApplicationChanges::default()
        };
        let deed = Deed::new(zone, "application.rotate_secret", id);
        self.update_application(tx, by, deed, &before, changes, Some(secret))
            .await
    }

    async fn update_application(
        &self,
        mut tx: Transaction,
        by: &By,
        deed: Deed,
        before: &ApplicationRow,
        changes: ApplicationChanges,
        secret: Option<SecretString>,
    ) -> Result<Registered, Failure> {
        let row = applications::update(&mut tx, before.zone_id, before.id, &changes).await?;
        let mut deed = deed
            .from(&ApplicationView::from(before))
            .to(&ApplicationView::from(&row))
            .version(row.version);
        if let Some(new) = &changes.secret_hash {
            deed = deed.secret("client_secret", before.secret_hash.is_some(), new.is_some());
        }
        let rows = (before.clone(), row);
        let Written { value: row, epoch } = self.conclude_change(tx, by, deed, rows).await?;
        Ok(Registered { row, secret, epoch })
    }

    /// Archives an application and ends every token it holds.
    pub(super) async fn archive_application(
        &self,
        by: &By,
        zone: ZoneId,
        id: ApplicationId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let before = applications::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::ApplicationNotFound)?;
        if_match.check(before.version)?;
        let ending = self.end_application(&mut tx, by, &before).await?;
        self.announce(&mut tx, by, (zone, "application.archive"), ending)
            .await?;
        let deed = Deed::new(zone, "application.archive", id).from(&ApplicationView::from(&before));
        self.conclude(tx, by, deed, FeedBody::ZoneChanged).await
    }
}

/// The rules of self-registration, counted one writer at a time.
async fn admit_registration(tx: &mut Conn, zone: ZoneId) -> Result<(), Failure> {
    let zone = zones::find_for_update(tx, zone)
        .await?
        .ok_or(Refusal::ZoneNotFound)?;
    if !zone.dcr_enabled {
        return Err(Refusal::DcrDisabled.into());
    }
    if applications::registered_within_a_second(tx, zone.id).await? >= DCR_PER_SECOND {
        return Err(Refusal::DcrRateLimitExceeded.into());
    }
    if applications::live_dcr(tx, zone.id).await? >= DCR_MOST_LIVE {
        return Err(Refusal::DcrLimitExceeded.into());
    }
    Ok(())
}

/// An application that the active policies name must go on proving itself (seed `004`).
async fn check_downgrade(
    tx: &mut Conn,
    before: &ApplicationRow,
    changes: &ApplicationChanges,
) -> Result<(), Failure> {
    let credential = changes.credential_type.unwrap_or(before.credential_type);
    let was_public = before.credential_type == CredentialType::Public;
    // One that proves nothing does not take on a name that the policies know either.
    let names: Vec<&str> = match (credential == CredentialType::Public, &changes.name) {
        (true, Some(new)) if was_public && *new != before.name => vec![new],
        (true, Some(new)) if !was_public => vec![new, &before.name],
        (true, None) if !was_public => vec![&before.name],
        _ => return Ok(()),
    };
    // No activation between this look and the commit.
    zones::find_for_update(tx, before.zone_id)
        .await?
        .ok_or(Refusal::ZoneNotFound)?;
    for name in names {
        if applications::named_by_active_policy(tx, before.zone_id, before.id, name).await? {
            return Err(Refusal::AppReferencedByActivePolicy.into());
        }
    }
    Ok(())
}

/// The new credential, when the patch asks for one.
fn offered(patch: &ApplicationPatch, before: &ApplicationRow) -> Option<Offered> {
    let credential_type = patch.credential_type.unwrap_or(before.credential_type);
    let no_proof = patch.client_secret.is_none() && patch.jwks.is_none() && patch.jwks_uri.is_none();
    // The same kind of proof by the same or its other name: what is kept stays good.
    let same = credential_type == before.credential_type
        || (is_shared(credential_type) && is_shared(before.credential_type));
    if no_proof && same {
        return None;
    }
    Some(Offered {
        credential_type,
        secret: patch.client_secret.clone(),
        jwks: patch.jwks.clone(),
        jwks_uri: patch.jwks_uri.clone(),
    })
}

fn texts(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}

fn consent(required: bool) -> String {
    if required {
        "required".to_owned()
    } else {
        "implicit".to_owned()
    }
}
