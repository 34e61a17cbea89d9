//! What the bootstrap leaves behind, made in one transaction of the same parts as everything else.

use super::BootstrapView;
use super::rule::is_ruled;
use crate::app::Api;
use crate::change::{By, Deed};
use crate::error::{Failure, Refusal};
use crate::sight::Sight;
use crate::zone::{NewZoneSpec, SlugWish};
use actix_web::http::StatusCode;
use caracal_domain::Epoch;
use caracal_domain::FeedBody;
use caracal_domain::id::{ApplicationId, ResourceId, ZoneId};
use caracal_domain::zone::{AuthMode, CredentialType, RegistrationMethod, SigningKey};
use caracal_jose::Purpose;
use caracal_policy::CompiledModule;
use caracal_storage::applications::{self, ApplicationChanges, NewApplication};
use caracal_storage::resources::{self, NewResource};
use caracal_storage::zones::{self, ZoneRow};
use caracal_storage::{Conn, keys};
use secrecy::SecretString;
use serde_json::json;

/// The resource it makes.
pub(crate) const RESOURCE: &str = "resource://example";
/// The scope of that resource.
pub(crate) const SCOPE: &str = "read";

const SLUG: &str = "local";
/// Tells the bootstrap's zone from one that somebody else called `local`.
const ORGANISATION: &str = "caracal-local-bootstrap";
const APPLICATION: &str = "Local application";
const ROLE: &str = "role:reader";

/// What is there now.
pub(super) struct Planted {
    pub(super) zone: ZoneId,
    pub(super) application: ApplicationId,
    pub(super) secret: Option<SecretString>,
    pub(super) new: bool,
    pub(super) rotated: bool,
    pub(super) epoch: Epoch,
}

impl Api {
    pub(super) async fn bootstrap(&self, by: &By, force: bool) -> Result<Planted, Failure> {
        if let Some(found) = self.found(by, force).await? {
            return Ok(found);
        }
        match self.plant(by).await {
            // Somebody bootstraps at the same moment: theirs is the one that counts.
            Err(Failure::Storage(error)) if error.conflict() == Some("zones_slug_live") => {
                let found = self.found(by, force).await?;
                found.ok_or(Refusal::ZoneNotLocalBootstrap.into())
            }
            planted => planted,
        }
    }

    async fn found(&self, by: &By, force: bool) -> Result<Option<Planted>, Failure> {
        let found = self
            .read(Sight::Everything, async |conn| {
                zones::find_by_slug(conn, SLUG).await
            })
            .await?;
        let Some(zone) = found else {
            return Ok(None);
        };
        if zone.org_id != ORGANISATION {
            return Err(Refusal::ZoneNotLocalBootstrap.into());
        }
        let ruled = self
            .read(zone.id, async |conn| is_ruled(conn, zone.id).await)
            .await?;
        let module = if ruled {
            None
        } else {
            Some(self.compile_rule().await?)
        };
        match self.mend(by, &zone, force, module.clone()).await {
            // Somebody mends it at the same moment: what they made is found now.
            Err(Failure::Storage(error)) if error.conflict().is_some() => {
                self.mend(by, &zone, force, module).await
            }
            mended => mended,
        }
        .map(Some)
    }

    /// What is missing of it is made again: whoever renamed or archived the application, or archived the resource, the
    /// policy or its set, has no bootstrap any more. With `force` the application proves itself by a new secret, whatever
    /// it did before, and the zone's signing keys are sealed anew. `module` is the policy's, if nothing decides.
    async fn mend(
        &self,
        by: &By,
        zone: &ZoneRow,
        force: bool,
        module: Option<CompiledModule>,
    ) -> Result<Planted, Failure> {
        // The caller's idempotency key is of no zone.
        let mut tx = self.database.begin(Sight::Everything).await?;
        let found = applications::find_named_for_update(&mut tx, zone.id, APPLICATION).await?;
        let has_resource = resources::is_taken(&mut tx, zone.id, RESOURCE).await?;
        if !has_resource {
            resources::insert(&mut tx, &self.example_resource(zone.id)).await?;
        }
        let new = found.is_none();
        let (application, secret) = match found {
            Some(application) if !force => (application.id, None),
            Some(application) => {
                let (hash, secret) = self.new_secret()?;
                applications::update(&mut tx, zone.id, application.id, &proving_by(hash)).await?;
                (application.id, Some(secret))
            }
            None => {
                let (hash, secret) = self.new_secret()?;
                let made = applications::insert(&mut tx, &self.local_application(zone.id, hash)).await?;
                (made.id, Some(secret))
            }
        };
        let planted = |secret, epoch| Planted {
            zone: zone.id,
            application,
            secret,
            new: new && !force,
            rotated: force,
            epoch,
        };
        let rule = match module {
            Some(module) => self.rule(&mut tx, by, zone.id, module).await?,
            None => None,
        };
        if secret.is_none() && has_resource && rule.is_none() {
            tx.rollback().await?;
            return Ok(planted(None, zone.epoch));
        }
        if force {
            self.reseal_keys(&mut tx, zone.id).await?;
        }
        let view = BootstrapView::of(zone.id, application, force);
        let status = if new && !force {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let deed = Deed::new(zone.id, "local.bootstrap", application)
            .to(&json!({"application_id": application, "rotated": force}))
            .answered(status, &view);
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(planted(secret, epoch))
    }

    async fn reseal_keys(&self, tx: &mut Conn, zone: ZoneId) -> Result<(), Failure> {
        let dek = self.dek(tx, zone).await?;
        for row in keys::signing_keys(tx, zone).await? {
            let key = SigningKey::from(row);
            let private = dek.open(zone, Purpose::SigningKey, key.id.into(), &key.sealed_private)?;
            let sealed = dek.seal(zone, Purpose::SigningKey, key.id.into(), &private)?;
            keys::reseal_signing_key(tx, zone, key.id, &sealed).await?;
        }
        Ok(())
    }

    async fn plant(&self, by: &By) -> Result<Planted, Failure> {
        let module = self.compile_rule().await?;
        let (hash, secret) = self.new_secret()?;

        let mut tx = self.database.begin(Sight::Everything).await?;
        let spec = NewZoneSpec {
            org_id: ORGANISATION.to_owned(),
            ..NewZoneSpec::named("Local".to_owned(), SlugWish::Exactly(SLUG.to_owned()))
        };
        let zone = self.insert_zone(&tx, spec).await?.id;
        resources::insert(&mut tx, &self.example_resource(zone)).await?;
        let application = applications::insert(&mut tx, &self.local_application(zone, hash)).await?;
        let rule = self.rule(&mut tx, by, zone, module).await?;
        let rule = rule.ok_or(Failure::Fault("activating a policy in a new zone"))?;
        let made =
            json!({"application_id": application.id, "policy_id": rule.policy, "policy_set_id": rule.set});
        let view = BootstrapView::of(zone, application.id, false);
        let deed = Deed::new(zone, "local.bootstrap", zone)
            .to(&made)
            .answered(StatusCode::CREATED, &view);
        self.record(&mut tx, by, deed, Some(rule.epoch)).await?;
        tx.commit().await?;
        Ok(Planted {
            zone,
            application: application.id,
            secret: Some(secret),
            new: true,
            rotated: false,
            epoch: rule.epoch,
        })
    }

    fn example_resource(&self, zone_id: ZoneId) -> NewResource {
        NewResource {
            zone_id,
            id: ResourceId::mint(&*self.clock),
            name: "Example".to_owned(),
            identifier: RESOURCE.to_owned(),
            prefix: false,
            scopes: vec![SCOPE.to_owned()],
            upstream_url: None,
            credential_provider_id: None,
            auth_mode: AuthMode::CaracalJwt,
            operations: Vec::new(),
            forward_headers: Vec::new(),
        }
    }

    fn local_application(&self, zone_id: ZoneId, secret_hash: String) -> NewApplication {
        NewApplication {
            zone_id,
            id: ApplicationId::mint(&*self.clock),
            name: APPLICATION.to_owned(),
            registration_method: RegistrationMethod::Managed,
            credential_type: CredentialType::Token,
            secret_hash: Some(secret_hash),
            jwks: None,
            jwks_uri: None,
            traits: vec![ROLE.to_owned()],
            consent: "implicit".to_owned(),
            redirect_uris: Vec::new(),
            expires_at: None,
        }
    }
}

/// By a shared secret and nothing else.
fn proving_by(secret_hash: String) -> ApplicationChanges {
    ApplicationChanges {
        credential_type: Some(CredentialType::Token),
        secret_hash: Some(Some(secret_hash)),
        jwks: Some(None),
        jwks_uri: Some(None),
        ..ApplicationChanges::default()
    }
}
