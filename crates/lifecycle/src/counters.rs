//! Numbers that somebody else counts, read at each scrape.

use crate::probes::ProbeSet;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;

/// Name, description and value of a number that only grows.
pub type Count = (&'static str, &'static str, u64);

impl ProbeSet {
    /// Exports counters that are kept elsewhere, such as those of the bus, each under `<prefix>_<name>`.
    pub fn export(&self, prefix: &'static str, read: impl Fn() -> Vec<Count> + Send + Sync + 'static) {
        let counters = Counters {
            prefix,
            read: Box::new(read),
        };
        self.register(|registry| registry.register_collector(Box::new(counters)));
    }
}

struct Counters {
    prefix: &'static str,
    read: Box<dyn Fn() -> Vec<Count> + Send + Sync>,
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in (self.read)() {
            let counter = ConstCounter::new(value);
            let name = format!("{}_{name}", self.prefix);
            counter.encode(encoder.encode_descriptor(&name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
