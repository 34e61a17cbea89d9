//! Compiled policy modules: shared by hash between all versions and zones, never changed.

use crate::Conn;
use crate::error::Result;
use crate::schema::{policy_module_successors as successors, policy_modules};
use caracal_domain::id::ZoneId;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A module to be stored.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = policy_modules)]
pub struct NewModule {
    /// SHA-256 over source and compiler, hex.
    pub name: String,
    /// The Wasm bytes.
    pub wasm: Vec<u8>,
    /// Their SHA-256, hex.
    pub wasm_sha256: String,
    /// The compiler that made them.
    pub opa_version: String,
}

/// A stored module.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = policy_modules)]
pub struct Module {
    /// The Wasm bytes.
    pub wasm: Vec<u8>,
    /// Their SHA-256, hex.
    pub wasm_sha256: String,
}

/// Stores the module unless an equal one is there.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) `policy_modules_hash` when hash and bytes disagree.
pub async fn insert_if_absent(conn: &mut Conn, new: &NewModule) -> Result<()> {
    diesel::insert_into(policy_modules::table)
        .values(new)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether the module is stored.
///
/// # Errors
/// When the database cannot be read.
pub async fn exists(conn: &mut Conn, name: &str) -> Result<bool> {
    Ok(
        diesel::select(diesel::dsl::exists(policy_modules::table.find(name)))
            .get_result(conn)
            .await?,
    )
}

/// The module with this name.
///
/// # Errors
/// When the database cannot be read.
pub async fn get(conn: &mut Conn, name: &str) -> Result<Option<Module>> {
    Ok(policy_modules::table
        .find(name)
        .select(Module::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Which of the named modules are stored.
///
/// # Errors
/// When the database cannot be read.
pub async fn known(conn: &mut Conn, names: &[String]) -> Result<Vec<String>> {
    let stored = policy_modules::table.filter(policy_modules::name.eq_any(names));
    Ok(stored.select(policy_modules::name).load(conn).await?)
}

/// A module that zones decide by and that an older compiler made.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Outdated {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub module: String,
    /// What it was compiled from.
    #[diesel(sql_type = Text)]
    pub content: String,
    /// One of the zones that decide by it.
    #[diesel(sql_type = SqlUuid, deserialize_as = Uuid)]
    pub zone_id: ZoneId,
}

/// Modules of active and shadow versions, in order of their names after `after`, that no compiler as new as
/// `opa_version` has made, nor a successor of.
///
/// # Errors
/// When the database cannot be read.
pub async fn outdated(conn: &mut Conn, opa_version: &str, after: &str, limit: i64) -> Result<Vec<Outdated>> {
    let query = diesel::sql_query(include_str!("modules/outdated.sql"))
        .bind::<Text, _>(opa_version)
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(limit);
    Ok(query.load(conn).await?)
}

/// From now on `successor`, which is stored, is loaded where `module` was: the same source, compiled again.
///
/// # Errors
/// When the database cannot be written.
pub async fn succeed(conn: &mut Conn, module: &str, successor: &str) -> Result<()> {
    let compiled = (
        successors::successor.eq(successor),
        successors::compiled_at.eq(diesel::dsl::now),
    );
    diesel::insert_into(successors::table)
        .values((successors::module.eq(module), successors::successor.eq(successor)))
        .on_conflict(successors::module)
        .do_update()
        .set(compiled)
        .execute(conn)
        .await?;
    Ok(())
}
