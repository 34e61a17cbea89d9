//! `/health`, `/ready` and `/metrics`, the same on every service.

use crate::metrics::{self, HttpMetrics};
use actix_web::http::header;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use serde_json::json;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

type Check = Box<dyn Fn() -> bool + Send + Sync>;

/// One thing a process needs.
struct Need {
    name: &'static str,
    is_there: Check,
    /// For what it can do without once it has had it: whether it has.
    was_there: Option<AtomicBool>,
}

impl Need {
    /// Whether the process may say that it is ready, as far as this is concerned.
    fn is_met(&self) -> bool {
        let there = (self.is_there)();
        match &self.was_there {
            None => there,
            Some(was_there) => was_there.fetch_or(there, Ordering::Relaxed) || there,
        }
    }
}

/// What a process says about itself.
#[derive(Clone)]
pub struct ProbeSet(Arc<Inner>);

struct Inner {
    needs: RwLock<Vec<Need>>,
    registry: RwLock<Registry>,
    http: HttpMetrics,
    draining: CancellationToken,
}

impl ProbeSet {
    /// A set with the metrics every process has and no checks.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let http = metrics::register(&mut registry);
        Self(Arc::new(Inner {
            needs: RwLock::new(Vec::new()),
            registry: RwLock::new(registry),
            http,
            draining: CancellationToken::new(),
        }))
    }

    /// Adds a thing without which the process is not ready. `check` must be cheap: it reads a flag, it asks nobody.
    pub fn add(&self, name: &'static str, check: impl Fn() -> bool + Send + Sync + 'static) {
        self.0.needs.write().push(Need {
            name,
            is_there: Box::new(check),
            was_there: None,
        });
    }

    /// Adds a thing that the process must have had once and can then do without: its loss is named, but the process
    /// stays ready, such as an STS that is behind and reads through.
    pub fn add_to_start(&self, name: &'static str, check: impl Fn() -> bool + Send + Sync + 'static) {
        let was_there = Some(AtomicBool::new(false));
        self.0.needs.write().push(Need {
            name,
            is_there: Box::new(check),
            was_there,
        });
    }

    /// Registers metrics.
    pub fn register(&self, with: impl FnOnce(&mut Registry)) {
        with(&mut self.0.registry.write());
    }

    /// The metrics of this process's HTTP server.
    #[must_use]
    pub fn http(&self) -> HttpMetrics {
        self.0.http.clone()
    }

    /// From now on `/ready` answers 503 with `draining: true`.
    pub fn start_draining(&self) {
        self.0.draining.cancel();
    }

    /// Fires when the process begins to drain: answers that would never end by themselves end then.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.0.draining.clone()
    }

    /// The names of what is missing, in the order they were added.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.0
            .needs
            .read()
            .iter()
            .filter(|need| !(need.is_there)())
            .map(|need| need.name)
            .collect()
    }

    /// Whether everything that must be there is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.needs.read().iter().all(Need::is_met)
    }

    /// The three routes.
    pub fn configure(&self, config: &mut ServiceConfig) {
        config
            .app_data(Data::new(self.clone()))
            .service(
                probe("/health")
                    .route(web::get().to(health))
                    .route(web::head().to(health)),
            )
            .service(
                probe("/ready")
                    .route(web::get().to(ready))
                    .route(web::head().to(ready)),
            )
            .service(
                probe("/metrics")
                    .route(web::get().to(scrape))
                    .route(web::head().to(scrape)),
            );
    }
}

impl Default for ProbeSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ProbeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeSet")
            .field("missing", &self.missing())
            .finish_non_exhaustive()
    }
}

fn probe(path: &str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(|| async {
        HttpResponse::MethodNotAllowed()
            .insert_header((header::ALLOW, "GET, HEAD"))
            .json(json!({"error": "method_not_allowed"}))
    }))
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"ok": true}))
}

async fn ready(probes: Data<ProbeSet>) -> HttpResponse {
    if probes.0.draining.is_cancelled() {
        return HttpResponse::ServiceUnavailable().json(json!({"ok": false, "draining": true}));
    }
    let missing = probes.missing();
    match (probes.is_ready(), missing.is_empty()) {
        (true, true) => HttpResponse::Ok().json(json!({"ok": true, "draining": false})),
        (true, false) => HttpResponse::Ok().json(json!({"ok": true, "draining": false, "missing": missing})),
        (false, _) => HttpResponse::ServiceUnavailable()
            .json(json!({"ok": false, "draining": false, "missing": missing})),
    }
}

async fn scrape(probes: Data<ProbeSet>, request: HttpRequest) -> HttpResponse {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &probes.0.registry.read()).is_err() {
        return HttpResponse::InternalServerError().json(json!({"error": "server_error"}));
    }
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accept.contains("application/openmetrics-text") {
        HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text)
    } else {
        let plain = "text/plain; version=0.0.4; charset=utf-8";
        HttpResponse::Ok()
            .content_type(plain)
            .body(metrics::as_prometheus_text(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_needed_to_start_is_named_when_it_goes_and_the_process_stays_ready() {
        let (probes, there) = (ProbeSet::new(), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&there);
        probes.add_to_start("feed", move || flag.load(Ordering::Relaxed));
        assert!(!probes.is_ready(), "never had it");
        there.store(true, Ordering::Relaxed);
        assert!(probes.is_ready() && probes.missing().is_empty());
        there.store(false, Ordering::Relaxed);
        assert_eq!((probes.is_ready(), probes.missing()), (true, vec!["feed"]));
    }

    #[test]
    fn what_is_always_needed_makes_it_unready() {
        let probes = ProbeSet::new();
        probes.add("postgres", || false);
        assert_eq!((probes.is_ready(), probes.missing()), (false, vec!["postgres"]));
    }
}
