//! A database of its own for every test.

use caracal_storage::{Conn, Database, DatabaseConfig};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::OnceCell;

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A migrated database that is dropped with this value.
pub(crate) struct Scratch {
    name: String,
    pub(crate) url: String,
    pub(crate) database: Database,
}

impl Scratch {
    pub(crate) async fn new() -> Self {
        let template = TEMPLATE.get_or_init(template).await;
        Self::clone_of(Some(template)).await
    }

    pub(crate) async fn empty() -> Self {
        Self::clone_of(None).await
    }

    async fn clone_of(template: Option<&str>) -> Self {
        let name = format!(
            "storage_it_{}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let template = template.unwrap_or("template0");
        let mut superuser = superuser().await;
        superuser
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .await
            .unwrap();
        let url = url_of(&name);
        let config = DatabaseConfig {
            url: url.clone(),
            max_connections: 16,
            application_name: "storage-it",
        };
        Self {
            name,
            database: Database::connect(&config).unwrap(),
            url,
        }
    }

    /// A connection of the cluster's superuser to this database.
    pub(crate) async fn owner(&self) -> Conn {
        Conn::establish(&self.url).await.unwrap()
    }

    /// A connection that may do what the role may.
    pub(crate) async fn as_role(&self, role: &str) -> Conn {
        let mut conn = self.owner().await;
        conn.batch_execute(&format!("SET SESSION AUTHORIZATION {role}"))
            .await
            .unwrap();
        conn
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async { superuser().await.batch_execute(&statement).await })
        });
        let _ = dropping.join();
    }
}

/// The migrated template, named after the migrations, so that runs share it until they change.
async fn template() -> String {
    let name = format!("storage_it_template_{:016x}", fingerprint());
    let mut superuser = superuser().await;
    // Whoever comes second waits here and then finds it made.
    superuser
        .batch_execute("SELECT pg_advisory_lock(hashtext('storage_it_template'))")
        .await
        .unwrap();
    if superuser
        .batch_execute(&format!("CREATE DATABASE {name}_making TEMPLATE template0"))
        .await
        .is_ok()
    {
        let made = format!("ALTER DATABASE {name}_making RENAME TO {name}");
        caracal_storage::migrations::run(&url_of(&format!("{name}_making")))
            .await
            .unwrap();
        if superuser.batch_execute(&made).await.is_err() {
            superuser
                .batch_execute(&format!("DROP DATABASE {name}_making WITH (FORCE)"))
                .await
                .unwrap();
        }
    }
    name
}

fn fingerprint() -> u64 {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let mut files: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("up.sql"))
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(&file).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}

async fn superuser() -> Conn {
    Conn::establish(&superuser_url())
        .await
        .expect("PostgreSQL at CARACAL_SUPERUSER_URL")
}

fn superuser_url() -> String {
    std::env::var("CARACAL_SUPERUSER_URL").expect("CARACAL_SUPERUSER_URL: run the tests by `make test`")
}

fn url_of(database: &str) -> String {
    let mut url = url::Url::parse(&superuser_url()).unwrap();
    url.set_path(database);
    url.into()
}
