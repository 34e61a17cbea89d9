//! A small real upstream that demands its API key and remembers what reached it.

use crate::local_server::LocalServer;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The key it demands in `X-API-Key`.
pub const API_KEY: &str = "upstream-key-71f3";

/// One request that got in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `METHOD /path?query`.
    pub line: String,
    /// `X-Request-Id`.
    pub request_id: String,
    /// Every header, in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// An upstream on loopback; it ends with the test.
#[derive(Debug)]
pub struct Upstream {
    server: LocalServer,
    log: Log,
}

impl Upstream {
    /// Starts one on the current run time.
    #[must_use]
    pub fn start() -> Self {
        let log = Log::default();
        let state = Data::new(Arc::clone(&log));
        let server = LocalServer::start(move |config| {
            config.app_data(state.clone()).default_service(web::to(answer));
        });
        Self { server, log }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Everything that got in so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().expect("no holder panics").clone()
    }

    /// The request ids of everything that got in so far.
    #[must_use]
    pub fn request_ids(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.request_id).collect()
    }

    /// Whether a request with this id got in.
    #[must_use]
    pub fn saw(&self, request_id: &str) -> bool {
        self.log
            .lock()
            .expect("no holder panics")
            .iter()
            .any(|seen| seen.request_id == request_id)
    }
}

async fn answer(request: HttpRequest, body: web::Bytes, log: Data<Log>) -> HttpResponse {
    let headers: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    if headers.get("x-api-key").map(String::as_str) != Some(API_KEY) {
        return HttpResponse::Unauthorized().json(json!({"error": "api_key_required"}));
    }
    let request_id = headers.get("x-request-id").cloned().unwrap_or_default();
    let line = format!("{} {}", request.method(), request.uri());
    let seen = Seen {
        line,
        request_id,
        headers,
        body: body.to_vec(),
    };
    log.lock().expect("no holder panics").push(seen);
    if request.path() == "/slow" {
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    HttpResponse::Ok().json(json!({"ok": true, "path": request.path()}))
}
