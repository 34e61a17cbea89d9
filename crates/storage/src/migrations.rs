//! Bringing the schema up to date, and giving the services' roles their passwords.

use crate::Conn;
use crate::error::{Error, Result};
use crate::target::Target;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

/// `migrations/`, compiled in.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// Who migrates at a time: several replicas may try at once, and the others then find nothing to do.
const ALONE: &str = "SELECT pg_advisory_lock(hashtext('caracal_migrate'))";

/// The roles a password may be set for.
const ROLES: [&str; 5] = [
    "caracal_api",
    "caracal_sts",
    "caracal_gateway",
    "caracal_audit",
    "caracal_relay",
];

/// Applies every pending migration as the database's owner and names those applied. Needs a multi-thread runtime.
///
/// # Errors
/// [`Error::Unavailable`] when the database cannot be reached, [`Error::Other`] when a migration fails; each migration
/// is a transaction, so a failed one leaves nothing behind.
pub async fn run(url: &str) -> Result<Vec<String>> {
    let mut harness = AsyncMigrationHarness::new(connect(url).await?);
    let applied = harness.run_pending_migrations(MIGRATIONS).map_err(Error::Other)?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

/// Reverts every migration, newest first. Needs a multi-thread runtime.
///
/// # Errors
/// As [`run`].
pub async fn revert_all(url: &str) -> Result<Vec<String>> {
    let mut harness = AsyncMigrationHarness::new(connect(url).await?);
    let reverted = harness.revert_all_migrations(MIGRATIONS).map_err(Error::Other)?;
    Ok(reverted.iter().map(ToString::to_string).collect())
}

async fn connect(url: &str) -> Result<Conn> {
    let (client, driver) = Target::parse(url)?
        .connect()
        .await
        .map_err(|error| Error::Unavailable(error.into()))?;
    let mut conn = Conn::try_from_client_and_connection(client, driver)
        .await
        .map_err(|error| Error::Unavailable(error.into()))?;
    diesel::sql_query(ALONE).execute(&mut conn).await?;
    Ok(conn)
}

/// A role and the password it is to have.
pub struct RolePassword {
    role: &'static str,
    verifier: String,
}

impl std::fmt::Debug for RolePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RolePassword")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl RolePassword {
    /// Reads `role=password,role=password`. A password has no comma. Only its SCRAM-SHA-256 verifier (RFC 5803) is
    /// kept, so that the password itself is in no statement the server could log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the text is not of that form or names a role that is not ours.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        text.trim()
            .split(',')
            .filter(|pair| !pair.is_empty())
            .map(Self::parse)
            .collect()
    }

    fn parse(pair: &str) -> Result<Self> {
        let malformed = Error::Corrupt("role password");
        let Some((name, password)) = pair.split_once('=') else {
            return Err(malformed);
        };
        match ROLES.into_iter().find(|role| *role == name) {
            Some(role) if !password.is_empty() => Ok(Self {
                role,
                verifier: postgres_protocol::password::scram_sha_256(password.as_bytes()),
            }),
            Some(_) | None => Err(malformed),
        }
    }
}

/// Sets the passwords. Roles belong to the cluster, so another database's migration may be at the same row: that is
/// tried again.
///
/// # Errors
/// [`Error::Other`] when the owner may not alter roles.
pub async fn set_role_passwords(url: &str, passwords: &[RolePassword]) -> Result<()> {
    let mut conn = connect(url).await?;
    for RolePassword { role, verifier } in passwords {
        // Both are made of letters, digits and `_ + / = $ : -` only, so neither can end its quotes.
        let statement = format!("ALTER ROLE \"{role}\" PASSWORD '{verifier}'");
        let mut attempts = 0;
        while let Err(error) = conn.batch_execute(&statement).await {
            attempts += 1;
            if attempts == 10 || !error.to_string().contains("tuple concurrently updated") {
                return Err(error.into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    Ok(())
}
