//! The long-lived parts of the relay, and the only place where they are put together.

use crate::config::Config;
use crate::metrics::Metrics;
use crate::relay::Relay;
use caracal_bus::{Bus, BusConfig};
use caracal_domain::id::InstanceId;
use caracal_lifecycle::{BoxError, Host};
use caracal_storage::{Database, DatabaseConfig, outbox};
use caracal_web::Shell;
use secrecy::ExposeSecret as _;
use std::sync::Arc;

/// One each to drain, to beat, to look and to spare.
const DATABASE_CONNECTIONS: usize = 4;

/// Puts the relay together and runs it until it is told to stop.
///
/// # Errors
/// A part cannot be set up, or the server broke.
pub async fn serve(config: Config, host: Host) -> Result<(), BoxError> {
    let database_url = config.database_url.expose_secret();
    let database = Database::connect(&DatabaseConfig {
        url: database_url.to_owned(),
        max_connections: DATABASE_CONNECTIONS,
        application_name: "caracal-relay",
    })?;
    let bus = Bus::connect(&BusConfig {
        url: config.nats_url.clone(),
        name: "caracal-relay".to_owned(),
        hmac_keys: config.stream_keys.clone(),
    })
    .await?;
    let metrics = Metrics::register(&host.probes, &bus);
    let clock = host.clock();
    let instance = InstanceId::mint(&*clock);
    let relay = Arc::new(Relay::new(database, bus.clone(), instance, metrics));

    let wakes = outbox::listen(database_url);
    let (drain, beat, look) = (relay.clone(), relay.clone(), relay.clone());
    let (maintain, sweep) = (relay.clone(), relay.clone());
    host.tasks.spawn("relay", async move { drain.run(wakes).await });
    host.tasks
        .spawn("heartbeat", async move { beat.beat_for_ever().await });
    host.tasks
        .spawn("gauges", async move { look.look_for_ever().await });
    host.tasks
        .spawn("partitions", async move { maintain.maintain_for_ever().await });
    host.tasks
        .spawn("sweep", async move { sweep.sweep_for_ever().await });
    host.probes.add("nats", move || bus.is_connected());
    host.probes.add("postgres", {
        let relay = Arc::clone(&relay);
        move || relay.database_answers()
    });

    let http = host.http();
    let shell = Shell::new(clock, host.in_flight(), move |method, route, status, took| {
        http.answered(method, route, status, took);
    });
    let probes = host.probes.clone();
    host.serve(move || {
        let probes = probes.clone();
        caracal_web::app(&shell, move |config| probes.configure(config))
    })
    .await?;
    relay.release().await;
    Ok(())
}
