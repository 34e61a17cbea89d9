//! How an application proves itself: on the view as it is, and on the newer one that the request may demand.
//!
//! What it shows may have been given to it, or taken from it, a moment ago. So a failure is confirmed with the database
//! before it counts (docs/decisions, 0007), and a proof holds only while the credential it was made with is still the
//! application's in the view that the request is decided on.

use crate::app::Sts;
use crate::authenticate::{Authenticated, Caller, Proof};
use crate::error::Failure;
use crate::quotas::Account;
use crate::view::ZoneView;
use caracal_domain::id::ApplicationId;
use caracal_domain::zone::Application;
use caracal_domain::{Epoch, OAuthCode, Refusal};
use caracal_jose::ForeignClaims;
use secrecy::{ExposeSecret, SecretString};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a secret waits for its turn to be derived.
const DERIVATION_PATIENCE: Duration = Duration::from_secs(2);

/// An application that has proved itself, with what its assertion says; that is not used up yet.
struct Proved {
    application: Arc<Application>,
    assertion: Option<ForeignClaims>,
}

impl Sts {
    /// Proves an application. Only once it has may it make us wait for a newer view.
    ///
    /// # Errors
    /// `invalid_client` whatever exactly was wrong, 429 after too many failures, or that the state could not be read.
    pub(crate) async fn proved(
        &self,
        view: Arc<ZoneView>,
        id: ApplicationId,
        proof: &Proof,
        source: IpAddr,
        at_least: Option<Epoch>,
    ) -> Result<Authenticated, Failure> {
        let zone = view.zone.config.id;
        let proved = match self.prove(&view, id, proof, source).await {
            Err(Failure::Refused(refusal)) if refusal.code() == OAuthCode::InvalidClient => {
                self.prove_again(&view, id, proof, source, refusal).await
            }
            proved => proved,
        };
        let mut proved = proved?;
        let view = self.zones.view(zone, at_least).await?;
        let view = view.ok_or(Refusal::InvalidClient)?;
        let current = self.live(&view, id).ok_or(Refusal::InvalidClient)?;
        if !current.has_credential_of(&proved.application) {
            proved = self.prove(&view, id, proof, source).await?;
        }
        if let Some(claims) = &proved.assertion {
            self.use_up(zone, id, claims, self.clock.now().timestamp())
                .await?;
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
    ) -> Result<Proved, Failure> {
        if let Some(wait) = self.throttled(id, source) {
            return Err(wait);
        }
        let current = self.confirmed(view, Account::Source(source)).await;
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
    ) -> Result<Proved, Failure> {
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
        Ok(Proved {
            application,
            assertion,
        })
    }

    /// That the application has to wait, while the failures of the last minute are used up.
    pub(crate) fn throttled(&self, id: ApplicationId, source: IpAddr) -> Option<Failure> {
        let wait = self.quotas.throttled(id, source, self.clock.now())?;
        Some(Failure::Wait(Refusal::ClientThrottled, wait))
    }

    async fn prove_secret(
        &self,
        application: &Application,
        secret: &SecretString,
        source: IpAddr,
    ) -> Result<(), Failure> {
        let id = application.id;
        let hash = application.secret_hash.clone().ok_or(Refusal::InvalidClient)?;
        if self.secrets.knows(id, secret.expose_secret(), &hash) {
            return Ok(());
        }
        if !self.secret_mint.is_plausible(secret.expose_secret()) {
            return Err(Refusal::InvalidClient.into());
        }
        // Argon2id costs tens of milliseconds and megabytes: only a few at once, and nobody queues for ever.
        let turn = tokio::time::timeout(DERIVATION_PATIENCE, self.derivations.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Failure::Wait(Refusal::ClientThrottled, 1));
        };
        // Only now, so that guesses that came together are not derived together.
        match self.throttled(id, source) {
            Some(wait) => Err(wait),
            None => self.derive(secret, id, hash).await,
        }
    }

    /// Away from the HTTP threads.
    async fn derive(&self, secret: &SecretString, id: ApplicationId, hash: String) -> Result<(), Failure> {
        let (candidate, phc) = (secret.clone(), hash.clone());
        let verified =
            tokio::task::spawn_blocking(move || caracal_jose::verify_secret(candidate.expose_secret(), &phc))
                .await;
        if verified.unwrap_or(false) {
            self.secrets.remember(id, secret.expose_secret(), &hash);
            Ok(())
        } else {
            Err(Refusal::InvalidClient.into())
        }
    }
}
