//! Callers over HTTP, as strangers would make them.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::sync::Once;
use std::time::{Duration, Instant};

/// An HTTP client that keeps to itself: no proxies, no redirects.
#[must_use]
pub fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // A test binary may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client can be built")
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON, or null.
    pub body: Value,
    /// The body as text.
    pub text: String,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// The body, if the status is the one expected; otherwise the test fails and shows the whole answer.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "unexpected answer: {}", self.text);
        self.body
    }

    /// A header as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// A member of the body as text; empty when it is missing.
    #[must_use]
    pub fn member(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The epoch that a write gave its zone.
    #[must_use]
    pub fn epoch(&self) -> String {
        self.header("Caracal-Zone-Epoch").to_owned()
    }
}

/// A caller of one service.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// A caller of what lies below `base`.
    #[must_use]
    pub const fn new(http: reqwest::Client, base: String) -> Self {
        Self {
            http,
            base,
            headers: Vec::new(),
        }
    }

    /// The same caller with a header on each request.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same caller with a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.must(Method::GET, path, |request| request).await
    }

    /// GET that may find nobody.
    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        self.send(Method::GET, path, |request| request).await.ok()
    }

    /// POST of a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.must(Method::POST, path, |request| request.json(body)).await
    }

    /// PATCH of a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.must(Method::PATCH, path, |request| request.json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.must(Method::DELETE, path, |request| request).await
    }

    /// POST of a form.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.must(Method::POST, path, |request| request.form(fields))
            .await
    }

    /// POST of a form that may find nobody.
    pub async fn try_form(&self, path: &str, fields: &[(&str, &str)]) -> Option<Answer> {
        self.send(Method::POST, path, |request| request.form(fields))
            .await
            .ok()
    }

    /// Any request, with whatever `fill` adds.
    ///
    /// # Errors
    /// Nobody answered, or the connection broke.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Answer, reqwest::Error> {
        let started = Instant::now();
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = self
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value));
        let response = fill(request).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            headers,
            body,
            text,
            took: started.elapsed(),
        })
    }

    async fn must(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Answer {
        let what = format!("{method} {}{path}", self.base);
        self.send(method, path, fill)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }
}
