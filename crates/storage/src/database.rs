//! Connections: a bounded pool that notices a stopped PostgreSQL, and the transaction a use-case opens. What works for
//! one zone says so (`…_in`), and the database then shows it no other (decision 0018).

use crate::error::{Error, Result};
use crate::target::{CHECK, Target};
use caracal_domain::Timestamp;
use caracal_domain::id::ZoneId;
use diesel::ConnectionError;
use diesel_async::pooled_connection::deadpool::{Hook, HookError, Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager,
};
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

    /// A connection that answered a moment ago, or was just opened; it sees every zone.
    ///
    /// # Errors
    /// [`Error::Unavailable`] after two seconds without one.
    pub async fn acquire(&self) -> Result<Connection> {
        let object = tokio::time::timeout(ACQUIRE, self.pool.get())
            .await
            .map_err(|elapsed| Error::Unavailable(elapsed.into()))?
            .map_err(|error| Error::Unavailable(error.into()))?;
        Ok(Connection {
            object: Some(object),
            within: false,
        })
    }

    /// A connection for reading what is of this zone; it sees no other. It costs no round trip: what limits it travels
    /// with the first query, and what ends the limit follows the last.
    ///
    /// # Errors
    /// [`Error::Unavailable`] after two seconds without one.
    pub async fn acquire_in(&self, zone: ZoneId) -> Result<Connection> {
        let mut connection = self.acquire().await?;
        connection.within = true;
        let opening = format!("BEGIN READ ONLY; {}", limit_to(zone));
        // If the limit is refused the transaction has failed, and every query after it with it.
        if let Some(Err(error)) = send(&mut connection, &opening) {
            return Err(error.into());
        }
        Ok(connection)
    }

    /// Opens a transaction (READ COMMITTED) that sees every zone.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no connection, or it does not answer.
    pub async fn begin(&self) -> Result<Transaction> {
        self.open("BEGIN").await
    }

    /// Opens a transaction (READ COMMITTED) that sees and changes what is of this zone alone, in the same one round trip.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no connection, or it does not answer.
    pub async fn begin_in(&self, zone: ZoneId) -> Result<Transaction> {
        self.open(&format!("BEGIN; {}", limit_to(zone))).await
    }

    async fn open(&self, opening: &str) -> Result<Transaction> {
        // The guard is there before the transaction is, so that one that fails or is cancelled half-way is closed.
        let mut transaction = Transaction {
            connection: Some(self.acquire().await?),
        };
        let begun = AnsiTransactionManager::begin_transaction_sql(&mut *transaction, opening);
        // A connection that answered a moment ago is not asked whether it still does; nothing but a database that has
        // stopped makes this take long.
        let begun = tokio::time::timeout(ACQUIRE, begun).await;
        begun.map_err(|elapsed| Error::Unavailable(elapsed.into()))??;
        Ok(transaction)
    }

    /// Whether the database answers, for readiness probes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<()> {
        self.acquire().await.map(drop)
    }
}

/// What keeps the rest of a transaction to one zone. An id is made of hexadecimal digits and dashes, so it cannot end its
/// quotes.
pub(crate) fn limit_to(zone: ZoneId) -> String {
    format!("SET LOCAL caracal.zone = '{zone}'")
}

/// Sends a statement and does not wait for its answer. Statements are executed in the order in which they were first
/// polled (tokio-postgres, "Pipelining"), so it is done before whatever is asked next.
fn send(conn: &mut Conn, statement: &str) -> Option<diesel::QueryResult<()>> {
    conn.batch_execute(statement).now_or_never()
}

/// A pooled connection.
pub struct Connection {
    object: Option<Object<Conn>>,
    /// Whether a reading transaction limits it to one zone. diesel knows nothing of that transaction: it holds nothing to
    /// commit, and it ends when this value does, before the pool has the connection back.
    within: bool,
}

impl Connection {
    /// Closes it instead of giving it back.
    fn close(mut self) {
        self.object.take().map(Object::take);
    }
}

impl Deref for Connection {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match &self.object {
            Some(object) => object,
            None => unreachable!("only dropping and closing take the connection"),
        }
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Conn {
        match &mut self.object {
            Some(object) => object,
            None => unreachable!("only dropping and closing take the connection"),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut object) = self.object.take() else {
            return;
        };
        // Whoever takes it next queues behind this; where it cannot be sent the connection is gone.
        if self.within && matches!(send(&mut object, "ROLLBACK"), Some(Err(_))) {
            drop(Object::take(object));
        }
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
            connection.close();
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
