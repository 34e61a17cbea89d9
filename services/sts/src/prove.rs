//! How an application proves itself: on the view as it is, and on the newer one that the request may demand.
//!
//! What it shows may have been given to it, or taken from it, a moment ago. So a failure is confirmed with the database
//! before it counts (docs/decisions, 0007), and a proof holds only while the credential it was made with is still the
//! application's in the view that the request is decided on.

use crate::app::Sts;
use crate::authenticate::{Authenticated, Caller, Proof, Secret};
use crate::error::Failure;
use crate::view::ZoneView;
use caracal_domain::id::ApplicationId;
use caracal_domain::zone::Application;
use caracal_domain::{OAuthCode, Refusal};
use caracal_jose::ForeignClaims;
use secrecy::{ExposeSecret, SecretString};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a secret waits for its turn to be derived.
const DERIVATION_PATIENCE: Duration = Duration::from_secs(2);

/// An application that has proved itself, with what its assertion says; that is not used up yet.
#[derive(Debug)]
pub(crate) struct Proved {
    /// Which, as it was then.
    pub(crate) application: Arc<Application>,
    /// Where it comes from.
    pub(crate) source: IpAddr,
    proof: Proof,
    assertion: Option<ForeignClaims>,
}

/// An application and what its assertion says.
type Tried = (Arc<Application>, Option<ForeignClaims>);

impl Sts {
    /// Proves an application.
    ///
    /// # Errors
    /// `invalid_client` whatever exactly was wrong, 429 after too many failures, or that the state could not be read.
    pub(crate) async fn proved(
        &self,
        view: &Arc<ZoneView>,
        id: ApplicationId,
        proof: Proof,
        source: IpAddr,
    ) -> Result<Proved, Failure> {
        let tried = match self.prove(view, id, &proof, source).await {
            Err(Failure::Refused(refusal)) if refusal.code() == OAuthCode::InvalidClient => {
                self.prove_again(view, id, &proof, source, refusal).await
            }
            tried => tried,
        };
        let (application, assertion) = tried?;
        Ok(Proved {
            application,
            source,
            proof,
            assertion,
        })
    }

    /// The same application in the view that the request is decided on, which may know another credential of it; only now
    /// its assertion is used up.
    ///
    /// # Errors
    /// As [`Sts::proved`].
    pub(crate) async fn still_proved(
        &self,
        view: Option<Arc<ZoneView>>,
        mut proved: Proved,
    ) -> Result<Authenticated, Failure> {
        let view = view.ok_or(Refusal::InvalidClient)?;
        let id = proved.application.id;
        let current = self.live(&view, id).ok_or(Refusal::InvalidClient)?;
        if !current.has_credential_of(&proved.application) {
            (_, proved.assertion) = self.prove(&view, id, &proved.proof, proved.source).await?;
        }
        if let Some(claims) = &proved.assertion {
            let (zone, now) = (view.zone.config.id, self.clock.now().timestamp());
            self.use_up(zone, id, claims, now).await?;
        }
        Ok(Authenticated {
            caller: Caller::Application(current),
            view,
        })
    }

    /// The same with what the database has now, if that is another credential than the one that failed.
    async fn prove_again(
        &self,
        view: &Arc<ZoneView>,
        id: ApplicationId,
        proof: &Proof,
        source: IpAddr,
        refusal: Refusal,
    ) -> Result<Tried, Failure> {
        if let Some(wait) = self.throttled(id, source) {
            return Err(wait);
        }
        let current = self.zones.confirmed(view).await;
        let tried = self.live(view, id);
        let same = self
            .live(&current, id)
            .is_none_or(|current| tried.is_some_and(|tried| current.has_credential_of(&tried)));
        if same {
            Err(refusal.into())
        } else {
            self.prove(&current, id, proof, source).await
        }
    }

    async fn prove(
        &self,
        view: &ZoneView,
        id: ApplicationId,
        proof: &Proof,
        source: IpAddr,
    ) -> Result<Tried, Failure> {
        let application = self.live(view, id).ok_or(Refusal::InvalidClient)?;
        let assertion = match proof {
            Proof::Secret(secret) => {
                self.prove_secret(&application, secret, source).await?;
                None
            }
            Proof::Assertion(assertion) => Some(
                self.check_assertion(view.zone.config.id, &application, assertion)
                    .await?,
            ),
        };
        Ok((application, assertion))
    }

    /// That the application has to wait, while the failures of the last minute are used up.
    pub(crate) fn throttled(&self, id: ApplicationId, source: IpAddr) -> Option<Failure> {
        let wait = self.quotas.throttled(id, source, self.clock.now())?;
        Some(Failure::Wait(Refusal::ClientThrottled, wait))
    }

    async fn prove_secret(
        &self,
        application: &Application,
        secret: &Secret,
        source: IpAddr,
    ) -> Result<(), Failure> {
        let id = application.id;
        let hash = application.secret_hash.clone().ok_or(Refusal::InvalidClient)?;
        let mut readings: Vec<&SecretString> = std::iter::once(&secret.read).chain(&secret.raw).collect();
        if readings
            .iter()
            .any(|reading| self.secrets.knows(id, reading.expose_secret(), &hash))
        {
            return Ok(());
        }
        readings.retain(|reading| self.secret_mint.is_plausible(reading.expose_secret()));
        if readings.is_empty() {
            return Err(Refusal::InvalidClient.into());
        }
        // Argon2id costs tens of milliseconds and megabytes: only a few at once, and nobody queues for ever.
        let turn = tokio::time::timeout(DERIVATION_PATIENCE, self.derivations.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Failure::Wait(Refusal::ClientThrottled, 1));
        };
        // Only now, so that guesses that came together are not derived together.
        if let Some(wait) = self.throttled(id, source) {
            return Err(wait);
        }
        for reading in readings {
            if self.derive(reading, id, hash.clone()).await {
                return Ok(());
            }
        }
        Err(Refusal::InvalidClient.into())
    }

    /// Whether it is the secret of this hash, found out away from the HTTP threads.
    async fn derive(&self, secret: &SecretString, id: ApplicationId, hash: String) -> bool {
        let (candidate, phc) = (secret.clone(), hash.clone());
        let verified =
            tokio::task::spawn_blocking(move || caracal_jose::verify_secret(candidate.expose_secret(), &phc))
                .await;
        let verified = verified.unwrap_or(false);
        if verified {
            self.secrets.remember(id, secret.expose_secret(), &hash);
        }
        verified
    }
}
