//! What is printed: the conditions, then a line for each figure with what it should be.

use crate::Options;
use crate::load::Found;
use crate::settings::Settings;
use anyhow::{Result, bail};

/// The machine, the build and the load.
pub(crate) fn conditions(stack: &Settings, options: &Options) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let build = if cfg!(debug_assertions) {
        "development"
    } else {
        "release"
    };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "Conditions: {cores} cores ({}), a {build} build {}, load average before: {};",
        model.trim_start_matches(['\t', ':', ' ']),
        env!("CARGO_PKG_VERSION"),
        load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    );
    println!(
        "services, PostgreSQL, NATS and the load share them; {} s each; the stack in {}.\n",
        options.seconds,
        stack.dir.display()
    );
    println!(
        "{:<46} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7}",
        "", "per s", "p50 ms", "p99 ms", "max ms", "CPU µs", "failed"
    );
}

/// One figure.
///
/// # Errors
/// When requests failed: a figure with failures is none.
pub(crate) fn line(what: &str, found: &Found) -> Result<()> {
    println!(
        "{what:<46} {:>8.0} {:>8.2} {:>8.2} {:>8.2} {:>9.0} {:>7}",
        found.rate(),
        found.percentile(5_000),
        found.percentile(9_900),
        found.percentile(10_000),
        found.cpu_each(),
        found.failed
    );
    if found.failed > 0 {
        bail!(
            "{} failed: {}",
            found.failed,
            found.example.as_deref().unwrap_or_default()
        );
    }
    Ok(())
}
