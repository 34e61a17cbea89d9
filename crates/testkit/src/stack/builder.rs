//! How many of each, and with which settings.

use crate::process::Process;
use crate::proxy::Proxy;
use crate::stack::{Replica, Service, Stack};
use crate::{Database, Nats, binaries, ports, settings};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

/// A stack to be.
#[derive(Debug)]
pub struct Builder {
    counts: HashMap<Service, usize>,
    database: Option<Database>,
    overrides: Vec<(Service, String, String)>,
}

impl Default for Builder {
    fn default() -> Self {
        let all = [
            Service::Api,
            Service::Relay,
            Service::Audit,
            Service::Sts,
            Service::Gateway,
        ];
        Self {
            counts: all.map(|service| (service, 1)).into(),
            database: None,
            overrides: Vec::new(),
        }
    }
}

impl Builder {
    /// So many replicas of a service; 0 leaves it out.
    #[must_use]
    pub fn replicas(mut self, service: Service, count: usize) -> Self {
        self.counts.insert(service, count);
        self
    }

    /// A setting of every replica of a service.
    #[must_use]
    pub fn env(mut self, service: Service, name: &str, value: &str) -> Self {
        self.overrides.push((service, name.to_owned(), value.to_owned()));
        self
    }

    /// On this database, instead of a fresh one.
    #[must_use]
    pub fn on(mut self, database: Database) -> Self {
        self.database = Some(database);
        self
    }

    /// Starts everything and waits until all of it is ready.
    pub async fn start(self) -> Stack {
        let stack = self.launch().await;
        stack.all_ready().await;
        stack
    }

    /// Starts everything and waits for nothing. With `CARACAL_KEEP_LOGS` set, the logs stay in the temporary folder.
    pub async fn launch(mut self) -> Stack {
        let keep = std::env::var_os("CARACAL_KEEP_LOGS").is_some();
        let logs = tempfile::Builder::new()
            .prefix("caracal-")
            .disable_cleanup(keep)
            .tempdir();
        let logs = logs.expect("a temporary directory");
        let given = self.database.take();
        let database = async {
            match given {
                Some(database) => database,
                None => Database::new().await,
            }
        };
        let (database, nats) = tokio::join!(database, Nats::start(logs.path()));
        let postgres = Proxy::to(address_of(&database).await);
        let places = self.places();
        let wiring = Wiring {
            database: &database,
            nats: &nats,
            postgres: postgres.port(),
            places: &places,
        };
        let replicas = places
            .iter()
            .map(|(service, index, port)| {
                let environment = self.environment(&wiring, *service, *port, logs.path());
                let name = format!("{}-{index}", service.name());
                let program = binaries::ours(&format!("caracal-{}", service.name()));
                let process = Process::start(&name, &program, &[], environment, logs.path());
                Replica {
                    service: *service,
                    port: *port,
                    process,
                }
            })
            .collect();
        Stack::assembled(replicas, postgres, nats, database, logs)
    }

    fn places(&self) -> Vec<(Service, usize, u16)> {
        let order = [
            Service::Api,
            Service::Relay,
            Service::Audit,
            Service::Sts,
            Service::Gateway,
        ];
        let count = |service| self.counts.get(service).copied().unwrap_or_default();
        let replicas = order
            .iter()
            .flat_map(|service| (0..count(service)).map(|index| (*service, index)));
        replicas
            .map(|(service, index)| (service, index, ports::free()))
            .collect()
    }

    fn environment(
        &self,
        wiring: &Wiring<'_>,
        service: Service,
        port: u16,
        directory: &Path,
    ) -> Vec<(String, String)> {
        let mut pairs = wiring.common(service, port);
        pairs.extend(match service {
            Service::Api => vec![
                ("ZONE_KEK", settings::ZONE_KEK.to_owned()),
                ("CARACAL_ADMIN_TOKEN", settings::ADMIN_TOKEN.to_owned()),
                (
                    "OPA_BIN",
                    binaries::outside("opa", "OPA_BIN").display().to_string(),
                ),
                ("INTERNAL_ADDRESSES", wiring.internal()),
            ],
            Service::Sts => vec![
                ("ZONE_KEK", settings::ZONE_KEK.to_owned()),
                ("GATEWAY_STS_KEY", settings::GATEWAY_STS_KEY.to_owned()),
                (
                    "POLICY_CACHE_DIR",
                    directory.join("wasm-cache").display().to_string(),
                ),
                ("INTERNAL_ADDRESSES", wiring.internal()),
            ],
            Service::Gateway => vec![
                ("GATEWAY_STS_KEY", settings::GATEWAY_STS_KEY.to_owned()),
                ("INTERNAL_ADDRESSES", wiring.internal()),
            ],
            Service::Relay | Service::Audit => Vec::new(),
        });
        let mut environment: Vec<_> = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let ours = self.overrides.iter().filter(|(of, _, _)| *of == service);
        for (_, name, value) in ours {
            if name == "HOST" && value == "0.0.0.0" {
                ports::open_everywhere(port);
            }
            environment.push((name.clone(), value.clone()));
        }
        environment
    }
}

struct Wiring<'a> {
    database: &'a Database,
    nats: &'a Nats,
    postgres: u16,
    places: &'a [(Service, usize, u16)],
}

impl Wiring<'_> {
    fn common(&self, service: Service, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", port.to_string()),
            (
                "LOG_LEVEL",
                std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".to_owned()),
            ),
            ("RUST_BACKTRACE", "1".to_owned()),
            ("CARACAL_MODE", "dev".to_owned()),
            (
                "DATABASE_URL",
                self.database.url_for(service.name(), Some(self.postgres)),
            ),
            ("NATS_URL", self.nats.url()),
            ("STREAMS_HMAC_KEY", settings::STREAMS_HMAC_KEY.to_owned()),
            ("ISSUER_URL", self.url(Service::Sts)),
            ("STS_URL", self.url(Service::Sts)),
            ("GATEWAY_PUBLIC_URL", self.url(Service::Gateway)),
            ("ALLOW_PRIVATE_UPSTREAMS", "true".to_owned()),
            ("CARACAL_LOCAL_BOOTSTRAP_ENABLED", "true".to_owned()),
        ]
    }

    /// Every listener of ours.
    fn internal(&self) -> String {
        let ports = self.places.iter().map(|(_, _, port)| format!("127.0.0.1:{port}"));
        ports.collect::<Vec<_>>().join(",")
    }

    /// The first replica of a service; a stack without one still has to name an address.
    fn url(&self, service: Service) -> String {
        let port = self
            .places
            .iter()
            .find(|(of, _, _)| *of == service)
            .map_or(1, |(_, _, port)| *port);
        format!("http://127.0.0.1:{port}")
    }
}

async fn address_of(database: &Database) -> SocketAddr {
    let url = database.superuser_url();
    let (host, port) = (
        url.host_str().expect("a host").to_owned(),
        url.port().unwrap_or(5432),
    );
    tokio::net::lookup_host((host, port))
        .await
        .expect("the host resolves")
        .next()
        .expect("it has an address")
}
