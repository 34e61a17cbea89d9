//! The long-lived parts of the audit service, and the only place where they are put together.

use crate::config::Config;
use crate::ingest::{Ingester, warn};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::trim::trim_uses;
use caracal_bus::{AUDIT_STREAM, Bus, BusConfig, USES_STREAM};
use caracal_lifecycle::{BoxError, Host};
use caracal_storage::{Database, DatabaseConfig};
use caracal_web::Shell;
use secrecy::ExposeSecret as _;
use std::time::Duration;

/// One for each stream, one to look, one to spare.
const DATABASE_CONNECTIONS: usize = 4;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(5);
/// The name under which all ingesters share a stream.
pub(crate) const DURABLE: &str = "ledger";

/// Puts the service together and runs it until it is told to stop.
///
/// # Errors
/// A part cannot be set up, or the server broke.
pub async fn serve(config: Config, host: Host) -> Result<(), BoxError> {
    let database = Database::connect(&DatabaseConfig {
        url: config.database_url.expose_secret().to_owned(),
        max_connections: DATABASE_CONNECTIONS,
        application_name: "caracal-audit",
    })?;
    let bus = Bus::connect(&BusConfig {
        url: config.nats_url.clone(),
        name: "caracal-audit".to_owned(),
        hmac_keys: config.stream_keys.clone(),
    })
    .await?;
    let metrics = Metrics::register(&host.probes, &bus);
    let ledger = Ledger::new(database.clone(), host.clock());
    for stream in [AUDIT_STREAM, USES_STREAM] {
        let ingester = Ingester::new(ledger.clone(), metrics.clone(), stream);
        let (puller, stopping) = (bus.pull(stream, DURABLE), host.tasks.stopping());
        host.tasks
            .spawn_to_end("ingester", async move { ingester.run(puller, stopping).await });
        let (puller, watched) = (bus.pull(stream, DURABLE), metrics.clone());
        host.tasks
            .spawn("lag", async move { watched.watch_lag(stream, puller).await });
    }
    host.tasks.spawn("trees", grow_missing_trees(ledger));
    host.tasks.spawn("uses", trim_uses(bus.clone()));
    let answers = metrics.clone();
    host.tasks
        .spawn("database", async move { answers.watch_database(database).await });
    host.probes.add("nats", move || bus.is_connected());
    host.probes.add("postgres", move || metrics.database_answers());

    let http = host.http();
    let shell = Shell::new(
        host.clock(),
        host.in_flight(),
        move |method, route, status, took| {
            http.answered(method, route, status, took);
        },
    );
    let probes = host.probes.clone();
    host.serve(move || {
        let probes = probes.clone();
        caracal_web::app(&shell, move |config| probes.configure(config))
    })
    .await
}

/// Once, as soon as the database answers.
async fn grow_missing_trees(ledger: Ledger) {
    while let Err(error) = ledger.grow_missing_trees().await {
        warn(&error, "the trees of old ledgers are not grown yet");
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
}
