//! `caracal-audit`: takes decision events from JetStream into the tamper-evident ledger.

use caracal_lifecycle::Service;
use std::process::ExitCode;

fn main() -> ExitCode {
    let service = Service {
        name: "caracal-audit",
        default_port: 9090,
    };
    caracal_lifecycle::run(service, caracal_audit::Config::read, caracal_audit::serve)
}
