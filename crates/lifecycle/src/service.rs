//! The whole life of a process, so that a `main.rs` is a few lines.

use crate::config::{Common, Env, Mistakes};
use crate::metrics::HttpMetrics;
use crate::probes::ProbeSet;
use crate::serve::{self, InFlight};
use crate::tasks::Tasks;
use crate::{BoxError, EXIT_CONFIG, SystemClock, healthcheck, telemetry};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error};
use caracal_domain::Clock;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

/// Which service this is.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The name of its binary.
    pub name: &'static str,
    /// The port it listens on when `PORT` is not set.
    pub default_port: u16,
}

/// What a running process lends its application.
#[derive(Debug, Clone)]
pub struct Host {
    /// The settings every service has.
    pub common: Common,
    /// What it says about itself.
    pub probes: ProbeSet,
    /// Its background tasks.
    pub tasks: Tasks,
    in_flight: InFlight,
}

impl Host {
    /// The system's clock, as far ahead as this process is told to be.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::ahead_by(self.common.clock_offset_ms))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.common.host, self.common.port)
    }

    /// What counts the requests in flight; the application's outermost middleware holds it.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        Arc::clone(&self.in_flight)
    }

    /// The metrics of the HTTP server.
    #[must_use]
    pub fn http(&self) -> HttpMetrics {
        self.probes.http()
    }

    /// Serves `app` until the process is told to stop, then drains and stops the background tasks.
    ///
    /// # Errors
    /// The address cannot be bound, the server broke, or a background task panicked.
    pub async fn serve<F, T, B>(self, app: F) -> Result<(), BoxError>
    where
        F: Fn() -> App<T> + Send + Clone + 'static,
        T: ServiceFactory<
                ServiceRequest,
                Config = (),
                Response = ServiceResponse<B>,
                Error = Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        let served = serve::serve(&self.common, &self.probes, &self.tasks, &self.in_flight, app).await;
        self.tasks.finish().await;
        served?;
        if self.tasks.failed() {
            Err("a background task panicked".into())
        } else {
            Ok(())
        }
    }
}

/// Runs a service: `read` its configuration, then `start` it with the process around it.
///
/// Exits 64 after listing every mistake of the configuration on standard error, 1 after any other failure. With the
/// one argument `healthcheck` it asks its own `/ready` instead, which is what a container without a shell needs.
pub fn run<C, Start, Run>(service: Service, read: fn(&mut Env) -> Option<C>, start: Start) -> ExitCode
where
    Start: FnOnce(C, Host) -> Run,
    Run: Future<Output = Result<(), BoxError>>,
{
    let mut env = Env::from_process();
    let common = Common::read(&mut env, service.default_port);
    if std::env::args().nth(1).as_deref() == Some("healthcheck") {
        return healthcheck::run(&common);
    }
    let config = read(&mut env);
    let config = match (env.finish(), config) {
        (Ok(()), Some(config)) => config,
        (Ok(()), None) => return complain(service, &Mistakes(Vec::new())),
        (Err(mistakes), _) => return complain(service, &mistakes),
    };
    // A second installation is refused, and harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(common.workers)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{}: cannot start: {error}", service.name);
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(live(service, common, |host| start(config, host)))
}

async fn live<Run>(service: Service, common: Common, start: impl FnOnce(Host) -> Run) -> ExitCode
where
    Run: Future<Output = Result<(), BoxError>>,
{
    let telemetry = match telemetry::init(service.name, &common) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("{}: cannot start telemetry: {error}", service.name);
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), mode = ?common.mode, "starting");
    let tasks = Tasks::of_process();
    let host = Host {
        common,
        probes: ProbeSet::new(),
        tasks,
        in_flight: InFlight::default(),
    };
    let outcome = Box::pin(start(host)).await;
    if let Err(error) = &outcome {
        let cause: &(dyn std::error::Error + 'static) = &**error;
        tracing::error!(error = cause, "stopped by a failure");
    }
    // Flushing blocks, and needs the run time to send.
    let flushed = tokio::task::spawn_blocking(move || telemetry.flush()).await;
    if outcome.is_ok() && flushed.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn complain(service: Service, mistakes: &Mistakes) -> ExitCode {
    eprintln!("{}: {mistakes}", service.name);
    for mistake in &mistakes.0 {
        eprintln!("  {mistake}");
    }
    ExitCode::from(EXIT_CONFIG)
}
