//! Where one credential is kept: had by one flight at a time, used until shortly before it ends, and not asked for again
//! at once when it could not be had.

use super::Credential;
use crate::error::Failure;
use arc_swap::ArcSwapOption;
use caracal_domain::zone::Provider;
use caracal_domain::{Epoch, Refusal, Timestamp};
use caracal_web::to_completion;
use chrono::TimeDelta;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for somebody else's server. What is under way goes on without it, for the next call.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon a provider is asked again: one that failed, and one whose token an upstream refused. Upstreams answer 401 for
/// other reasons too, and no caller may make us ask a provider for every call.
const PAUSE: TimeDelta = TimeDelta::seconds(5);
/// See the module.
#[derive(Default)]
pub(super) struct Place {
    held: ArcSwapOption<Held>,
    failed: Mutex<Option<Failed>>,
    flight: tokio::sync::Mutex<()>,
}

struct Held {
    credential: Credential,
    had_at: Timestamp,
    basis: Basis,
}

struct Failed {
    refusal: Refusal,
    until: Timestamp,
    basis: Basis,
}

/// What something was had by.
#[derive(Clone)]
pub(super) struct Basis {
    /// The provider's configuration and secrets.
    pub(super) provider: Arc<Provider>,
    /// The zone's epoch, where each of its changes may take the credential away.
    pub(super) epoch: Option<Epoch>,
}

impl Basis {
    /// Whether what was had by this still stands for `now`.
    fn covers(&self, now: &Self) -> bool {
        let same = Arc::ptr_eq(&self.provider, &now.provider) || self.provider == now.provider;
        same && self.epoch >= now.epoch
    }
}

/// What a call needs.
#[derive(Clone)]
pub(super) struct Need {
    /// By what.
    pub(super) basis: Basis,
    /// Not this one, unless it is younger than the pause.
    pub(super) rejected: Option<String>,
    /// At this time.
    pub(super) now: Timestamp,
}

/// Whether a credential that was had at `had_at` is to be renewed because an upstream refused it.
pub(super) fn is_refused(
    id: Option<&str>,
    had_at: Timestamp,
    rejected: Option<&str>,
    now: Timestamp,
) -> bool {
    rejected.is_some() && rejected == id && now >= had_at + PAUSE
}

impl Place {
    /// The credential, or `fetch`, by one caller at a time and to its end whatever becomes of the caller: a provider
    /// that has rotated a refresh token has done so.
    ///
    /// # Errors
    /// What `fetch` says, now or a moment ago; [`Refusal::ProviderUnavailable`] when it takes too long.
    pub(super) async fn through<F>(
        self: Arc<Self>,
        need: Need,
        fetch: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Credential, Failure>
    where
        F: Future<Output = Result<Credential, Failure>> + Send + 'static,
    {
        if let Some(found) = self.look(&need) {
            return Ok(found?);
        }
        let flight = to_completion(async move {
            let _alone = self.flight.lock().await;
            // Whoever waited for the lock finds the work done, or has learned that it cannot be.
            if let Some(found) = self.look(&need) {
                return Ok(found?);
            }
            let outcome = fetch().await;
            self.keep(need, &outcome);
            outcome
        });
        match tokio::time::timeout(PATIENCE, flight).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::ProviderUnavailable.into()),
        }
    }

    fn look(&self, need: &Need) -> Option<Result<Credential, Refusal>> {
        if let Some(held) = self.held.load_full().filter(|held| held.serves(need)) {
            return Some(Ok(held.credential.clone()));
        }
        let failed = self.failed.lock();
        let failed = failed.as_ref()?;
        (failed.basis.covers(&need.basis) && need.now < failed.until).then_some(Err(failed.refusal))
    }

    fn keep(&self, need: Need, outcome: &Result<Credential, Failure>) {
        match outcome {
            Ok(credential) => {
                let held = Held {
                    credential: credential.clone(),
                    had_at: need.now,
                    basis: need.basis,
                };
                self.held.store(Some(Arc::new(held)));
                *self.failed.lock() = None;
            }
            // A user may connect at any moment, the database may be back, and looking costs nobody outside anything.
            Err(Failure::Refused(Refusal::ConnectionRequired | Refusal::StoreUnavailable)) => {
                self.held.store(None);
            }
            Err(Failure::Refused(refusal)) => {
                *self.failed.lock() = Some(Failed {
                    refusal: *refusal,
                    until: need.now + PAUSE,
                    basis: need.basis,
                });
            }
            Err(_) => {}
        }
    }
}

impl Held {
    fn serves(&self, need: &Need) -> bool {
        let id = self.credential.id.as_deref();
        self.basis.covers(&need.basis)
            && self.credential.use_until.is_none_or(|end| need.now < end)
            && !is_refused(id, self.had_at, need.rejected.as_deref(), need.now)
    }
}
