//! What is done with applications.

use super::credential::{Credential, Offered, check_redirect_uris};
use super::{ApplicationPatch, ApplicationView, NewApplicationBody};
use crate::app::Api;
use crate::change::{By, Deed};
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::text::{Name, check_namespace};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::zone::{CredentialType, RegistrationMethod};
use caracal_domain::{Epoch, FeedBody, Timestamp};
use caracal_storage::Conn;
use caracal_storage::applications::{self, ApplicationChanges, ApplicationRow, NewApplication};
use caracal_storage::zones::{self, ZoneRow};
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
        check_redirect_uris(&body.redirect_uris)?;
        let expires_at = self.expiry(zone, body.registration_method, body.expires_in)?;
        let credential_type = body.credential_type.unwrap_or(CredentialType::Public);
        let offered = Offered {
            credential_type,
            secret: body.client_secret,
            jwks: body.jwks,
            jwks_uri: body.jwks_uri,
        };
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
        let deed = Deed::new(zone.id, "application.create", row.id).to(&ApplicationView::from(&row));
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Registered {
            row,
            secret: credential.shown,
            epoch,
        })
    }

    /// When a self-registered application ends, if the zone takes one more of them now.
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
        let now = self.clock.now();
        // Looked at again, exactly, when it is written; this spares us the derivation of a secret for a flood.
        let allowed = u32::try_from(DCR_PER_SECOND).unwrap_or(u32::MAX);
        let admitted = self.registrations.lock().admit(zone.id, allowed, 1, now);
        admitted.map_err(|_| Refusal::DcrRateLimitExceeded)?;
        Ok(Some(now + TimeDelta::seconds(seconds)))
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
        check_redirect_uris(patch.redirect_uris.as_deref().unwrap_or_default())?;
        let credential = self.changed_credential(zone.id, id, &patch).await?;
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
            // Together, so that of two changes at once one holds as a whole.
            changes.credential_type = Some(new.credential_type);
            changes.secret_hash = Some(new.secret_hash);
            changes.jwks = Some(new.jwks);
            changes.jwks_uri = Some(new.jwks_uri);
            secret = new.shown;
        } else if changes.credential_type.is_none()
            && changes.name.is_none()
            && changes.traits.is_none()
            && changes.consent.is_none()
            && changes.redirect_uris.is_none()
            && changes.credential_type.is_none()
        {
            return Err(Refusal::NoFields.into());
        }
        self.update_application(by, zone.id, id, Some(if_match), changes, secret)
            .await
    }

    /// The new credential, when the patch asks for one.
    async fn changed_credential(
        &self,
        zone: ZoneId,
        id: ApplicationId,
        patch: &ApplicationPatch,
    ) -> Result<Option<Credential>, Failure> {
        let no_proof = patch.client_secret.is_none() && patch.jwks.is_none() && patch.jwks_uri.is_none();
        if patch.credential_type.is_none() && no_proof {
            return Ok(None);
        }
        let mut conn = self.database.acquire(zone).await?;
        let before = applications::find(&mut conn, zone, id)
            .await?
            .ok_or(Refusal::ApplicationNotFound)?;
        drop(conn);
        let credential_type = patch.credential_type.unwrap_or(before.credential_type);
        // The same kind of proof by the same or its other name: what is kept stays good. Nothing is kept of a public one,
        // and saying so again also undoes what another change may be adding at this moment.
        if no_proof
            && credential_type != CredentialType::Public
            && (credential_type == before.credential_type
                || both_secret(credential_type, before.credential_type))
        {
            return Ok(None);
        }
        let offered = Offered {
            credential_type,
            secret: patch.client_secret.clone(),
            jwks: patch.jwks.clone(),
            jwks_uri: patch.jwks_uri.clone(),
        };
        self.credential(offered).await.map(Some)
    }

    /// Gives an application a new secret of our making.
    pub(crate) async fn rotate_secret(
        &self,
        by: &By,
        zone: ZoneId,
        id: ApplicationId,
    ) -> Result<Registered, Failure> {
        let mut conn = self.database.acquire(zone).await?;
        let before = applications::find(&mut conn, zone, id)
            .await?
            .ok_or(Refusal::ApplicationNotFound)?;
        drop(conn);
        if before.secret_hash.is_none() {
            return Err(Refusal::ApplicationHasNoSecret.into());
        }
        let (hash, secret) = self.new_secret()?;
        let changes = ApplicationChanges {
            secret_hash: Some(Some(hash)),
            ..ApplicationChanges::default()
        };
        self.update_application(by, zone, id, None, changes, Some(secret))
            .await
    }

    async fn update_application(
        &self,
        by: &By,
        zone: ZoneId,
        id: ApplicationId,
        if_match: Option<&IfMatch>,
        changes: ApplicationChanges,
        secret: Option<SecretString>,
    ) -> Result<Registered, Failure> {
        let what = if if_match.is_some() {
            "application.update"
        } else {
            "application.rotate_secret"
        };
        let mut tx = self.database.begin(zone).await?;
        let before = applications::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::ApplicationNotFound)?;
        match if_match {
            Some(if_match) => if_match.check(before.version)?,
            // The type may have changed while the secret was derived.
            None if before.secret_hash.is_none() => return Err(Refusal::ApplicationHasNoSecret.into()),
            None => {}
        }
        check_downgrade(&mut tx, &before, &changes).await?;
        let row = applications::update(&mut tx, zone, id, &changes).await?;
        let deed = Deed::new(zone, what, id)
            .from(&ApplicationView::from(&before))
            .to(&ApplicationView::from(&row));
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
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
        self.announce(&mut tx, zone, ending).await?;
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
    let becomes_public = changes.credential_type == Some(CredentialType::Public);
    if !becomes_public || before.credential_type == CredentialType::Public {
        return Ok(());
    }
    // No activation between this look and the commit.
    zones::find_for_update(tx, before.zone_id)
        .await?
        .ok_or(Refusal::ZoneNotFound)?;
    if applications::named_by_active_policy(tx, before.zone_id, before.id, &before.name).await? {
        return Err(Refusal::AppReferencedByActivePolicy.into());
    }
    Ok(())
}

const fn both_secret(one: CredentialType, other: CredentialType) -> bool {
    use CredentialType::{Password, Token};
    matches!(one, Token | Password) && matches!(other, Token | Password)
}

fn consent(required: bool) -> String {
    if required {
        "required".to_owned()
    } else {
        "implicit".to_owned()
    }
}
