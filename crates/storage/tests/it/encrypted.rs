//! `sslmode` and `sslrootcert`, against a PostgreSQL of its own that speaks TLS, and one that does not.

use crate::scratch::Scratch;
use caracal_storage::{Conn, Database, DatabaseConfig, Error, audit, migrations};
use diesel::QueryableByName;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use futures::StreamExt;
use rcgen::{CertificateParams, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use url::Url;

/// What a certificate says the server is called.
const NAME: &str = "localhost";

/// A cluster of this test's alone; its certificate is for [`NAME`] and its own root.
struct Cluster {
    folder: TempDir,
    superuser: Url,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            superuser: "postgres://not-known-yet".parse().unwrap(),
            folder,
        };
        cluster.stack(&["infra-up", "fast"]);
        let said = std::fs::read_to_string(cluster.folder.path().join("stack/test.env")).unwrap();
        let url = said
            .lines()
            .find_map(|line| line.strip_prefix("CARACAL_SUPERUSER_URL="));
        cluster.superuser = url.unwrap().parse().unwrap();
        let (certificate, key) = certificate();
        std::fs::write(cluster.root(), &certificate).unwrap();
        cluster.speak_tls(&certificate, &key).await;
        cluster
    }

    fn stack(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/dev/stack.sh");
        let status = Command::new(script)
            .args(arguments)
            .env("CARACAL_DIR", self.folder.path().join("stack"))
            .env("PORT_BASE", "auto")
            .env("CLEAN", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "stack.sh {arguments:?}");
    }

    /// The server writes the two files itself: it may run as another user, and its key must be its own.
    async fn speak_tls(&self, certificate: &str, key: &str) {
        let mut server = Conn::establish(self.superuser.as_str()).await.unwrap();
        for (file, text) in [("tls.crt", certificate), ("tls.key", key)] {
            let write = format!(
                "COPY (SELECT unnest(string_to_array('{text}', E'\\n'))) TO PROGRAM 'umask 077; cat > {file}'"
            );
            server.batch_execute(&write).await.unwrap();
        }
        for setting in [
            "ssl_cert_file = 'tls.crt'",
            "ssl_key_file = 'tls.key'",
            "ssl = on",
        ] {
            let set = format!("ALTER SYSTEM SET {setting}");
            server.batch_execute(&set).await.unwrap();
        }
        server.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        drop(server);
        let mut speaks = false;
        for _ in 0..100 {
            speaks = matches!(self.encrypted("sslmode=require", NAME).await, Ok(true));
            if speaks {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(speaks, "PostgreSQL does not speak TLS");
    }

    /// The file that holds the right root.
    fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    fn url(&self, parameters: &str, host: &str) -> String {
        let mut url = self.superuser.clone();
        url.set_host(Some(host)).unwrap();
        url.set_query(Some(parameters));
        url.into()
    }

    /// Whether a connection made so is encrypted.
    async fn encrypted(&self, parameters: &str, host: &str) -> Result<bool, Error> {
        is_encrypted(self.url(parameters, host)).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stack(&["down"]);
    }
}

/// A certificate for [`NAME`] that vouches for itself, and its key.
fn certificate() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([NAME.to_owned()]).unwrap();
    parameters.is_ca = IsCa::ExplicitNoCa;
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[derive(QueryableByName)]
struct Ssl {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    ssl: bool,
}

async fn is_encrypted(url: String) -> Result<bool, Error> {
    let database = Database::connect(&DatabaseConfig {
        url,
        max_connections: 1,
        application_name: "storage-it",
    })?;
    let mut conn = database.acquire().await?;
    let asked = diesel::sql_query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    let answer: Ssl = asked.get_result(&mut *conn).await?;
    Ok(answer.ssl)
}

fn is_refused(outcome: &Result<bool, Error>) -> bool {
    matches!(outcome, Err(Error::Unavailable(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_as_far_as_sslmode_says() {
    let cluster = Cluster::start().await;
    let wrong = cluster.folder.path().join("wrong.pem");
    std::fs::write(&wrong, certificate().0).unwrap();
    let (right, wrong) = (cluster.root().display().to_string(), wrong.display().to_string());

    for (mode, root, host, encrypted) in [
        ("disable", None, NAME, Some(false)),
        ("prefer", None, NAME, Some(true)),
        ("require", None, NAME, Some(true)),
        ("require", None, "127.0.0.1", Some(true)),
        ("require", Some(&right), "127.0.0.1", Some(true)),
        ("require", Some(&wrong), NAME, None),
        ("verify-ca", Some(&right), "127.0.0.1", Some(true)),
        ("verify-ca", Some(&wrong), NAME, None),
        ("verify-full", Some(&right), NAME, Some(true)),
        ("verify-full", Some(&right), "127.0.0.1", None),
        ("verify-full", Some(&wrong), NAME, None),
    ] {
        let root = root
            .map(|file| format!("&sslrootcert={file}"))
            .unwrap_or_default();
        let outcome = cluster.encrypted(&format!("sslmode={mode}{root}"), host).await;
        match encrypted {
            Some(encrypted) => assert_eq!(outcome.unwrap(), encrypted, "{mode}{root} {host}"),
            None => assert!(is_refused(&outcome), "{mode}{root} {host}: {outcome:?}"),
        }
    }

    let trusted = cluster.url(&format!("sslmode=verify-full&sslrootcert={right}"), NAME);
    let mistaken = cluster.url(&format!("sslmode=verify-full&sslrootcert={wrong}"), NAME);
    assert!(matches!(
        migrations::run(&mistaken).await,
        Err(Error::Unavailable(_))
    ));
    assert!(!migrations::run(&trusted).await.unwrap().is_empty());
    listening_is_encrypted(&cluster, &trusted, &mistaken).await;
}

async fn listening_is_encrypted(cluster: &Cluster, trusted: &str, mistaken: &str) {
    let mut server = Conn::establish(cluster.superuser.as_str()).await.unwrap();
    let zone = "0198c0de-0000-7000-8000-000000000000";
    let mut heard = pin!(audit::listen(trusted));
    assert_eq!(heard.next().await, Some(None), "connected");
    let listening = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE application_name = 'caracal-listen'";
    let listening: Vec<Ssl> = diesel::sql_query(listening).load(&mut server).await.unwrap();
    assert!(matches!(listening.as_slice(), [Ssl { ssl: true }]));
    let notify = format!("NOTIFY caracal_ledger, '{zone}'");
    server.batch_execute(&notify).await.unwrap();
    assert_eq!(heard.next().await, Some(Some(zone.parse().unwrap())));

    let mut deaf = pin!(audit::listen(mistaken));
    let waited = tokio::time::timeout(Duration::from_secs(2), deaf.next()).await;
    assert!(
        waited.is_err(),
        "listened to a server nobody vouches for: {waited:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let scratch = Scratch::new().await;
    for (mode, encrypted) in [
        ("disable", Some(false)),
        ("prefer", Some(false)),
        ("require", None),
        ("verify-ca", None),
        ("verify-full", None),
    ] {
        let mut url: Url = scratch.url.parse().unwrap();
        url.set_query(Some(&format!("sslmode={mode}")));
        let outcome = is_encrypted(url.into()).await;
        match encrypted {
            Some(encrypted) => assert_eq!(outcome.unwrap(), encrypted, "{mode}"),
            None => assert!(is_refused(&outcome), "{mode}: {outcome:?}"),
        }
    }
}
