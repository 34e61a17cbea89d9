//! Exchanges under way: each can be cut, in both directions at once, when what it stands on is taken away.

use caracal_domain::id::{EventId, ZoneId};
use caracal_domain::{Anchor, AnchorSet};
use caracal_jose::Verified;
use dashmap::DashMap;
use parking_lot::Mutex;
use secrecy::SecretString;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Why an exchange was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// What it stands on was revoked.
    Revoked,
    /// Its session or mandate has expired.
    Expired,
    /// It could not be confirmed that it may go on.
    Unconfirmed,
}

impl Cut {
    /// As the ledger keeps it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// One exchange under way.
pub struct Exchange {
    /// The bearer as presented, to ask the STS about it while we are behind.
    pub bearer: SecretString,
    /// What it stands on: the bearer, and the mandate of this one call when the bearer is a session.
    tokens: Vec<Verified>,
    expires_at: i64,
    confirmed: Mutex<Instant>,
    cut: CancellationToken,
    why: OnceLock<Cut>,
}

impl Exchange {
    /// Fires when it is cut.
    #[must_use]
    pub const fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Why it was cut.
    #[must_use]
    pub fn why(&self) -> Option<Cut> {
        self.why.get().copied()
    }

    /// Ends it; the first reason stands.
    pub fn end(&self, why: Cut) {
        let _ = self.why.set(why);
        self.cut.cancel();
    }

    /// The STS has said that its bearer is good.
    pub fn confirm(&self, at: Instant) {
        *self.confirmed.lock() = at;
    }

    /// When it was last known to be good.
    #[must_use]
    pub fn confirmed(&self) -> Instant {
        *self.confirmed.lock()
    }

    fn zone(&self) -> Option<ZoneId> {
        self.tokens.first().map(|token| token.claims().zone_id)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("zone", &self.zone())
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Running {
    exchanges: DashMap<EventId, Arc<Exchange>>,
}

/// Keeps an exchange registered for as long as it runs.
#[derive(Debug)]
pub struct Registration {
    running: Arc<Running>,
    id: EventId,
    /// The exchange.
    pub exchange: Arc<Exchange>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.running.exchanges.remove(&self.id);
    }
}

impl Running {
    /// Registers an exchange by the id of its admission. It ends with the first of `tokens`, which is the bearer.
    #[must_use]
    pub fn register(
        self: &Arc<Self>,
        id: EventId,
        bearer: SecretString,
        tokens: Vec<Verified>,
    ) -> Registration {
        let exchange = Arc::new(Exchange {
            bearer,
            expires_at: tokens.first().map_or(0, |token| token.claims().exp),
            tokens,
            confirmed: Mutex::new(Instant::now()),
            cut: CancellationToken::new(),
            why: OnceLock::new(),
        });
        self.exchanges.insert(id, Arc::clone(&exchange));
        Registration {
            running: Arc::clone(self),
            id,
            exchange,
        }
    }

    /// Cuts every exchange of the zone that one of these anchors names.
    pub fn revoke(&self, zone: ZoneId, anchors: &[Anchor]) {
        if anchors.is_empty() {
            return;
        }
        let mut named = AnchorSet::default();
        for anchor in anchors {
            named.insert(anchor.clone());
        }
        self.revoke_where(|token| {
            token.claims().zone_id == zone && named.refuses(token.claims(), token.kid()).is_some()
        });
    }

    /// Cuts every exchange that stands on a token for which this holds.
    pub fn revoke_where(&self, refused: impl Fn(&Verified) -> bool) {
        for exchange in &self.exchanges {
            if exchange.tokens.iter().any(&refused) {
                exchange.end(Cut::Revoked);
            }
        }
    }

    /// Cuts every exchange whose bearer has expired at `now` (seconds since 1970).
    pub fn expire(&self, now: i64) {
        for exchange in &self.exchanges {
            if exchange.expires_at <= now {
                exchange.end(Cut::Expired);
            }
        }
    }

    /// Cuts every exchange of which nobody has said for longer than `bound` that it may go on; all that happened up to
    /// `known_to` is known.
    pub fn end_unconfirmed(&self, known_to: Instant, bound: Duration) {
        for exchange in &self.exchanges {
            if exchange.confirmed().max(known_to).elapsed() > bound {
                exchange.end(Cut::Unconfirmed);
            }
        }
    }

    /// All of them, as they are now.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Exchange>> {
        self.exchanges
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }
}
