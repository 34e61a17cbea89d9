//! A NATS server per test.

use crate::process::Process;
use crate::{binaries, eventually, ports};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A nats-server with JetStream on a port and in a directory of its own.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    process: Process,
    _directory: TempDir,
}

impl Nats {
    /// Starts one and waits until JetStream answers; its log goes to `logs`.
    pub async fn start(logs: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = ports::free();
        let config = directory.path().join("nats.conf");
        let store = directory.path().join("store");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\", sync_interval: \"1s\" }}\n",
            store.display()
        );
        std::fs::write(&config, text).expect("the configuration can be written");
        let program = binaries::outside("nats-server", "NATS_SERVER_BIN");
        let config = config.to_str().expect("a path in UTF-8").to_owned();
        let process = Process::start("nats", &program, &["--config", &config], Vec::new(), logs);
        let nats = Self {
            port,
            process,
            _directory: directory,
        };
        nats.ready().await;
        nats
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A connection to it.
    pub async fn connect(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.expect("NATS is there")
    }

    /// Ends it at once; what it stored stays.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again over what it stored.
    pub async fn restart(&mut self) {
        self.process.restart();
        self.ready().await;
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    async fn ready(&self) {
        let url = self.url();
        eventually("NATS with JetStream", Duration::from_secs(20), || async {
            let client = async_nats::connect(&url).await.ok()?;
            async_nats::jetstream::new(client).query_account().await.ok()
        })
        .await;
    }
}
