//! A path and its methods; every other method is 405 with `Allow`.

use crate::app::Shell;
use crate::error::ApiError;
use crate::request_id::CurrentRequestId;
use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, ResponseError, Route, web};
use caracal_domain::RequestId;
use std::fmt;

/// One path with a handler for each of its methods.
pub struct Endpoint {
    resource: Resource,
    allowed: Vec<&'static str>,
    refuse: Option<Refuse>,
}

/// How a service of its own error shape says 405; `Allow` is added to it.
pub(crate) type Refuse = fn(&RequestId) -> HttpResponse;

/// An endpoint at `path`, such as `/v1/zones/{zone_id}`; register it with `ServiceConfig::service`.
#[must_use]
pub fn endpoint(path: &str) -> Endpoint {
    Endpoint {
        resource: web::resource(path.to_owned()),
        allowed: Vec::new(),
        refuse: None,
    }
}

impl Endpoint {
    /// Answers GET, and HEAD with it (RFC 9110 §9.3.2).
    #[must_use]
    pub fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add("HEAD", web::head().to(handler.clone()))
            .add("GET", web::get().to(handler))
    }

    /// Answers POST.
    #[must_use]
    pub fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add("POST", web::post().to(handler))
    }

    /// Answers PATCH.
    #[must_use]
    pub fn patch<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add("PATCH", web::patch().to(handler))
    }

    /// Answers DELETE.
    #[must_use]
    pub fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add("DELETE", web::method(Method::DELETE).to(handler))
    }

    /// Refuses other methods in the shape that this endpoint's errors have.
    #[must_use]
    pub const fn refusing(mut self, refuse: fn(&RequestId) -> HttpResponse) -> Self {
        self.refuse = Some(refuse);
        self
    }

    fn add(mut self, method: &'static str, route: Route) -> Self {
        self.allowed.push(method);
        self.resource = self.resource.route(route);
        self
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl HttpServiceFactory for Endpoint {
    fn register(self, config: &mut AppService) {
        let mut allowed = self.allowed;
        allowed.sort_unstable();
        let allow = HeaderValue::try_from(allowed.join(", ")).unwrap_or(HeaderValue::from_static(""));
        let own = self.refuse;
        let refuse = move |id: CurrentRequestId| {
            let plain =
                || ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").error_response();
            let mut answer = own.map_or_else(plain, |own| own(&id.0));
            answer.headers_mut().insert(header::ALLOW, allow.clone());
            async move { answer }
        };
        self.resource.default_service(web::to(refuse)).register(config);
    }
}

/// `404 not_found`, for paths that nothing answers.
pub(crate) async fn unknown_route(shell: web::Data<Shell>, id: CurrentRequestId) -> HttpResponse {
    match shell.unknown_route {
        Some(own) => own(&id.0),
        None => ApiError::not_found("not_found").error_response(),
    }
}
