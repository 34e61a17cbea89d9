//! The database as this service has it: nothing is asked of it without saying whose rows it is about. Said wrong, a zone's
//! request finds too little, never somebody else's (decision 0018).

use caracal_domain::id::ZoneId;
use caracal_storage::zones::ZoneRow;
use caracal_storage::{Connection, Database, Result, Transaction};

/// What a use-case may see and change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// What is of this zone: every request that a zone's path names, and the work the service does for one zone.
    Zone(ZoneId),
    /// Everything: whose zone is not known yet (a token, a state, an invitation), what belongs to no zone, a zone to be, and
    /// the rounds that look through all of them.
    Everything,
}

impl From<ZoneId> for Sight {
    fn from(zone: ZoneId) -> Self {
        Self::Zone(zone)
    }
}

impl From<&ZoneRow> for Sight {
    fn from(zone: &ZoneRow) -> Self {
        Self::Zone(zone.id)
    }
}

/// The database, behind the sight of whoever asks.
#[derive(Debug, Clone)]
pub(crate) struct Store(Database);

impl Store {
    /// All there is.
    pub(crate) const fn new(database: Database) -> Self {
        Self(database)
    }

    /// A connection outside any transaction; within a zone it only reads.
    pub(crate) async fn acquire(&self, sight: impl Into<Sight>) -> Result<Connection> {
        match sight.into() {
            Sight::Zone(zone) => self.0.acquire_in(zone).await,
            Sight::Everything => self.0.acquire().await,
        }
    }

    /// A transaction.
    pub(crate) async fn begin(&self, sight: impl Into<Sight>) -> Result<Transaction> {
        match sight.into() {
            Sight::Zone(zone) => self.0.begin_in(zone).await,
            Sight::Everything => self.0.begin().await,
        }
    }

    /// Whether the database answers.
    pub(crate) async fn answers(&self) -> bool {
        self.0.ping().await.is_ok()
    }
}
