//! The long-lived parts of the API, and the only place where they are put together.

use crate::attempt;
use crate::config::Config;
use crate::error::Failure;
use crate::ledger::Signer;
use crate::policy::Turns;
use crate::refusals::{self, Refusals};
use crate::routes::routes;
use crate::sight::{Sight, Store};
use crate::tails::Tails;
use crate::zone::Pages;
use crate::{seed, upkeep};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use caracal_domain::Clock;
use caracal_domain::id::ZoneId;
use caracal_domain::quota::Quota;
use caracal_egress::{EgressPolicy, Own, Upstreams};
use caracal_jose::{BodyMac, Kek, SecretMint, hash_secret};
use caracal_lifecycle::{BoxError, Host, Tasks};
use caracal_policy::{Compiler, Engine, EngineConfig};
use caracal_provider::Asker;
use caracal_storage::{Conn, Database, DatabaseConfig};
use caracal_web::{Shell, settled};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;
use url::Url;

const DATABASE_CONNECTIONS: usize = 16;
/// Each derivation takes 19 MiB and 25 ms of a processor.
const DERIVATIONS_AT_ONCE: usize = 2;
/// Each replay takes most of a processor while it runs.
const REPLAYS_AT_ONCE: usize = 2;
/// Compiled policies that simulations and replays under way may hold: three of the largest sets.
const HELD_MODULES: usize = 3 * 256;
/// Room for those, of some 600 KB each with an instance, and for some that may be asked for next.
const POLICY_MEMORY_BYTES: usize = (64 << 20) + HELD_MODULES * (640 << 10);
/// How long a commit may take after its caller has gone and the listener has closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything a request needs.
pub struct Api {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) database: Store,
    pub(crate) kek: Kek,
    pub(crate) secrets: SecretMint,
    pub(crate) bodies: BodyMac,
    pub(crate) refusals: Refusals,
    /// Lists of zones as they were last answered.
    pub(crate) zone_pages: Pages,
    pub(crate) compiler: Compiler,
    pub(crate) turns: Turns,
    pub(crate) egress: EgressPolicy,
    pub(crate) registrations: Mutex<Quota<ZoneId>>,
    pub(crate) local_bootstrap: bool,
    pub(crate) issuer_url: Url,
    /// Answers what a policy would say; never decides.
    pub(crate) engine: Engine,
    /// Everything that leaves the house.
    pub(crate) outside: Upstreams,
    /// Asks upstream providers for tokens.
    pub(crate) asker: Asker,
    /// Where we are reached from outside, without a slash at the end.
    pub(crate) public_url: String,
    pub(crate) tails: Tails,
    /// Signs the checkpoints of ledgers.
    pub(crate) ledger: OnceCell<Signer>,
    pub(crate) replays: Semaphore,
    pub(crate) held_modules: Arc<Semaphore>,
    pub(crate) tasks: Tasks,
    /// Whether it may be written.
    pub(crate) ready: seed::Ready,
    /// Fires when answers that do not end by themselves must.
    pub(crate) draining: CancellationToken,
    derivations: Semaphore,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Api {
    /// Asks the database one thing, outside any transaction.
    pub(crate) async fn read<T>(
        &self,
        sight: impl Into<Sight>,
        query: impl AsyncFnOnce(&mut Conn) -> caracal_storage::Result<T>,
    ) -> Result<T, Failure> {
        let mut conn = self.database.acquire(sight).await?;
        Ok(query(&mut conn).await?)
    }

    /// Hashes a secret for keeping, off the threads that answer.
    pub(crate) async fn hash(&self, secret: SecretString) -> Result<String, Failure> {
        let _turn = self
            .derivations
            .acquire()
            .await
            .map_err(|_| Failure::Fault("hashing a secret"))?;
        let hashed = tokio::task::spawn_blocking(move || hash_secret(secret.expose_secret())).await;
        Ok(hashed.map_err(|_| Failure::Fault("hashing a secret"))??)
    }
}

/// Puts the service together and runs it until it is told to stop.
///
/// # Errors
/// A part cannot be set up, or the server broke.
pub async fn serve(config: Config, host: Host) -> Result<(), BoxError> {
    let clock = host.clock();
    let database = Database::connect(&DatabaseConfig {
        url: config.database_url.expose_secret().to_owned(),
        max_connections: DATABASE_CONNECTIONS,
        application_name: "caracal-api",
    })?;
    let mut places = caracal_storage::places(config.database_url.expose_secret())?;
    places.extend_from_slice(&config.internal_addresses);
    let own = Own::find(vec![host.address()], places).await;
    host.tasks.spawn("own-addresses", own.clone().keep_up());
    let outside = Upstreams::new(config.egress.clone(), own)?;
    let tails = Tails::default();
    let api = Data::new(Api {
        clock: Arc::clone(&clock),
        database: Store::new(database),
        secrets: SecretMint::from_kek(&config.kek)?,
        bodies: BodyMac::from_kek(&config.kek)?,
        refusals: Refusals::default(),
        zone_pages: Pages::default(),
        kek: config.kek,
        compiler: Compiler::new(config.opa),
        turns: Turns::default(),
        asker: Asker::new(outside.clone(), Arc::clone(&clock)),
        outside,
        egress: config.egress,
        public_url: config.public_url.as_ref().map_or_else(
            || own_address(&host),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        ),
        registrations: Mutex::default(),
        local_bootstrap: config.local_bootstrap,
        issuer_url: config.issuer_url,
        engine: Engine::new(EngineConfig {
            memory_budget_bytes: POLICY_MEMORY_BYTES,
            ..EngineConfig::default()
        })?,
        tails: tails.clone(),
        ledger: OnceCell::new(),
        replays: Semaphore::new(REPLAYS_AT_ONCE),
        held_modules: Arc::new(Semaphore::new(HELD_MODULES)),
        tasks: host.tasks.clone(),
        draining: host.probes.draining(),
        ready: seed::Ready::default(),
        derivations: Semaphore::new(DERIVATIONS_AT_ONCE),
    });
    host.tasks.spawn(
        "ledger-wake-ups",
        tails.keep_waking(config.database_url.expose_secret().to_owned()),
    );
    let ready = api.ready.clone();
    host.tasks
        .spawn("seed", seed::keep_ready(Arc::clone(&api), config.admin_token));
    host.tasks
        .spawn("refusals", refusals::keep_recording(Arc::clone(&api)));
    ready.probe(&host.probes);
    host.tasks.spawn("upkeep", upkeep::keep_up(Arc::clone(&api)));

    let http = host.http();
    let shell = Shell::new(clock, host.in_flight(), move |method, route, status, took| {
        http.answered(method, route, status, took);
    });
    let probes = host.probes.clone();
    let shared = api.clone();
    let app = move || {
        let (probes, api) = (probes.clone(), shared.clone());
        caracal_web::app(&shell, move |config| {
            probes.configure(config);
            let watched = web::scope("").wrap(from_fn(attempt::watch)).configure(routes);
            config.app_data(api).service(watched);
        })
    };
    host.serve(app).await?;
    settled(PATIENCE).await;
    api.flush_refusals().await;
    Ok(())
}

/// Where a browser on this machine finds us.
fn own_address(host: &Host) -> String {
    let ip = host.common.host;
    let ip = if ip.is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        ip
    };
    format!("http://{}", SocketAddr::new(ip, host.common.port))
}
