//! The public keys of zones, fetched from the STS once and refreshed when a token names one we do not know.

use crate::sts_client::{StsClient, StsError};
use caracal_domain::Refusal;
use caracal_domain::id::{SigningKeyId, ZoneId};
use caracal_jose::VerifyingKeys;
use moka::future::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const HELD_FOR: Duration = Duration::from_mins(5);
const HELD_AT_MOST: u64 = 20_000;
/// Unknown keys of one zone are asked for again at most this often, however fresh what we hold is.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Strangers can name any zone: so many of their questions reach the STS at once, not more.
const QUESTIONS_AT_ONCE: usize = 16;

#[derive(Debug)]
struct Held {
    /// Empty for a zone that does not exist.
    keys: Arc<VerifyingKeys>,
}

/// See the module.
#[derive(Debug)]
pub struct ZoneKeys {
    sts: Arc<StsClient>,
    held: Cache<ZoneId, Arc<Held>>,
    asked_again: Cache<ZoneId, ()>,
    questions: Semaphore,
}

impl ZoneKeys {
    /// An empty store.
    #[must_use]
    pub fn new(sts: Arc<StsClient>) -> Self {
        let held = Cache::builder()
            .max_capacity(HELD_AT_MOST)
            .time_to_live(HELD_FOR)
            .build();
        let asked_again = Cache::builder()
            .max_capacity(HELD_AT_MOST)
            .time_to_live(ASK_AGAIN_AFTER)
            .build();
        Self {
            sts,
            held,
            asked_again,
            questions: Semaphore::new(QUESTIONS_AT_ONCE),
        }
    }

    /// The keys of a zone, asked for again if `kid` is not among those we hold.
    ///
    /// # Errors
    /// [`Refusal::DecisionPointUnavailable`] when we hold none and the STS does not answer.
    pub async fn get(&self, zone: ZoneId, kid: SigningKeyId) -> Result<Arc<VerifyingKeys>, Refusal> {
        let held = self.hold(zone).await?;
        if held.keys.contains(kid) {
            return Ok(Arc::clone(&held.keys));
        }
        // Whoever comes first has it asked again; the others wait until what we hold is gone, and share the answer.
        self.asked_again.get_with(zone, self.forget(zone)).await;
        Ok(Arc::clone(&self.hold(zone).await?.keys))
    }

    /// Forgets a zone's keys, when they have changed.
    pub async fn forget(&self, zone: ZoneId) {
        self.held.invalidate(&zone).await;
    }

    /// Forgets all, when changes may have been missed.
    pub fn clear(&self) {
        self.held.invalidate_all();
    }

    async fn hold(&self, zone: ZoneId) -> Result<Arc<Held>, Refusal> {
        let shared = self.held.try_get_with(zone, self.ask(zone)).await;
        shared.map_err(|_| Refusal::DecisionPointUnavailable)
    }

    async fn ask(&self, zone: ZoneId) -> Result<Arc<Held>, StsError> {
        let _turn = self
            .questions
            .acquire()
            .await
            .map_err(|_| StsError::Unavailable)?;
        let keys = match self.sts.keys(zone).await {
            Ok(keys) => keys,
            Err(StsError::Refused(refusal)) if refusal.status == http::StatusCode::NOT_FOUND => {
                VerifyingKeys::default()
            }
            Err(error) => return Err(error),
        };
        Ok(Arc::new(Held { keys: Arc::new(keys) }))
    }
}
