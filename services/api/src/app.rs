//! The long-lived parts of the API, and the only place where they are put together.

use crate::attempt;
use crate::config::Config;
use crate::error::Failure;
use crate::idempotency;
use crate::refusals::{self, Refusals};
use crate::routes::routes;
use crate::{seed, upkeep};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use caracal_domain::Clock;
use caracal_domain::id::ZoneId;
use caracal_domain::quota::Quota;
use caracal_egress::EgressPolicy;
use caracal_jose::{BodyMac, Kek, SecretMint, hash_secret};
use caracal_lifecycle::{BoxError, Host};
use caracal_policy::Compiler;
use caracal_storage::{Database, DatabaseConfig};
use caracal_web::{Shell, settled};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

const DATABASE_CONNECTIONS: usize = 16;
/// Each derivation takes 19 MiB and 25 ms of a processor.
const DERIVATIONS_AT_ONCE: usize = 2;
/// How long a commit may take after its caller has gone and the listener has closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything a request needs.
pub struct Api {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) database: Database,
    pub(crate) kek: Kek,
    pub(crate) secrets: SecretMint,
    pub(crate) bodies: BodyMac,
    pub(crate) refusals: Refusals,
    pub(crate) compiler: Compiler,
    pub(crate) egress: EgressPolicy,
    pub(crate) registrations: Mutex<Quota<ZoneId>>,
    pub(crate) local_bootstrap: bool,
    pub(crate) issuer_url: Url,
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
    let api = Data::new(Api {
        clock: Arc::clone(&clock),
        database,
        secrets: SecretMint::from_kek(&config.kek)?,
        bodies: BodyMac::from_kek(&config.kek)?,
        refusals: Refusals::default(),
        kek: config.kek,
        compiler: Compiler::new(config.opa),
        egress: config.egress,
        registrations: Mutex::default(),
        local_bootstrap: config.local_bootstrap,
        issuer_url: config.issuer_url,
        derivations: Semaphore::new(DERIVATIONS_AT_ONCE),
    });
    let ready = seed::Ready::default();
    host.tasks.spawn(
        "seed",
        seed::keep_ready(Arc::clone(&api), config.admin_token, ready.clone()),
    );
    host.tasks
        .spawn("refusals", refusals::keep_recording(Arc::clone(&api)));
    host.tasks
        .spawn("idempotency", idempotency::keep_forgetting(Arc::clone(&api)));
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
