//! A small real authorization server (RFC 6749): it demands its client's secret, gives tokens for the codes it knows,
//! rotates refresh tokens, takes them back, and can be told to misbehave. What lies below `/api` is a resource server that
//! lets nobody in without one of its access tokens.

use crate::local_server::LocalServer;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The client it knows.
pub const CLIENT_ID: &str = "caracal-at-provider";
/// That client's secret.
pub const CLIENT_SECRET: &str = "provider-secret-9b1e";
/// A code it exchanges.
pub const CODE: &str = "good-code";

/// How it answers token requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    /// As it should.
    #[default]
    Good,
    /// With something that is no JSON.
    Garbage,
    /// With a megabyte.
    Huge,
    /// Not for ten seconds.
    Slow,
    /// With a redirect elsewhere.
    Redirect,
    /// With a token that would break a header.
    Unusable,
    /// With its own fault.
    Broken,
    /// With a token that is no bearer token.
    OtherType,
    /// As it should, after this long.
    Late(Duration),
    /// As it should, with tokens that live so many seconds.
    Brief(i64),
    /// As it should, without a word of how long its tokens live.
    Unsaid,
    /// That what it is shown is worth nothing any more.
    Forgetful,
}

/// A request that reached it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `/token` or `/revoke`.
    pub path: String,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// The form.
    pub form: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct State {
    revokes_after: Duration,
    asked: Vec<Asked>,
    manner: Manner,
    tokens: u32,
    /// What `/api` lets in.
    live: HashSet<String>,
    /// What buys new tokens, once.
    refreshing: HashSet<String>,
    let_in: Vec<String>,
    base: String,
    issuer: Option<String>,
}

type Shared = Arc<Mutex<State>>;

/// See the module; it ends with the test.
#[derive(Debug)]
pub struct OauthServer {
    server: LocalServer,
    state: Shared,
}

impl OauthServer {
    /// Starts one on the current run time.
    #[must_use]
    pub fn start() -> Self {
        let state = Shared::default();
        let data = Data::new(Arc::clone(&state));
        let server = LocalServer::start(move |config| {
            config
                .app_data(data.clone())
                .route("/token", web::post().to(token))
                .route("/revoke", web::post().to(revoke))
                .route("/api/{rest:.*}", web::to(api))
                .route("/.well-known/openid-configuration", web::get().to(discover))
                .default_service(web::to(|| async { HttpResponse::Ok().body("hello") }));
        });
        state.lock().expect("no holder panics").base = server.url();
        Self { server, state }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on it answers token requests so.
    pub fn behave(&self, manner: Manner) {
        self.state.lock().expect("no holder panics").manner = manner;
    }

    /// From now on it hears of tokens that are given back this long after it was told.
    pub fn revoke_after(&self, late: Duration) {
        self.state.lock().expect("no holder panics").revokes_after = late;
    }

    /// From now on its discovery document says that it is somebody else's.
    pub fn pretend(&self, issuer: &str) {
        self.state.lock().expect("no holder panics").issuer = Some(issuer.to_owned());
    }

    /// From now on `/api` refuses every access token given so far.
    pub fn end_access(&self) {
        self.state.lock().expect("no holder panics").live.clear();
    }

    /// The `Authorization` of every call that `/api` let in.
    #[must_use]
    pub fn let_in(&self) -> Vec<String> {
        self.state.lock().expect("no holder panics").let_in.clone()
    }

    /// The forms of every request to `/token` for this grant so far.
    #[must_use]
    pub fn asked_for(&self, grant_type: &str) -> Vec<BTreeMap<String, String>> {
        let asked = self.asked().into_iter().map(|asked| asked.form);
        asked
            .filter(|form| form.get("grant_type").map(String::as_str) == Some(grant_type))
            .collect()
    }

    /// Every request to `/token` and `/revoke` so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().expect("no holder panics").asked.clone()
    }
}

fn note(state: &Shared, request: &HttpRequest, form: &BTreeMap<String, String>) {
    let authorization = request.headers().get("authorization");
    let asked = Asked {
        path: request.path().to_owned(),
        authorization: authorization.and_then(|value| value.to_str().ok().map(str::to_owned)),
        form: form.clone(),
    };
    state.lock().expect("no holder panics").asked.push(asked);
}

fn is_client(request: &HttpRequest, form: &BTreeMap<String, String>) -> bool {
    let basic = format!(
        "Basic {}",
        STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"))
    );
    let header = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let field = |name: &str| form.get(name).map(String::as_str);
    header == Some(&basic)
        || (field("client_id") == Some(CLIENT_ID) && field("client_secret") == Some(CLIENT_SECRET))
        || (field("client_id") == Some(CLIENT_ID) && form.contains_key("client_assertion"))
}

async fn token(
    request: HttpRequest,
    form: web::Form<BTreeMap<String, String>>,
    state: Data<Shared>,
) -> HttpResponse {
    note(&state, &request, &form);
    let manner = state.lock().expect("no holder panics").manner;
    match manner {
        Manner::Good | Manner::Brief(_) | Manner::Unsaid => {}
        Manner::Late(how) => tokio::time::sleep(how).await,
        Manner::Forgetful => return HttpResponse::BadRequest().json(json!({"error": "invalid_grant"})),
        Manner::OtherType => {
            return HttpResponse::Ok()
                .json(json!({"access_token": "proof", "token_type": "DPoP", "expires_in": 60}));
        }
        Manner::Garbage => return HttpResponse::Ok().body("<html>"),
        Manner::Huge => return HttpResponse::Ok().body("x".repeat(1 << 20)),
        Manner::Slow => tokio::time::sleep(Duration::from_secs(10)).await,
        Manner::Redirect => {
            return HttpResponse::Found()
                .insert_header(("Location", "http://169.254.169.254/"))
                .finish();
        }
        Manner::Unusable => {
            return HttpResponse::Ok().json(json!({"access_token": "a\r\nb", "token_type": "Bearer"}));
        }
        Manner::Broken => return HttpResponse::InternalServerError().body("oops"),
    }
    if !is_client(&request, &form) {
        return HttpResponse::Unauthorized().json(json!({"error": "invalid_client"}));
    }
    let fits = match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => form.get("code").map(String::as_str) == Some(CODE),
        Some("refresh_token") => {
            let shown = form.get("refresh_token").map(String::as_str).unwrap_or_default();
            state.lock().expect("no holder panics").refreshing.remove(shown)
        }
        Some("client_credentials") => true,
        _ => return HttpResponse::BadRequest().json(json!({"error": "unsupported_grant_type"})),
    };
    if !fits {
        return HttpResponse::BadRequest().json(json!({"error": "invalid_grant"}));
    }
    let (access, refresh) = {
        let mut state = state.lock().expect("no holder panics");
        state.tokens += 1;
        let number = state.tokens;
        let tokens = (format!("access-{number}"), format!("refresh-{number}"));
        state.live.insert(tokens.0.clone());
        state.refreshing.insert(tokens.1.clone());
        tokens
    };
    let mut answer = json!({"access_token": access, "refresh_token": refresh, "token_type": "Bearer"});
    let seconds = if let Manner::Brief(seconds) = manner {
        Some(seconds)
    } else {
        (manner != Manner::Unsaid).then_some(3600)
    };
    if let (Some(seconds), Some(members)) = (seconds, answer.as_object_mut()) {
        members.insert("expires_in".to_owned(), seconds.into());
    }
    HttpResponse::Ok().json(answer)
}

async fn api(request: HttpRequest, state: Data<Shared>) -> HttpResponse {
    let header = request.headers().get("authorization");
    let shown = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut state = state.lock().expect("no holder panics");
    match shown.strip_prefix("Bearer ") {
        Some(token) if state.live.contains(token) => {
            state.let_in.push(shown.to_owned());
            HttpResponse::Ok().json(json!({"ok": true}))
        }
        _ => HttpResponse::Unauthorized().finish(),
    }
}

async fn revoke(
    request: HttpRequest,
    form: web::Form<BTreeMap<String, String>>,
    state: Data<Shared>,
) -> HttpResponse {
    let late = state.lock().expect("no holder panics").revokes_after;
    tokio::time::sleep(late).await;
    note(&state, &request, &form);
    HttpResponse::Ok().finish()
}

async fn discover(state: Data<Shared>) -> HttpResponse {
    let state = state.lock().expect("no holder panics");
    let base = &state.base;
    HttpResponse::Ok().json(json!({
        "issuer": state.issuer.as_ref().unwrap_or(base), "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"), "revocation_endpoint": format!("{base}/revoke"),
    }))
}
