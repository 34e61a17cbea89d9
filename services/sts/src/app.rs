//! The long-lived parts of the STS, and the only place where they are put together.

use crate::absent::Absent;
use crate::config::Config;
use crate::credential::Credentials;
use crate::error::{Failure, unknown_route};
use crate::feed::{ZonesSink, poll_slowly};
use crate::graph::Graph;
use crate::kek;
use crate::key_sets::KeySets;
use crate::metrics::Metrics;
use crate::quotas::Quotas;
use crate::routes::routes;
use crate::shadow::{Shadow, Watcher};
use crate::zones::{Limits, Zones};
use actix_web::web::Data;
use caracal_bus::{Bus, BusConfig, Recorder, Strangers, StrangersConfig};
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::{Clock, EventType, Refusal};
use caracal_egress::{EgressPolicy, Metadata, Own, Upstreams, places_of};
use caracal_jose::{SecretCache, SecretMint};
use caracal_lifecycle::{BoxError, Host};
use caracal_policy::{CodeCacheConfig, Engine, EngineConfig};
use caracal_provider::Asker;
use caracal_replica::{Replica, Settings};
use caracal_storage::{Database, DatabaseConfig};
use caracal_web::{Shell, settled};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const VERIFIED_SECRETS: u64 = 100_000;
/// How long after its last use a secret is remembered.
const VERIFIED_FOR: Duration = Duration::from_hours(1);
const DERIVATIONS_AT_ONCE: usize = 2;
const KNOWN_APPLICATIONS: u64 = 100_000;
const COMPILED_POLICIES_ON_DISK: u64 = 1 << 30;
const DATABASE_CONNECTIONS: usize = 16;
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a stopping STS waits for exchanges whose callers have gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything a request needs.
pub struct Sts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) database: Database,
    pub(crate) zones: Arc<Zones>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) quotas: Quotas,
    pub(crate) graph: Graph,
    pub(crate) shadow: Shadow,
    pub(crate) secrets: SecretCache,
    pub(crate) secret_mint: SecretMint,
    pub(crate) derivations: Semaphore,
    pub(crate) key_sets: KeySets,
    pub(crate) credentials: Credentials,
    pub(crate) absent: Absent,
    pub(crate) zone_of_application: moka::sync::Cache<ApplicationId, ZoneId>,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) gateway_key: SecretString,
    pub(crate) gateway_public_url: String,
    pub(crate) trusted_proxies: Vec<IpNet>,
    issuer_url: String,
}

impl Sts {
    /// The issuer of a zone (contract §2).
    #[must_use]
    pub fn issuer(&self, zone: ZoneId) -> String {
        format!("{}/zones/{zone}", self.issuer_url)
    }

    /// Asks the database, and does not wait for one that has stopped answering.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`], or the fault.
    pub(crate) async fn stored<T>(
        &self,
        query: impl Future<Output = Result<T, caracal_storage::Error>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(DATABASE_PATIENCE, query).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Refusal::StoreUnavailable.into()),
        }
    }

    /// An address of this service.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.issuer_url)
    }
}

/// Puts the service together and runs it until it is told to stop.
///
/// # Errors
/// A part cannot be set up, or the server broke.
pub async fn serve(config: Config, host: Host) -> Result<(), BoxError> {
    let clock = host.clock();
    let own = own(&config, &host).await?;
    let database = database(&config)?;
    let bus = Bus::connect(&BusConfig {
        url: config.nats_url,
        name: "caracal-sts".to_owned(),
        hmac_keys: config.stream_keys,
    })
    .await?;
    let code_cache = config.policy_cache_dir.map(|dir| CodeCacheConfig {
        dir,
        seal: config.kek.file_seal(),
        max_bytes: COMPILED_POLICIES_ON_DISK,
    });
    let engine = Arc::new(Engine::new(EngineConfig {
        memory_budget_bytes: config.policy_memory_bytes,
        code_cache,
        ..EngineConfig::default()
    })?);
    let secret_mint = SecretMint::from_kek(&config.kek)?;
    kek::watch(&host, &database, &config.kek);
    let zones = Arc::new(Zones::new(
        database.clone(),
        config.kek,
        Arc::clone(&engine),
        Arc::clone(&clock),
        host.tasks.clone(),
        Limits {
            max_lag: config.max_lag,
            zones: config.zones_in_memory,
        },
    ));
    let sink = Arc::new(ZonesSink(Arc::clone(&zones)));
    let settings = Settings {
        max_lag: config.max_lag,
        strangers: StrangersConfig {
            service: "sts",
            event_type: EventType::TokenExchange,
            summary_every: config.strangers_summary,
        },
    };
    let replica = Replica::new(database.clone(), bus.clone(), sink, Arc::clone(&clock), settings);
    zones.follow(replica.feed.clone());
    let (recorder, strangers) = (replica.recorder.clone(), Arc::clone(&replica.strangers));
    let postgres = replica.database_answers.clone();
    // Behind the feed it decides on what the database confirms; without either it refuses whatever it is asked.
    host.probes.add("postgres", move || postgres.get());
    replica.start(&host.tasks);
    host.tasks.spawn("slow-poll", poll_slowly(Arc::clone(&zones)));
    let (present, draining) = (Arc::clone(&zones), host.probes.draining());
    host.tasks
        .spawn("presence", async move { present.stay_present(draining).await });
    let connection = bus.clone();
    host.probes.add("nats", move || connection.is_connected());
    host.probes.export("caracal_bus", move || bus.stats().all());
    Metrics::watch(&host.probes, &zones);

    let metrics = Metrics::register(&host.probes);
    let shadow = Shadow::new(metrics.clone());
    let watcher = Watcher::new(&shadow, &engine, &zones, &recorder, &clock);
    host.tasks.spawn("shadow", watcher.watch());
    let sts = Data::new(Sts {
        metrics,
        clock: Arc::clone(&clock),
        database,
        zones,
        engine,
        recorder,
        quotas: Quotas::default(),
        graph: Graph::default(),
        shadow,
        secrets: SecretCache::new(VERIFIED_SECRETS, VERIFIED_FOR)?,
        secret_mint,
        derivations: Semaphore::new(DERIVATIONS_AT_ONCE),
        credentials: credentials(config.egress.clone(), own.clone(), &clock)?,
        key_sets: KeySets::new(Metadata::new(config.egress, own)?),
        absent: Absent::default(),
        zone_of_application: moka::sync::Cache::new(KNOWN_APPLICATIONS),
        strangers,
        gateway_key: config.gateway_key,
        gateway_public_url: bare(&config.gateway_public_url),
        trusted_proxies: config.trusted_proxies,
        issuer_url: bare(&config.issuer_url),
    });
    let http = host.http();
    let shell = Shell::new(clock, host.in_flight(), move |method, route, status, took| {
        http.answered(method, route, status, took);
    })
    .with_unknown_route(unknown_route);
    let probes = host.probes.clone();
    let app = move || {
        let (probes, sts) = (probes.clone(), sts.clone());
        caracal_web::app(&shell, move |config| {
            probes.configure(config);
            config.app_data(sts).configure(routes);
        })
    };
    host.serve(app).await?;
    settled(PATIENCE).await;
    Ok(())
}

fn database(config: &Config) -> Result<Database, BoxError> {
    Ok(Database::connect(&DatabaseConfig {
        url: config.database_url.expose_secret().to_owned(),
        max_connections: DATABASE_CONNECTIONS,
        application_name: "caracal-sts",
    })?)
}

/// What asks providers, by the same rules as everything else that goes out.
fn credentials(egress: EgressPolicy, own: Own, clock: &Arc<dyn Clock>) -> Result<Credentials, BoxError> {
    let outside = Upstreams::new(egress, own)?;
    Ok(Credentials::new(Asker::new(outside, Arc::clone(clock))))
}

/// What no key set and no token may be fetched from: this listener, PostgreSQL, NATS, and what the operator names as internal
/// besides.
async fn own(config: &Config, host: &Host) -> Result<Own, BoxError> {
    let mut places = config.internal_addresses.clone();
    places.extend(places_of(config.nats_url.expose_secret(), 4222));
    places.extend(caracal_storage::places(config.database_url.expose_secret())?);
    let own = Own::find(vec![host.address()], places).await;
    host.tasks.spawn("own-addresses", own.clone().keep_up());
    Ok(own)
}

/// A base URL without its trailing slash.
fn bare(url: &url::Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
