//! `caracal-relay`: moves committed rows from PostgreSQL to JetStream, and proves with a heartbeat that it did.

use caracal_lifecycle::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    let service = Service {
        name: "caracal-relay",
        default_port: 9091,
    };
    caracal_lifecycle::run(service, caracal_relay::Config::read, caracal_relay::serve)
}
