//! A call as it arrived, before any of it is believed.

use crate::websocket;
use actix_web::HttpRequest;
use caracal_domain::epoch::InvalidEpoch;
use caracal_domain::{Epoch, Refusal, RequestId};
use caracal_web::MinEpoch;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use std::net::IpAddr;

/// See the module.
#[derive(Debug)]
pub struct Call {
    /// Ties everything about it together.
    pub request_id: RequestId,
    /// The address it came from; a trusted proxy speaks for its callers.
    pub source: IpAddr,
    /// Its method.
    pub method: Method,
    /// Its path, untouched.
    pub raw_path: String,
    /// Its query, untouched.
    pub query: Option<String>,
    /// Its headers.
    pub headers: HeaderMap,
    /// What it says of the epoch it needs.
    pub min_epoch: Result<Option<Epoch>, InvalidEpoch>,
    /// Whether it asks to switch to a WebSocket.
    pub wants_websocket: bool,
}

impl Call {
    /// Takes what the HTTP server read.
    ///
    /// # Errors
    /// [`Refusal::MalformedRequest`] for a method or header that cannot be passed on.
    pub fn read(
        request: &HttpRequest,
        request_id: RequestId,
        min_epoch: MinEpoch,
        trusted_proxies: &[IpNet],
    ) -> Result<Self, Refusal> {
        let method = Method::from_bytes(request.method().as_str().as_bytes())
            .map_err(|_| Refusal::MalformedRequest)?;
        let mut headers = HeaderMap::with_capacity(request.headers().len());
        for (name, value) in request.headers() {
            let name =
                HeaderName::from_bytes(name.as_str().as_bytes()).map_err(|_| Refusal::MalformedRequest)?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Refusal::MalformedRequest)?;
            headers.append(name, value);
        }
        let wants_websocket = websocket::is_handshake(&method, &headers);
        Ok(Self {
            request_id,
            source: caracal_web::source_address(request, trusted_proxies),
            method,
            raw_path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            headers,
            min_epoch: min_epoch.get(),
            wants_websocket,
        })
    }

    /// The length of the body, if it was announced.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.headers
            .get(http::header::CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    /// Whether a body follows the head (RFC 9112 §6.3).
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.headers.contains_key(http::header::TRANSFER_ENCODING)
            || self.content_length().is_some_and(|length| length > 0)
    }
}
