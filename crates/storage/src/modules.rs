//! Compiled policy modules: shared by hash between all versions and zones, never changed.

use crate::Conn;
use crate::error::Result;
use crate::schema::policy_modules;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

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
