//! The upstream: an order book that refuses anyone without its API key. It knows nothing of Caracal.

use crate::settings;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Bytes, Data, Json};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError};
use anyhow::{Context, Result, bail};
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::process::{Child, Command};

/// Where the order book listens, and the key it asks for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// The port on loopback.
    #[arg(long, env = "PORT", default_value_t = 18080)]
    port: u16,
    /// The API key callers must show in `X-API-Key`.
    #[arg(long, env = "CARACAL_DEMO_UPSTREAM_KEY", hide_env_values = true)]
    key: String,
}

#[derive(Debug)]
struct Book {
    key: String,
    orders: Mutex<Vec<Order>>,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    #[serde(default)]
    id: usize,
    item: String,
    quantity: u32,
}

/// One request that got past the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// `METHOD /path`.
    pub(crate) line: String,
    /// Its `X-Request-Id`.
    pub(crate) request_id: String,
    /// The key it showed, by its end.
    pub(crate) key_ending: String,
    /// The names of all its headers.
    pub(crate) headers: Vec<String>,
}

/// Serves until it is told to stop.
pub(crate) async fn serve(settings: Settings) -> Result<()> {
    let first = ["lamp", "chair", "kettle"]
        .into_iter()
        .zip(1..)
        .map(|(item, id)| Order {
            id,
            item: item.into(),
            quantity: 2,
        });
    let book = Data::new(Book {
        key: settings.key,
        orders: Mutex::new(first.collect()),
        seen: Mutex::default(),
    });
    let app = move || {
        App::new()
            .app_data(book.clone())
            .route("/health", web::get().to(health))
            .route("/orders", web::get().to(list))
            .route("/orders", web::post().to(place))
            .route("/stream", web::get().to(ticks))
            .route("/seen", web::get().to(seen))
    };
    let server = HttpServer::new(app).workers(1).shutdown_timeout(1);
    server
        .bind(("127.0.0.1", settings.port))
        .with_context(|| {
            format!(
                "port {} (the demo's order book) is taken by another program: stop that, or choose other ports: \
                 PORT_BASE=20000 make demo",
                settings.port
            )
        })?
        .run()
        .await?;
    Ok(())
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"ok": true}))
}

async fn list(request: HttpRequest, book: Data<Book>) -> Result<HttpResponse, NoKey> {
    book.admit(&request)?;
    Ok(HttpResponse::Ok().json(&*lock(&book.orders)))
}

async fn place(request: HttpRequest, book: Data<Book>, order: Json<Order>) -> Result<HttpResponse, NoKey> {
    book.admit(&request)?;
    let mut orders = lock(&book.orders);
    let order = Order {
        id: orders.len() + 1,
        ..order.into_inner()
    };
    orders.push(order.clone());
    Ok(HttpResponse::Created().json(order))
}

/// Server-sent events: a tick every 100 ms, ten in all.
async fn ticks(request: HttpRequest, book: Data<Book>) -> Result<HttpResponse, NoKey> {
    book.admit(&request)?;
    let events = stream::unfold(1_u32, |tick| async move {
        if tick > 10 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((
            Ok::<_, actix_web::Error>(Bytes::from(format!("id: {tick}\ndata: tick {tick}\n\n"))),
            tick + 1,
        ))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .streaming(events))
}

/// What got past the key so far, and how often by request id.
async fn seen(request: HttpRequest, book: Data<Book>) -> Result<HttpResponse, NoKey> {
    book.check_key(&request)?;
    let seen = lock(&book.seen);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for request in seen.iter() {
        *counts.entry(&request.request_id).or_default() += 1;
    }
    Ok(HttpResponse::Ok().json(json!({"by_request_id": counts, "requests": &*seen})))
}

/// The caller did not show the key.
#[derive(Debug)]
struct NoKey;

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("show me your API key")
    }
}

impl ResponseError for NoKey {
    fn error_response(&self) -> HttpResponse {
        HttpResponse::Unauthorized().json(json!({"error": self.to_string()}))
    }
}

impl Book {
    fn admit(&self, request: &HttpRequest) -> Result<(), NoKey> {
        let key = self.check_key(request)?;
        let text = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        lock(&self.seen).push(Seen {
            line: format!("{} {}", request.method(), request.path()),
            request_id: text("x-request-id").to_owned(),
            key_ending: key,
            headers: request
                .headers()
                .keys()
                .map(|name| name.as_str().to_owned())
                .collect(),
        });
        Ok(())
    }

    fn check_key(&self, request: &HttpRequest) -> Result<String, NoKey> {
        let shown = request
            .headers()
            .get("x-api-key")
            .and_then(|value| value.to_str().ok());
        match shown {
            Some(key) if key == self.key => {
                Ok(key.chars().skip(key.chars().count().saturating_sub(4)).collect())
            }
            _ => Err(NoKey),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The order book as a process of its own, which ends with the story.
#[derive(Debug)]
pub(crate) struct Running {
    _child: Child,
    key: String,
    base: String,
}

impl Running {
    /// Starts it, or finds it running, and waits until it answers.
    pub(crate) async fn start(settings: &settings::Settings, http: &reqwest::Client) -> Result<Self> {
        let url = reqwest::Url::parse(&settings.upstream).context("CARACAL_DEMO_UPSTREAM_URL")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["upstream", "--port", &url.port().unwrap_or(18080).to_string()])
            .env("CARACAL_DEMO_UPSTREAM_KEY", &settings.upstream_key)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let base = settings.upstream.trim_end_matches('/').to_owned();
        for _ in 0..200 {
            if let Ok(answer) = http.get(format!("{base}/health")).send().await
                && answer.status().is_success()
            {
                return Ok(Self {
                    _child: child,
                    key: settings.upstream_key.clone(),
                    base,
                });
            }
            if let Some(status) = child.try_wait()? {
                bail!("the order book did not start ({status})");
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("the order book does not answer")
    }

    /// Everything it has seen, asked with its own key.
    pub(crate) async fn seen(&self, http: &reqwest::Client) -> Result<Vec<Seen>> {
        #[derive(Deserialize)]
        struct Answer {
            requests: Vec<Seen>,
        }
        let request = http
            .get(format!("{}/seen", self.base))
            .header("X-API-Key", &self.key);
        Ok(request
            .send()
            .await?
            .error_for_status()?
            .json::<Answer>()
            .await?
            .requests)
    }
}
