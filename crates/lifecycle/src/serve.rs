//! The HTTP server of a process, from its first request to the end of its drain.

use crate::BoxError;
use crate::config::Common;
use crate::probes::ProbeSet;
use crate::tasks::Tasks;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error, HttpServer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long the head of a request may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the listener's own connections may take to close once nothing is in flight.
const CLOSE_TIMEOUT_SECONDS: u64 = 2;

/// How many requests are in flight, counted by the application until the last byte of each answer.
pub type InFlight = Arc<AtomicUsize>;

/// Serves until SIGTERM, SIGINT or a failed task, then drains: `/ready` says so at once, requests in flight finish
/// while new ones are still answered, and only then the listener closes.
///
/// # Errors
/// The address cannot be bound, or the server broke.
pub async fn serve<F, T, B>(
    common: &Common,
    probes: &ProbeSet,
    tasks: &Tasks,
    in_flight: &InFlight,
    app: F,
) -> Result<(), BoxError>
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
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let address = SocketAddr::new(common.host, common.port);
    let server = HttpServer::new(app)
        .workers(common.workers)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(CLOSE_TIMEOUT_SECONDS)
        .disable_signals()
        .bind(address)?
        .run();
    let handle = server.handle();
    tracing::info!(%address, "listening");

    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        () = tasks.stopping().cancelled_owned() => tracing::error!("a part has failed: draining"),
    }
    probes.start_draining();
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = drained(common, in_flight) => {}
    }
    let (ended, ()) = tokio::join!(server, handle.stop(true));
    ended?;
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the grace is over and nothing is in flight, or the time is up.
async fn drained(common: &Common, in_flight: &InFlight) {
    let started = Instant::now();
    tokio::time::sleep(common.drain_grace).await;
    while in_flight.load(Ordering::Acquire) > 0 && started.elapsed() < common.drain_timeout {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
