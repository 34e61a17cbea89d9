//! The public interfaces, as an administrator and an agent call them.

use crate::settings::Settings;
use anyhow::{Context, Result, bail};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use std::time::Duration;

/// A client that keeps to itself: no proxies, no redirects.
pub(crate) fn client() -> Result<Client> {
    // A second installation is refused, and harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .build()?)
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, or null when it is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// A member of the body as text; empty when it is missing.
    pub(crate) fn member(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A header as text; empty when it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The same answer, if its status is the one expected.
    pub(crate) fn expect(self, status: u16, what: &str) -> Result<Self> {
        if self.status != status {
            bail!("{what}: {} instead of {status}: {}", self.status, self.body);
        }
        Ok(self)
    }
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await?;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// An administrator.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    http: Client,
    api: String,
    token: String,
}

impl Admin {
    /// Someone who holds the global admin token.
    pub(crate) fn new(http: &Client, settings: &Settings) -> Self {
        Self {
            http: http.clone(),
            api: settings.api.clone(),
            token: settings.admin_token.clone(),
        }
    }

    /// A request to the control plane.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let request = self
            .http
            .request(method, format!("{}{path}", self.api))
            .bearer_auth(&self.token);
        send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
        .context("the control plane does not answer")
    }

    /// POST that must succeed with `status`.
    pub(crate) async fn post(&self, path: &str, body: &Value, status: u16) -> Result<Answer> {
        self.call(Method::POST, path, Some(body))
            .await?
            .expect(status, &format!("POST {path}"))
    }
}

/// An agent: it has its own application's credential, and no other.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    http: Client,
    sts: String,
    gateway: String,
    zone_id: String,
    application_id: String,
    client_secret: String,
    resource: String,
}

impl Agent {
    /// An agent of an application.
    pub(crate) fn new(http: &Client, settings: &Settings, ids: [&str; 4]) -> Self {
        let [zone_id, application_id, client_secret, resource] = ids.map(str::to_owned);
        let (sts, gateway) = (settings.sts.clone(), settings.gateway.clone());
        Self {
            http: http.clone(),
            sts,
            gateway,
            zone_id,
            application_id,
            client_secret,
            resource,
        }
    }

    /// Asks the STS for a session token.
    pub(crate) async fn session(&self) -> Result<Answer> {
        send(self.token(&[])).await
    }

    /// Asks the STS for a mandate with `scope`.
    pub(crate) async fn mandate(&self, session: &str, scope: &str, request_id: &str) -> Result<Answer> {
        let subject = [
            ("subject_token", session),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("resource", &self.resource),
            ("scope", scope),
        ];
        send(self.token(&subject).header("X-Request-Id", request_id)).await
    }

    /// A call through the gateway with a token of either kind; a session token names its scope beside it.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        token: &str,
        scope: Option<&str>,
    ) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.gateway))
            .bearer_auth(token);
        let request = request.header("X-Caracal-Resource", &self.resource);
        match scope {
            Some(scope) => request.header("X-Caracal-Scope", scope),
            None => request,
        }
    }

    fn token(&self, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("zone_id", self.zone_id.as_str()),
            ("application_id", self.application_id.as_str()),
            ("client_secret", self.client_secret.as_str()),
        ];
        form.extend_from_slice(fields);
        self.http.post(format!("{}/oauth/2/token", self.sts)).form(&form)
    }
}
