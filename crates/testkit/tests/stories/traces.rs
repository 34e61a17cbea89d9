//! One trace and one request id across every hop.

use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use caracal_testkit::stack::Service;
use caracal_testkit::{Stack, World, eventually};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_callers_trace_reaches_the_upstream_and_every_log_on_the_way() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    let agent = agent
        .with("traceparent", TRACEPARENT)
        .with("X-Request-Id", "traced-1");
    let answer = agent.get("/orders").await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    let seen = world
        .upstream
        .seen()
        .pop()
        .expect("the call reached the upstream");
    let passed_on = seen.headers.get("traceparent").cloned().unwrap_or_default();
    assert!(
        passed_on.starts_with(&format!("00-{TRACE_ID}-")) && passed_on != TRACEPARENT,
        "{passed_on}"
    );
    assert_eq!(seen.request_id, "traced-1");
    for service in [Service::Gateway, Service::Sts] {
        let log = stack.process(service, 0).log();
        let lines: Vec<serde_json::Value> = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        assert_eq!(
            lines.len(),
            log.lines().count(),
            "every line of {} is JSON",
            service.name()
        );
        let traced = lines
            .iter()
            .find(|line| line["request_id"] == "traced-1")
            .expect("a line of this request");
        assert_eq!(traced["trace_id"], TRACE_ID, "{}: {traced}", service.name());
    }
}

#[tokio::test]
async fn spans_are_exported_when_there_is_a_collector() {
    let (endpoint, bodies) = collector();
    let mut builder = Stack::builder();
    for service in [Service::Sts, Service::Gateway] {
        builder = builder.env(service, "OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    }
    let mut stack = builder.start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    assert_eq!(
        agent.with("traceparent", TRACEPARENT).get("/orders").await.status,
        200
    );
    for service in [Service::Gateway, Service::Sts] {
        assert!(
            stack.terminate(service, 0).success(),
            "what is left is sent before the end"
        );
    }
    let trace: Vec<u8> = (0..16)
        .filter_map(|place| u8::from_str_radix(TRACE_ID.get(place * 2..place * 2 + 2)?, 16).ok())
        .collect();
    eventually(
        "the caller's trace, told by two services",
        Duration::from_secs(10),
        || async {
            let bodies = bodies.lock().expect("no holder panics");
            let of_trace = bodies
                .iter()
                .filter(|body| body.windows(16).any(|window| window == trace));
            let names = |name: &str| {
                of_trace
                    .clone()
                    .any(|body| body.windows(name.len()).any(|w| w == name.as_bytes()))
            };
            (names("caracal-sts") && names("caracal-gateway")).then_some(())
        },
    )
    .await;
}

type Bodies = Arc<Mutex<Vec<Vec<u8>>>>;

/// An OTLP collector that keeps what it is sent.
fn collector() -> (String, Bodies) {
    async fn take(request: HttpRequest, body: web::Bytes, bodies: Data<Bodies>) -> HttpResponse {
        if request.path() == "/v1/traces" {
            bodies.lock().expect("no holder panics").push(body.to_vec());
        }
        HttpResponse::Ok().finish()
    }
    let bodies = Bodies::default();
    let state = Data::new(Arc::clone(&bodies));
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let app = move || App::new().app_data(state.clone()).default_service(web::to(take));
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .listen(listener)
        .expect("a listener")
        .run();
    tokio::spawn(server);
    (endpoint, bodies)
}
