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
    /// are behind, those of which nobody could say for longer than the bound that they may go on.
    pub async fn watch(self: Arc<Self>, running: Arc<Running>, clock: Arc<dyn Clock>) {
        let mut last_fresh = Instant::now();
        let mut last_asked = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            running.expire(clock.now().timestamp());
            if self.feed.staleness() == Staleness::Fresh {
                last_fresh = Instant::now();
            } else if last_asked.elapsed() >= CONFIRM_EVERY {
                last_asked = Instant::now();
                let unsure = futures::stream::iter(running.all());
                unsure
                    .for_each_concurrent(CONFIRMED_AT_ONCE, |exchange| self.reconfirm(exchange, last_fresh))
                    .await;
            }
        }
    }

    async fn reconfirm(&self, exchange: Arc<Exchange>, last_fresh: Instant) {
        let asked_at = Instant::now();
        match self
            .sts
            .introspect(
                &exchange.bearer,
                Asking {
                    request_id: None,
                    at_least: None,
                },
            )
            .await
        {
            Ok(true) => exchange.confirm(asked_at),
            Ok(false) => exchange.end(Cut::Revoked),
            Err(_) if exchange.confirmed().max(last_fresh).elapsed() > self.max_lag => {
                exchange.end(Cut::Unconfirmed);
            }
            Err(_) => {}
        }
    }
}
