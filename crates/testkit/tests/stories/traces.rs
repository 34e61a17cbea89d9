//! One trace and one request id across every hop.

use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use caracal_testkit::stack::Service;
use caracal_testkit::upstream::Seen;
use caracal_testkit::{Stack, World, eventually};
use serde_json::json;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The trace of a governed call.
const CALL: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
/// The trace of a change at the control plane.
const CHANGE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

#[tokio::test]
async fn a_callers_trace_reaches_the_upstream_and_every_log_on_the_way() {
    let mut stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read");
    let agent = agent
        .with("traceparent", &traceparent(CALL))
        .with("X-Request-Id", "traced-1");
    let answer = agent.get("/orders").await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    let seen = world
        .upstream
        .seen()
        .pop()
        .expect("the call reached the upstream");
    assert_passed_on(&seen);
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
        assert_eq!(
            traced["trace_id"],
            format!("{CALL:032x}"),
            "{}: {traced}",
            service.name()
        );
    }
}

#[tokio::test]
async fn a_collector_hears_of_every_hop() {
    let collector = Collector::start();
    let everyone = [
        Service::Api,
        Service::Relay,
        Service::Audit,
        Service::Sts,
        Service::Gateway,
    ];
    let mut builder = Stack::builder();
    for service in everyone {
        // The gateway would send in an hour: what it has must be sent before it ends.
        let delay = if service == Service::Gateway {
            "3600000"
        } else {
            "100"
        };
        builder = builder
            .env(service, "OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)
            .env(service, "OTEL_BSP_SCHEDULE_DELAY", delay);
    }
    let mut stack = builder.start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;

    let agent = world
        .through(stack.gateway(0), &session)
        .with("X-Caracal-Scope", "orders:read")
        .with("traceparent", &traceparent(CALL));
    assert_eq!(agent.get("/orders").await.status, 200);
    assert_passed_on(
        &world
            .upstream
            .seen()
            .pop()
            .expect("the call reached the upstream"),
    );
    // Over HTTP to the STS, and in the header of the decision's message to the ledger.
    collector.hears(CALL, Service::Sts).await;
    collector.hears(CALL, Service::Audit).await;

    let admin = stack.admin().with("traceparent", &traceparent(CHANGE));
    let body = json!({
        "identifier": "resource://ledger", "scopes": ["ledger:read"], "upstream_url": world.upstream.url(),
    });
    let changed = admin.post(&world.path("resources"), &body).await;
    assert_eq!(changed.status, 201, "{}", changed.text);
    // Through the outbox, and from there as the feed's message to the STS and the deed's to the ledger.
    for service in [Service::Api, Service::Relay, Service::Sts, Service::Audit] {
        collector.hears(CHANGE, service).await;
    }

    assert!(stack.terminate(Service::Gateway, 0).success());
    collector.hears(CALL, Service::Gateway).await;
}

fn traceparent(trace: u128) -> String {
    format!("00-{trace:032x}-00f067aa0ba902b7-01")
}

/// The upstream saw the call's trace, and a span of ours in place of the caller's.
#[track_caller]
fn assert_passed_on(seen: &Seen) {
    let passed_on = seen.headers.get("traceparent").cloned().unwrap_or_default();
    assert!(
        passed_on.starts_with(&format!("00-{CALL:032x}-")) && passed_on != traceparent(CALL),
        "{passed_on}"
    );
}

/// An OTLP collector that keeps what it is sent.
struct Collector {
    endpoint: String,
    exports: Exports,
}

type Exports = Arc<Mutex<Vec<Vec<u8>>>>;

impl Collector {
    fn start() -> Self {
        async fn take(request: HttpRequest, body: web::Bytes, exports: Data<Exports>) -> HttpResponse {
            if request.path() == "/v1/traces" {
                exports.lock().expect("no holder panics").push(body.to_vec());
            }
            HttpResponse::Ok().finish()
        }
        let exports = Exports::default();
        let state = Data::new(Arc::clone(&exports));
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
        Self { endpoint, exports }
    }

    /// Waits until this service has told of this trace. An export has one resource, the service that sends it.
    async fn hears(&self, trace: u128, service: Service) {
        let (trace_id, resource) = (trace.to_be_bytes(), resource_of(service));
        let what = format!("trace {trace:032x} told by {}", service.name());
        eventually(&what, Duration::from_secs(10), || async {
            let exports = self.exports.lock().expect("no holder panics");
            let told = exports
                .iter()
                .any(|export| contains(export, &resource) && contains(export, &trace_id));
            told.then_some(())
        })
        .await;
    }
}

/// The attribute `service.name` of a resource as protobuf, a `KeyValue` with a string: no other text can be taken for it.
fn resource_of(service: Service) -> Vec<u8> {
    let name = format!("caracal-{}", service.name());
    let length = u8::try_from(name.len()).expect("a short name");
    let value = [&[0x12, length + 2, 0x0a, length], name.as_bytes()].concat();
    [b"service.name".as_slice(), &value].concat()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
