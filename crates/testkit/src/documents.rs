//! A small real server of documents, such as key sets and discovery, that can be made to behave badly.

use crate::local_server::LocalServer;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures::StreamExt;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does when it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Conduct {
    /// Answers with the document, or 404.
    #[default]
    Honest,
    /// Answers 500.
    Fails,
    /// Answers 200 with something that is no JSON.
    Garbage,
    /// Answers with the document after this long.
    Slow(Duration),
    /// Begins to answer at once and sends one byte now and then, for ever.
    Drips,
    /// Sends zeros as fast as they are taken, a gigabyte of them.
    Endless,
    /// Sends the caller elsewhere.
    Redirects(String),
}

#[derive(Debug, Default)]
struct State {
    documents: HashMap<String, Value>,
    asked: HashMap<String, usize>,
    conduct: Conduct,
}

/// The server, on loopback; it ends with the test.
#[derive(Debug)]
pub struct Documents {
    server: LocalServer,
    state: Arc<Mutex<State>>,
}

impl Documents {
    /// Starts one on the current run time.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Data::new(Arc::clone(&state));
        let server = LocalServer::start(move |config| {
            config.app_data(shared.clone()).default_service(web::to(answer));
        });
        Self { server, state }
    }

    /// Where a document is.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    /// Serves a document from now on.
    pub fn put(&self, path: &str, document: Value) {
        let mut state = self.state.lock().expect("no holder panics");
        state.documents.insert(path.to_owned(), document);
    }

    /// Behaves like this from now on.
    pub fn conduct(&self, conduct: Conduct) {
        self.state.lock().expect("no holder panics").conduct = conduct;
    }

    /// How often a document was asked for.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        let state = self.state.lock().expect("no holder panics");
        state.asked.get(path).copied().unwrap_or_default()
    }
}

async fn answer(request: HttpRequest, state: Data<Arc<Mutex<State>>>) -> HttpResponse {
    let (document, conduct) = {
        let mut state = state.lock().expect("no holder panics");
        *state.asked.entry(request.path().to_owned()).or_default() += 1;
        (
            state.documents.get(request.path()).cloned(),
            state.conduct.clone(),
        )
    };
    let honest = || match &document {
        Some(document) => HttpResponse::Ok().json(document),
        None => HttpResponse::NotFound().finish(),
    };
    let chunk = |size| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; size]));
    match conduct {
        Conduct::Honest => honest(),
        Conduct::Fails => HttpResponse::InternalServerError().finish(),
        Conduct::Garbage => HttpResponse::Ok().body("<html>\u{0}\u{1}{\"keys\": [</html>"),
        Conduct::Slow(delay) => {
            tokio::time::sleep(delay).await;
            honest()
        }
        Conduct::Drips => {
            let drops = futures::stream::repeat(()).then(move |()| async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                chunk(1)
            });
            HttpResponse::Ok().streaming(drops.boxed_local())
        }
        Conduct::Endless => {
            HttpResponse::Ok().streaming(futures::stream::repeat_with(move || chunk(1 << 20)).take(1024))
        }
        Conduct::Redirects(elsewhere) => HttpResponse::Found()
            .insert_header(("Location", elsewhere))
            .finish(),
    }
}
