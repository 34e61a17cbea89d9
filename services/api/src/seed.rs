//! What must be there before the API can be used: its database, the first administrator's token, the system zone.

use crate::app::Api;
use crate::change::By;
use crate::error::Failure;
use crate::sight::Sight;
use crate::zone::NewZoneSpec;
use caracal_domain::RequestId;
use caracal_domain::id::AdminTokenId;
use caracal_domain::zone::SYSTEM_SLUG;
use caracal_lifecycle::ProbeSet;
use caracal_storage::{admin_tokens, zones};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether the database answers, and whether the seed is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ready {
    database: Arc<AtomicBool>,
    seed: Arc<AtomicBool>,
}

impl Ready {
    /// Whether the seed is in the database, and so what is sealed here can be opened by everybody else.
    pub(crate) fn is_seeded(&self) -> bool {
        self.seed.load(Ordering::Relaxed)
    }

    pub(crate) fn probe(&self, probes: &ProbeSet) {
        let (database, seed) = (Arc::clone(&self.database), Arc::clone(&self.seed));
        probes.add("postgres", move || database.load(Ordering::Relaxed));
        probes.add("seed", move || seed.load(Ordering::Relaxed));
    }
}

/// Seeds as soon as the database answers, and keeps saying whether it does.
pub(crate) async fn keep_ready(api: Arc<Api>, admin_token: SecretString) {
    let ready = &api.ready;
    loop {
        let answers = api.database.answers().await;
        ready.database.store(answers, Ordering::Relaxed);
        if answers && !ready.seed.load(Ordering::Relaxed) {
            match api.seed(&admin_token).await {
                Ok(()) => ready.seed.store(true, Ordering::Relaxed),
                Err(failure) => {
                    let cause: &(dyn std::error::Error + 'static) = &failure;
                    tracing::warn!(error = cause, "the seed is not planted yet");
                }
            }
        }
        let pause = if ready.seed.load(Ordering::Relaxed) {
            LOOK_EVERY
        } else {
            LOOK_EVERY / 10
        };
        tokio::time::sleep(pause).await;
    }
}

impl Api {
    /// Plants what is missing; harmless when several replicas do it at once.
    async fn seed(&self, admin_token: &SecretString) -> Result<(), Failure> {
        let mut tx = self.database.begin(Sight::Everything).await?;
        let hash = crate::admin_token::sha256(admin_token.expose_secret());
        admin_tokens::seed_global(&mut tx, &hash, AdminTokenId::mint(&*self.clock)).await?;
        let system = zones::find_by_slug(&mut tx, SYSTEM_SLUG).await?;
        tx.commit().await?;
        if system.is_none() {
            let by = By::system(RequestId::accept_or_mint(None, &*self.clock));
            match self.create_zone(&by, NewZoneSpec::system()).await {
                Ok(_) => {}
                // Another replica was faster: the slug is unique.
                Err(Failure::Storage(error)) if error.conflict() == Some("zones_slug_live") => {}
                Err(failure) => return Err(failure),
            }
        }
        self.ledger_signer().await.map(drop)
    }
}
