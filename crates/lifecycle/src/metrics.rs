//! The metrics every process has: its memory and CPU time, and what its HTTP server answered.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::time::Duration;

/// Seconds; from a loopback call to the longest poll.
const BUCKETS: [f64; 11] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// What an HTTP server answered, and how fast.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    answers: Family<Answer, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
}

impl HttpMetrics {
    /// Counts one answer. `route` is the pattern, never the path, so that callers cannot invent label values.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let method = if matches!(
            method,
            "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS"
        ) {
            method
        } else {
            "other"
        };
        let answer = Answer {
            method: method.to_owned(),
            route: route.to_owned(),
            status,
        };
        self.answers.get_or_create(&answer).inc();
        self.durations
            .get_or_create(&Route {
                route: route.to_owned(),
            })
            .observe(took.as_secs_f64());
    }
}

pub(crate) fn register(registry: &mut Registry) -> HttpMetrics {
    let http = HttpMetrics {
        answers: Family::default(),
        durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
    };
    registry.register("http_requests", "Answers given", http.answers.clone());
    registry.register_with_unit(
        "http_request_duration",
        "Time to the head of the answer",
        Unit::Seconds,
        http.durations.clone(),
    );
    registry.register_collector(Box::new(Process));
    http
}

/// `OpenMetrics` text as the older Prometheus text format has it: counters are named with their `_total`, and nothing
/// marks the end.
pub(crate) fn as_prometheus_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let counters: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    for line in text
        .lines()
        .filter(|line| *line != "# EOF" && !line.starts_with("# UNIT "))
    {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(&name) => {
                out.extend(["# ", kind, " ", name, "_total ", rest, "\n"]);
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Reads `/proc/self` at each scrape.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::new(bytes);
            let help = "Resident memory";
            gauge.encode(encoder.encode_descriptor(
                "process_resident_memory",
                help,
                Some(&Unit::Bytes),
                gauge.metric_type(),
            )?)?;
        }
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let help = "User and system CPU time";
            counter.encode(encoder.encode_descriptor(
                "process_cpu",
                help,
                Some(&Unit::Seconds),
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_seconds() -> Option<f64> {
    /// Linux counts in hundredths on every architecture we run on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_format_names_counters_in_full_and_has_no_end_mark() {
        let mut registry = Registry::default();
        let http = register(&mut registry);
        http.answered("GET", "/ready", 200, Duration::from_millis(1));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let plain = as_prometheus_text(&text);
        assert!(plain.contains("# TYPE http_requests_total counter\n"), "{plain}");
        assert!(
            plain.contains("http_requests_total{method=\"GET\",route=\"/ready\",status=\"200\"} 1\n"),
            "{plain}"
        );
        assert!(plain.contains("process_resident_memory_bytes "), "{plain}");
        assert!(plain.contains("process_cpu_seconds_total "), "{plain}");
        assert!(!plain.contains("# EOF"));
    }
}
