//! `caracal-sts`: the security token service, Caracal's one decision point.

use caracal_lifecycle::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    let service = Service {
        name: "caracal-sts",
        default_port: 8080,
    };
    caracal_lifecycle::run(service, caracal_sts::Config::read, caracal_sts::serve)
}
