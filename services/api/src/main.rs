//! `caracal-api`: the control plane, the only writer of configuration.

use caracal_lifecycle::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    let service = Service {
        name: "caracal-api",
        default_port: 3000,
    };
    caracal_lifecycle::run(service, caracal_api::Config::read, caracal_api::serve)
}
