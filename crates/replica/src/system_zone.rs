//! The zone whose ledger keeps what strangers do; the control plane makes it at its first start.

use crate::cause;
use caracal_bus::Strangers;
use caracal_domain::zone::SYSTEM_SLUG;
use caracal_storage::{Database, zones};
use std::sync::Arc;
use std::time::Duration;

const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Looks for it until it is there.
pub(crate) async fn find(database: Database, strangers: Arc<Strangers>) {
    loop {
        let looking = async {
            let mut conn = database.acquire().await?;
            zones::id_by_slug(&mut conn, SYSTEM_SLUG).await
        };
        match looking.await {
            Ok(Some(zone)) => return strangers.settle(zone),
            Ok(None) => {}
            Err(error) => tracing::debug!(error = cause(&error), "the system zone is not known yet"),
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}
