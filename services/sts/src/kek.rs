//! Whether the configured key opens what this installation has sealed. A replica with another one could serve nobody: it
//! says so, instead of answering everything with a fault.

use caracal_domain::zone::SYSTEM_SLUG;
use caracal_jose::Kek;
use caracal_lifecycle::Host;
use caracal_storage::{Database, keys, zones};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Names `keys` as missing while the key is known not to fit.
pub fn watch(host: &Host, database: &Database, kek: &Kek) {
    let fits = Arc::new(AtomicBool::new(true));
    let trying = try_on(database.clone(), kek.clone(), Arc::clone(&fits));
    host.tasks.spawn("kek", trying);
    host.probes.add("keys", move || fits.load(Ordering::Relaxed));
}

/// Tries the key on the system zone's, which every installation has, until it fits.
async fn try_on(database: Database, kek: Kek, fits: Arc<AtomicBool>) {
    loop {
        match opened(&database, &kek).await {
            Ok(Some(true)) => return fits.store(true, Ordering::Relaxed),
            Ok(Some(false)) => {
                fits.store(false, Ordering::Relaxed);
                tracing::error!("ZONE_KEK does not open the keys in this database");
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "ZONE_KEK is not tried yet"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `None` while there is nothing to open.
async fn opened(database: &Database, kek: &Kek) -> caracal_storage::Result<Option<bool>> {
    let mut conn = database.acquire().await?;
    let Some(zone) = zones::id_by_slug(&mut conn, SYSTEM_SLUG).await? else {
        return Ok(None);
    };
    let sealed = keys::dek(&mut conn, zone).await?;
    Ok(sealed.map(|sealed| kek.open_dek(zone, &sealed).is_ok()))
}
