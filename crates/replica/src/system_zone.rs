//! The zone whose ledger keeps what strangers do; the control plane makes it at its first start.

use crate::cause;
use caracal_bus::Strangers;
use caracal_storage::{Database, zones};
use std::sync::Arc;
use std::time::Duration;

const SLUG: &str = "caracal-sys";
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Looks for it until it is there.
pub(crate) async fn find(database: Database, strangers: Arc<Strangers>) {
    loop {
        let looking = async {
            let mut conn = database.acquire().await?;
            zones::id_by_slug(&mut conn, SLUG).await
        };
        match looking.await {
            Ok(Some(zone)) => return strangers.settle(zone),
            Ok(None) => {}
            Err(error) => tracing::debug!(error = cause(&error), "the system zone is not known yet"),
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}
