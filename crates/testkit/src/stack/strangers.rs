//! What the ledger of the system zone says of strangers.

use crate::{Stack, eventually};
use std::time::Duration;

const OF_STRANGERS: &str = "SELECT
    count(*) FILTER (WHERE reason <> 'strangers_suppressed'),
    coalesce(sum((metadata_json->>'suppressed')::bigint) FILTER (
      WHERE reason = 'strangers_suppressed' AND metadata_json->>'service' = $1), 0)::bigint
  FROM audit_events WHERE zone_id = (SELECT id FROM zones WHERE is_system) AND decision = 'deny'";

impl Stack {
    /// Waits until the system zone's ledger accounts for `refused` strangers of a service, and answers how many of
    /// them are written and how many only counted.
    pub async fn strangers(&self, service: &str, refused: i64) -> (i64, i64) {
        let database = self.database().connect().await;
        eventually(
            "a ledger that accounts for them all",
            Duration::from_secs(15),
            || async {
                let row = database
                    .query_one(OF_STRANGERS, &[&service])
                    .await
                    .expect("the ledger can be read");
                let (written, counted): (i64, i64) = (row.get(0), row.get(1));
                (written + counted >= refused).then_some((written, counted))
            },
        )
        .await
    }
}
