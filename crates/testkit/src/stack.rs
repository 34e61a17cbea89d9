//! All of Caracal, for one test.

pub mod builder;
mod strangers;

use crate::callers::{Client, client};
use crate::process::Process;
use crate::proxy::Proxy;
use crate::{Database, Nats};
use builder::Builder;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a service may take to be ready on a busy machine.
pub(crate) const READY: Duration = Duration::from_secs(40);

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// The control plane.
    Api,
    /// Outbox and spool to JetStream.
    Relay,
    /// The ledger.
    Audit,
    /// The decision point.
    Sts,
    /// The enforcement point.
    Gateway,
}

impl Service {
    /// Its name, as in `caracal-<name>`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Relay => "relay",
            Self::Audit => "audit",
            Self::Sts => "sts",
            Self::Gateway => "gateway",
        }
    }
}

/// A running replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) service: Service,
    pub(crate) port: u16,
    pub(crate) process: Process,
}

/// A private stack. Everything it started ends with it; when the test fails, it prints the last lines of every log.
#[derive(Debug)]
pub struct Stack {
    // The order matters: processes end before what they use.
    replicas: Vec<Replica>,
    postgres: Proxy,
    nats: Nats,
    database: Database,
    http: reqwest::Client,
    logs: TempDir,
}

impl Stack {
    /// One of everything.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A stack with other counts or settings.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its database.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Its NATS server.
    pub const fn nats(&mut self) -> &mut Nats {
        &mut self.nats
    }

    /// What the services reach PostgreSQL through.
    #[must_use]
    pub const fn postgres(&self) -> &Proxy {
        &self.postgres
    }

    /// A caller with the global admin token.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.anonymous(Service::Api, 0)
            .bearer(crate::settings::ADMIN_TOKEN)
    }

    /// A caller of an STS.
    #[must_use]
    pub fn sts(&self, index: usize) -> Client {
        self.anonymous(Service::Sts, index)
    }

    /// A caller of a gateway.
    #[must_use]
    pub fn gateway(&self, index: usize) -> Client {
        self.anonymous(Service::Gateway, index)
    }

    /// A caller of a service who shows nothing.
    #[must_use]
    pub fn anonymous(&self, service: Service, index: usize) -> Client {
        Client::new(self.http.clone(), self.url(service, index))
    }

    /// Where a replica is.
    #[must_use]
    pub fn url(&self, service: Service, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.replica(service, index).port)
    }

    /// The process of a replica.
    pub fn process(&mut self, service: Service, index: usize) -> &mut Process {
        let place = self.place(service, index);
        &mut self
            .replicas
            .get_mut(place)
            .expect("a place that was found")
            .process
    }

    /// Ends a replica at once (SIGKILL).
    pub fn kill9(&mut self, service: Service, index: usize) {
        self.process(service, index).kill9();
    }

    /// Asks a replica to drain and waits until it has.
    pub fn terminate(&mut self, service: Service, index: usize) -> ExitStatus {
        self.process(service, index).terminate(Duration::from_secs(40))
    }

    /// Freezes a replica (SIGSTOP).
    pub fn freeze(&mut self, service: Service, index: usize) {
        self.process(service, index).signal("STOP");
    }

    /// Lets a frozen replica go on (SIGCONT).
    pub fn thaw(&mut self, service: Service, index: usize) {
        self.process(service, index).signal("CONT");
    }

    /// Starts a replica again and waits until it is ready.
    pub async fn restart(&mut self, service: Service, index: usize) {
        self.process(service, index).restart();
        self.ready(service, index).await;
    }

    /// Starts a replica again with its clock this far ahead, and waits until it is ready: for what happens after
    /// minutes.
    pub async fn restart_later(&mut self, service: Service, index: usize, ahead: Duration) {
        let ahead = ahead.as_millis().to_string();
        self.process(service, index).set("CLOCK_OFFSET_MS", &ahead);
        self.restart(service, index).await;
    }

    /// Waits until a replica says that it is ready.
    pub async fn ready(&self, service: Service, index: usize) {
        let caller = self.anonymous(service, index);
        let (process, name) = (&self.replica(service, index).process, service.name());
        let started = Instant::now();
        loop {
            let said = match caller.try_get("/ready").await {
                Some(answer) if answer.status == 200 => return,
                Some(answer) => answer.text,
                None => "nothing".to_owned(),
            };
            assert!(
                !process.has_ended(),
                "{name} {index} ended by itself instead of being ready"
            );
            assert!(
                started.elapsed() < READY,
                "after {READY:?} {name} {index} is still not ready; /ready says: {said}"
            );
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until every replica is ready.
    pub async fn all_ready(&self) {
        let mut counts = std::collections::HashMap::new();
        for replica in &self.replicas {
            let index = counts.entry(replica.service).or_insert(0_usize);
            self.ready(replica.service, *index).await;
            *index += 1;
        }
    }

    /// The resident memory of all services together, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.replicas
            .iter()
            .map(|replica| replica.process.resident_bytes())
            .sum()
    }

    /// Where the logs are.
    #[must_use]
    pub fn logs(&self) -> &Path {
        self.logs.path()
    }

    fn replica(&self, service: Service, index: usize) -> &Replica {
        self.replicas
            .get(self.place(service, index))
            .expect("a place that was found")
    }

    fn place(&self, service: Service, index: usize) -> usize {
        let mut places = self
            .replicas
            .iter()
            .enumerate()
            .filter(|(_, replica)| replica.service == service);
        let found = places.nth(index).map(|(place, _)| place);
        found.unwrap_or_else(|| panic!("there is no {} number {index}", service.name()))
    }

    pub(crate) fn assembled(
        replicas: Vec<Replica>,
        postgres: Proxy,
        nats: Nats,
        database: Database,
        logs: TempDir,
    ) -> Self {
        Self {
            replicas,
            postgres,
            nats,
            database,
            http: client(),
            logs,
        }
    }
}
