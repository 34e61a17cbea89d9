//! An HTTP server on loopback: what the small real servers beside it have in common.

use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use std::net::{Ipv4Addr, TcpListener};

/// It answers from when it is made, on a port of its own, and ends with the test.
#[derive(Debug)]
pub(crate) struct LocalServer {
    port: u16,
    handle: actix_web::dev::ServerHandle,
}

impl LocalServer {
    /// Starts one on the current run time.
    pub(crate) fn start(routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener
            .local_addr()
            .expect("a bound listener has an address")
            .port();
        let server = HttpServer::new(move || App::new().configure(&routes))
            .workers(1)
            .disable_signals()
            .listen(listener)
            .expect("a bound listener can be served")
            .run();
        let handle = server.handle();
        tokio::spawn(async move {
            // It ends when the test does.
            let _ = server.await;
        });
        Self { port, handle }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        // Not awaited: nothing is lost when it ends with the run time.
        drop(self.handle.stop(false));
    }
}
