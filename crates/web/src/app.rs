//! What every service's `App` is made of.

use crate::endpoint::{Refuse, unknown_route};
use crate::request_id::RequestIds;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, Error, HttpResponse};
use caracal_domain::{Clock, RequestId};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

type Answered = Arc<dyn Fn(&str, &str, u16, Duration) + Send + Sync>;

/// What the process around an application lends it.
#[derive(Clone)]
pub struct Shell {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) in_flight: Arc<AtomicUsize>,
    pub(crate) answered: Answered,
    pub(crate) unknown_route: Option<Refuse>,
}

impl Shell {
    /// A shell with a clock, a count of the requests in flight, and a function that is told each answer's method,
    /// route pattern, status and duration.
    pub fn new(
        clock: Arc<dyn Clock>,
        in_flight: Arc<AtomicUsize>,
        answered: impl Fn(&str, &str, u16, Duration) + Send + Sync + 'static,
    ) -> Self {
        Self {
            clock,
            in_flight,
            answered: Arc::new(answered),
            unknown_route: None,
        }
    }

    /// Answers paths that nothing answers in the shape that this service's errors have.
    #[must_use]
    pub const fn with_unknown_route(mut self, refuse: fn(&RequestId) -> HttpResponse) -> Self {
        self.unknown_route = Some(refuse);
        self
    }
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// An application with the conventions around it: request ids, spans, the envelope on unknown routes.
pub fn app<F: FnOnce(&mut ServiceConfig)>(
    shell: &Shell,
    configure: F,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<F>>,
        Error = Error,
        InitError = (),
    > + use<F>,
> {
    App::new()
        .app_data(Data::new(shell.clone()))
        .configure(configure)
        .default_service(web::to(unknown_route))
        .wrap(from_fn(RequestIds::handle))
}
