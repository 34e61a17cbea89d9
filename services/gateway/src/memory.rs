//! What the STS has told us, held for minutes, and only while no later change of the zone's configuration is known.

use crate::sts_client::StsError;
use caracal_domain::{Epoch, Timestamp};
use moka::future::Cache;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

const HELD_FOR: Duration = Duration::from_mins(5);
const HELD_AT_MOST: u64 = 10_000;

/// How old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// As of this epoch, or later: the last change of configuration we have heard of.
    SinceEpoch(Epoch),
    /// Asked for now: what we hold may be out of date.
    Now,
}

/// An answer that says how far it goes.
pub trait Dated {
    /// The epoch it shows.
    fn epoch(&self) -> Epoch;

    /// Until when it may be used; `None` for as long as the configuration stands.
    fn use_until(&self) -> Option<Timestamp> {
        None
    }
}

/// See the module.
pub struct Memory<K, V> {
    held: Cache<K, Arc<V>>,
}

impl<K, V> fmt::Debug for Memory<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl<K, V> Default for Memory<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn default() -> Self {
        Self {
            held: Cache::builder()
                .max_capacity(HELD_AT_MOST)
                .time_to_live(HELD_FOR)
                .build(),
        }
    }
}

impl<K, V> Memory<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Dated + Send + Sync + 'static,
{
    /// The answer, held or asked for; concurrent callers share one question.
    ///
    /// # Errors
    /// What asking says.
    pub async fn get(
        &self,
        wanted: &K,
        age: Age,
        now: Timestamp,
        asking: impl Future<Output = Result<V, StsError>>,
    ) -> Result<Arc<V>, StsError> {
        let Age::SinceEpoch(floor) = age else {
            return asking.await.map(Arc::new);
        };
        if let Some(held) = self.held.get(wanted).await {
            if held.epoch() >= floor && held.use_until().is_none_or(|end| now < end) {
                return Ok(held);
            }
            self.held.invalidate(wanted).await;
        }
        let shared = self
            .held
            .try_get_with(wanted.clone(), async { asking.await.map(Arc::new) })
            .await;
        let answer = shared.map_err(|error| StsError::clone(&error))?;
        if answer.epoch() < floor {
            // The STS has not heard yet what we have; good for this call, within the bound, but not to be kept.
            self.held.invalidate(wanted).await;
        }
        Ok(answer)
    }

    /// Forgets one answer.
    pub async fn forget(&self, wanted: &K) {
        self.held.invalidate(wanted).await;
    }

    /// Forgets everything, when changes may have been missed.
    pub fn clear(&self) {
        self.held.invalidate_all();
    }
}
