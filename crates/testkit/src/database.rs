//! A PostgreSQL database per test, cloned from one migrated template.

use crate::{binaries, settings};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};
use url::Url;
use uuid::Uuid;

/// Where the superuser connects; `make test` sets it.
const SUPERUSER_URL: &str = "CARACAL_SUPERUSER_URL";
/// Held while the template is made, so that test binaries that run side by side make it once.
const TEMPLATE_LOCK: i64 = 0x0CA2_ACA1;

/// How long making or dropping a database may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// A database of one test; dropped with it.
#[derive(Debug)]
pub struct Database {
    name: String,
    superuser: Url,
}

impl Database {
    /// A fresh database with the whole schema and nothing in it.
    pub async fn new() -> Self {
        let superuser = superuser_url();
        let template = TEMPLATE.get_or_init(|| template(&superuser)).await.clone();
        Self::cloned(superuser, &template).await
    }

    /// A database like that on another server.
    pub async fn on(superuser: Url) -> Self {
        let template = template(&superuser).await;
        Self::cloned(superuser, &template).await
    }

    async fn cloned(superuser: Url, template: &str) -> Self {
        let name = format!("t_{}", Uuid::now_v7().simple());
        let server = connect(&superuser).await;
        let clone = format!("CREATE DATABASE {name} TEMPLATE {template}");
        execute(&server, &clone)
            .await
            .expect("the template can be cloned");
        Self { name, superuser }
    }

    /// The URL of this database for one of the services' roles (`api`, `sts`, …), by way of `port` if given.
    #[must_use]
    pub fn url_for(&self, service: &str, port: Option<u16>) -> String {
        let mut url = self.superuser_url();
        let host = port.map_or_else(
            || url.host_str().unwrap_or("127.0.0.1").to_owned(),
            |_| "127.0.0.1".to_owned(),
        );
        url.set_host(Some(&host)).expect("a host");
        url.set_port(port.or(url.port())).expect("a port");
        url.set_username(&format!("caracal_{service}")).expect("a user");
        url.set_password(Some(&settings::role_password(service)))
            .expect("a password");
        url.into()
    }

    /// The URL of this database for the superuser.
    #[must_use]
    pub fn superuser_url(&self) -> Url {
        let mut url = self.superuser.clone();
        url.set_path(&self.name);
        url
    }

    /// A connection of the superuser to this database, to look where no service may.
    pub async fn connect(&self) -> Client {
        connect(&self.superuser_url()).await
    }

    /// The first column of the first row of a query that yields one number.
    pub async fn count(&self, query: &str) -> i64 {
        self.connect()
            .await
            .query_one(query, &[])
            .await
            .expect("the query runs")
            .get(0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (name, superuser) = (self.name.clone(), self.superuser.clone());
        // Its own thread and run time: a destructor cannot wait, and the test's run time may be gone.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a run time");
            runtime.block_on(async {
                let server = connect(&superuser).await;
                execute(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
            })
        });
        // A database that stays behind is swept when the next template is made.
        let _ = dropped.join();
    }
}

/// Executes a statement that should take a moment, and fails the test when it takes for ever.
async fn execute(server: &Client, statement: &str) -> Result<(), tokio_postgres::Error> {
    let executed = tokio::time::timeout(PATIENCE, server.batch_execute(statement)).await;
    executed.unwrap_or_else(|_| panic!("after {PATIENCE:?} PostgreSQL still has not done: {statement}"))
}

fn superuser_url() -> Url {
    let text = std::env::var(SUPERUSER_URL).unwrap_or_else(|_| {
        panic!("{SUPERUSER_URL} is not set: run `make test`, or point it at a PostgreSQL 15 or newer")
    });
    text.parse().expect("CARACAL_SUPERUSER_URL is a URL")
}

async fn connect(url: &Url) -> Client {
    let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL is not there ({SUPERUSER_URL}): {error}"));
    tokio::spawn(async move {
        // A broken connection shows in the query that used it.
        let _ = connection.await;
    });
    client
}

/// Makes the template unless one of this very schema is there, and answers its name.
async fn template(superuser: &Url) -> String {
    let name = format!(
        "caracal_template_{:016x}",
        fingerprint(&binaries::root().join("migrations"))
    );
    let server = connect(superuser).await;
    server
        .execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK])
        .await
        .expect("the lock can be had");
    let ready = "SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate";
    if server
        .query_opt(ready, &[&name])
        .await
        .expect("the catalogue can be read")
        .is_none()
    {
        sweep(&server).await;
        server
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .expect("no half template");
        server
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a database can be made");
        let mut url = superuser.clone();
        url.set_path(&name);
        migrate(&url).await;
        let mark = format!("ALTER DATABASE {name} IS_TEMPLATE true");
        server
            .batch_execute(&mark)
            .await
            .expect("a database can be a template");
    }
    server
        .execute("SELECT pg_advisory_unlock($1)", &[&TEMPLATE_LOCK])
        .await
        .expect("the lock can be given back");
    name
}

/// Drops old templates, and what killed tests left behind more than an hour ago (their names tell the time).
async fn sweep(server: &Client) {
    let query = "SELECT datname, datistemplate FROM pg_database WHERE datname ~ '^(caracal_template_|t_)'";
    let hour_ago = Uuid::now_v7().as_u128() >> 80;
    let hour_ago = hour_ago.saturating_sub(3_600_000);
    for row in server.query(query, &[]).await.expect("the catalogue can be read") {
        let (name, template): (String, bool) = (row.get(0), row.get(1));
        let born = name
            .strip_prefix("t_")
            .and_then(|hex| Uuid::try_parse(hex).ok())
            .map(|id| id.as_u128() >> 80);
        if born.is_some_and(|born| born > hour_ago) {
            continue;
        }
        if template {
            let unmark = format!("ALTER DATABASE {name} IS_TEMPLATE false");
            server
                .batch_execute(&unmark)
                .await
                .expect("a template can be unmarked");
        }
        // Somebody may be using it after all; it will go another time.
        let _ = server
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))
            .await;
    }
}

async fn migrate(url: &Url) {
    let output = tokio::process::Command::new(binaries::ours("caracal-migrate"))
        .env("DATABASE_URL", url.as_str())
        .env("CARACAL_ROLE_PASSWORDS", settings::role_passwords())
        .output()
        .await
        .expect("caracal-migrate starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "caracal-migrate failed: {said}");
}

/// A number that changes with any file of the migrations.
fn fingerprint(folder: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("migrations can be read")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    for file in files {
        file.hash(&mut hasher);
        std::fs::read(&file)
            .expect("migrations can be read")
            .hash(&mut hasher);
    }
    settings::role_passwords().hash(&mut hasher);
    hasher.finish()
}
