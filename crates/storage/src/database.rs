//! Connections: a bounded pool that notices a stopped PostgreSQL, and the transaction a use-case opens.

use crate::error::{Error, Result};
use crate::target::{CHECK, Target};
use caracal_domain::Timestamp;
use diesel::ConnectionError;
use diesel_async::pooled_connection::deadpool::{Hook, HookError, Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, TransactionManager};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// What every query runs on.
pub type Conn = AsyncPgConnection;

/// How long a caller waits for a usable connection.
const ACQUIRE: Duration = Duration::from_secs(2);
/// A connection that was last taken longer ago than this is asked whether it still answers before it is taken again.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// Where the database is and how much of it we take.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// `postgres://role:password@host:port/database`, with `sslmode` and `sslrootcert` as libpq has them.
    pub url: String,
    /// The most connections this process holds.
    pub max_connections: usize,
    /// What PostgreSQL's own views call us.
    pub application_name: &'static str,
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("max_connections", &self.max_connections)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

/// The pool. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<Conn>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("status", &self.pool.status())
            .finish()
    }
}

impl Database {
    /// Makes the pool; opens no connection, so a service starts while the database is down.
    ///
    /// # Errors
    /// [`Error::Settings`] when the URL is not one of PostgreSQL's, or asks for what we do not do.
    pub fn connect(config: &DatabaseConfig) -> Result<Self> {
        let target = Target::parse(&config.url)?.limited(config.application_name);
        let mut manager = ManagerConfig::default();
        // A round trip for each checkout would double what most use-cases cost. A connection whose other end has closed is
        // known to be closed without one; what may have died in silence is asked, see `verify`.
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |_| open(target.clone()));
        let pool = Pool::builder(AsyncDieselConnectionManager::new_with_config("", manager))
            .max_size(config.max_connections)
            .pre_recycle(Hook::async_fn(|conn, metrics| {
                verify(conn, metrics.last_used()).boxed()
            }))
            .build()
            .map_err(|error| Error::Other(error.into()))?;
        Ok(Self { pool })
    }

    /// A connection that answered a moment ago, or was just opened.
    ///
    /// # Errors
    /// [`Error::Unavailable`] after two seconds without one.
    pub async fn acquire(&self) -> Result<Connection> {
        let object = tokio::time::timeout(ACQUIRE, self.pool.get())
            .await
            .map_err(|elapsed| Error::Unavailable(elapsed.into()))?
            .map_err(|error| Error::Unavailable(error.into()))?;
        Ok(Connection { object })
    }

    /// Opens a transaction (READ COMMITTED).
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no connection.
    pub async fn begin(&self) -> Result<Transaction> {
        let mut connection = self.acquire().await?;
        AnsiTransactionManager::begin_transaction(&mut *connection).await?;
        Ok(Transaction {
            connection: Some(connection),
        })
    }

    /// Whether the database answers, for readiness probes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<()> {
        self.acquire().await.map(drop)
    }
}

/// A pooled connection.
pub struct Connection {
    object: Object<Conn>,
}

impl Deref for Connection {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.object
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.object
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

/// An open transaction. Whatever happens to its owner, it never lingers: dropped without [`Transaction::commit`] its
/// connection is closed, and PostgreSQL rolls back.
#[derive(Debug)]
pub struct Transaction {
    connection: Option<Connection>,
}

impl Transaction {
    /// Makes everything done in it visible at once.
    ///
    /// # Errors
    /// When the commit was refused, or, as [`Error::Unavailable`], when its outcome is unknown.
    pub async fn commit(mut self) -> Result<()> {
        let Some(mut connection) = self.connection.take() else {
            return Ok(());
        };
        // While COMMIT is under way the manager counts as broken, so a cancelled commit never returns to the pool.
        Ok(AnsiTransactionManager::commit_transaction(&mut *connection).await?)
    }

    /// Undoes everything and keeps the connection; dropping does the same but pays for a new connection.
    ///
    /// # Errors
    /// When the database is gone; it has rolled back then by itself.
    pub async fn rollback(mut self) -> Result<()> {
        let Some(mut connection) = self.connection.take() else {
            return Ok(());
        };
        Ok(AnsiTransactionManager::rollback_transaction(&mut *connection).await?)
    }
}

impl Deref for Transaction {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match &self.connection {
            Some(connection) => connection,
            None => {
                unreachable!("only commit and rollback take the connection, and they consume the transaction")
            }
        }
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Conn {
        match &mut self.connection {
            Some(connection) => connection,
            None => {
                unreachable!("only commit and rollback take the connection, and they consume the transaction")
            }
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection.object));
        }
    }
}

/// The database's clock, which every replica measures itself against.
///
/// # Errors
/// When the database cannot be asked.
pub async fn database_time(conn: &mut Conn) -> Result<Timestamp> {
    let now = diesel::dsl::sql::<diesel::sql_types::Timestamptz>("clock_timestamp()");
    Ok(diesel::select(now).get_result(conn).await?)
}

/// Finds a connection that died while it was idle, so that the use-case is not the one to find out. One that does not
/// answer is dropped, and the pool goes on to the next or opens one.
async fn verify(conn: &mut Conn, idle: Duration) -> std::result::Result<(), HookError> {
    if idle < TRUSTED_FOR {
        return Ok(());
    }
    let asked = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("1")).get_result::<i32>(conn);
    match tokio::time::timeout(CHECK, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(HookError::message(error.to_string())),
        Err(elapsed) => Err(HookError::message(elapsed.to_string())),
    }
}

fn open(target: Target) -> BoxFuture<'static, diesel::ConnectionResult<Conn>> {
    async move {
        let opening = async {
            let (client, connection) = target.connect().await.map_err(refused)?;
            Conn::try_from_client_and_connection(client, connection).await
        };
        tokio::time::timeout(CHECK, opening).await.map_err(refused)?
    }
    .boxed()
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> ConnectionError {
    let error = diesel::result::Error::QueryBuilderError(Box::new(error));
    ConnectionError::CouldntSetupConfiguration(error)
}
