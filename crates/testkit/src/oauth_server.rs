//! A small real authorization server (RFC 6749): it demands its client's secret, gives tokens for the codes it knows,
//! takes them back, and can be told to misbehave.

use crate::local_server::LocalServer;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::BTreeMap;
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
    asked: Vec<Asked>,
    manner: Manner,
    tokens: u32,
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

    /// From now on its discovery document says that it is somebody else's.
    pub fn pretend(&self, issuer: &str) {
        self.state.lock().expect("no holder panics").issuer = Some(issuer.to_owned());
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
        Manner::Good => {}
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
        Some("refresh_token") => form
            .get("refresh_token")
            .is_some_and(|token| token.starts_with("refresh-")),
        Some("client_credentials") => true,
        _ => return HttpResponse::BadRequest().json(json!({"error": "unsupported_grant_type"})),
    };
    if !fits {
        return HttpResponse::BadRequest().json(json!({"error": "invalid_grant"}));
    }
    let number = {
        let mut state = state.lock().expect("no holder panics");
        state.tokens += 1;
        state.tokens
    };
    HttpResponse::Ok().json(json!({
        "access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"),
        "token_type": "Bearer", "expires_in": 3600,
    }))
}

async fn revoke(
    request: HttpRequest,
    form: web::Form<BTreeMap<String, String>>,
    state: Data<Shared>,
) -> HttpResponse {
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
