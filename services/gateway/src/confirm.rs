//! Whether this replica may decide by itself, and what it does when it may not: it asks the STS (architecture,
//! "Bounded staleness").

use crate::error::Refused;
use crate::running::{Cut, Exchange, Running};
use crate::sts_client::{Asking, StsClient, StsError};
use crate::views::Views;
use caracal_bus::FeedHandle;
use caracal_domain::id::ZoneId;
use caracal_domain::{Clock, Epoch, OAuthCode, Refusal, Staleness};
use futures::StreamExt;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How often exchanges under way are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// While behind, each exchange is confirmed this often.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);
/// How many are confirmed at once.
const CONFIRMED_AT_ONCE: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Confirm {
    /// How far the feed has been applied.
    pub feed: FeedHandle,
    /// What has been applied.
    pub views: Arc<Views>,
    /// Whom to ask.
    pub sts: Arc<StsClient>,
    /// The bound on staleness.
    pub max_lag: Duration,
}

impl Confirm {
    /// Whether what is known here is current, and at `at_least` or later.
    #[must_use]
    pub fn is_current(&self, zone: ZoneId, at_least: Option<Epoch>) -> bool {
        self.feed.staleness() == Staleness::Fresh
            && self.views.is_whole(zone)
            && at_least.is_none_or(|epoch| self.views.has_reached(zone, epoch))
    }

    /// Asks the STS whether a bearer is good.
    ///
    /// # Errors
    /// [`Refusal::BearerRevoked`] when it is not, [`Refusal::StaleState`] when that cannot be known.
    pub async fn bearer(&self, bearer: &SecretString, asking: Asking<'_>) -> Result<(), Refused> {
        match self.sts.introspect(bearer, asking).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::BearerRevoked.into()),
            Err(StsError::Refused(refusal)) => match Refused::ByDecision(refusal) {
                // Such as an epoch that the zone has not reached: the caller's own mistake.
                told if told.code() == OAuthCode::InvalidRequest => Err(told),
                _ => Err(Refusal::StaleState.into()),
            },
            Err(StsError::Unavailable) => Err(Refusal::StaleState.into()),
        }
    }

    /// Looks after exchanges under way for as long as the service lives: ends those that have expired and, while we
    /// are behind, those of which nobody could say for longer than the bound that they may go on. Neither waits for the
    /// STS, which is asked beside it.
    pub async fn watch(self: Arc<Self>, running: Arc<Running>, clock: Arc<dyn Clock>) {
        futures::join!(self.end(&running, &*clock), self.ask(&running));
    }

    async fn end(&self, running: &Running, clock: &dyn Clock) {
        // Up to when everything that happened is known to have been applied.
        let mut known_to = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            running.expire(clock.now().timestamp());
            match self.feed.lag().filter(|lag| *lag <= self.max_lag) {
                Some(lag) => {
                    known_to = Instant::now()
                        .checked_sub(lag)
                        .max(Some(known_to))
                        .unwrap_or(known_to);
                }
                None => running.end_unconfirmed(known_to, self.max_lag),
            }
        }
    }

    /// Asks about every exchange once a second from when we are half the bound behind, so that those that may go on are
    /// known to when it is reached.
    async fn ask(&self, running: &Running) {
        let mut ticks = tokio::time::interval(CONFIRM_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Unknown counts as behind.
            if self.feed.lag().is_none_or(|lag| lag > self.max_lag / 2) {
                futures::stream::iter(running.all())
                    .for_each_concurrent(CONFIRMED_AT_ONCE, |exchange| self.reconfirm(exchange))
                    .await;
            }
        }
    }

    async fn reconfirm(&self, exchange: Arc<Exchange>) {
        let asked_at = Instant::now();
        let asking = Asking {
            request_id: None,
            at_least: None,
        };
        let answer = self.sts.introspect(&exchange.bearer, asking);
        // Whoever hangs is asked again next time; meanwhile the others have their turn.
        match tokio::time::timeout(CONFIRM_EVERY, answer).await {
            Ok(Ok(true)) => exchange.confirm(asked_at),
            Ok(Ok(false)) => exchange.end(Cut::Revoked),
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
