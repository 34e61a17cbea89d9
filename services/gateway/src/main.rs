//! `caracal-gateway`: the reverse proxy that enforces mandates and holds the upstreams' credentials.

use caracal_lifecycle::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    let service = Service {
        name: "caracal-gateway",
        default_port: 8081,
    };
    caracal_lifecycle::run(service, caracal_gateway::Config::read, caracal_gateway::serve)
}
