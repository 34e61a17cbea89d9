//! Idempotency keys: who asks a second time is answered as the first time (contract §1, "Concurrency").

use crate::Conn;
use crate::error::Result;
use caracal_domain::Timestamp;
use caracal_domain::id::ZoneId;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

/// What names a request that may come twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Who asks.
    pub actor: String,
    /// What is asked for.
    pub route: String,
    /// What the caller calls it.
    pub key: String,
    /// The zone it is in, if any.
    pub zone: Option<ZoneId>,
}

/// The right to do it: until then nobody else may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is leased.
    pub key: Key,
    /// Until when; it also tells one lease from the next.
    pub until: Timestamp,
}

/// An earlier request of the same key.
#[derive(Debug, Clone, PartialEq, QueryableByName)]
pub struct Earlier {
    /// The fingerprint of its body.
    #[diesel(sql_type = Binary)]
    pub body_hmac: Vec<u8>,
    /// Its answer's status; absent while it runs.
    #[diesel(sql_type = Nullable<Integer>)]
    pub status: Option<i32>,
    /// Its answer, without secrets.
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub response: Option<Value>,
}

/// What became of an attempt to take a lease.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// It is ours.
    Held(Lease),
    /// Somebody was here before.
    Taken(Earlier),
}

#[derive(QueryableByName)]
struct Until {
    #[diesel(sql_type = Timestamptz)]
    leased_until: Timestamp,
}

/// Takes the lease, unless an earlier request holds it or was answered within 24 hours. Must be its own transaction:
/// others see the lease at once.
///
/// # Errors
/// When the database cannot be written.
pub async fn claim(conn: &mut Conn, key: Key, body_hmac: &[u8]) -> Result<Claim> {
    loop {
        let query = diesel::sql_query(include_str!("idempotency/claim.sql"))
            .bind::<Text, _>(&key.actor)
            .bind::<Text, _>(&key.route)
            .bind::<Text, _>(&key.key)
            .bind::<Nullable<SqlUuid>, _>(key.zone.map(Uuid::from))
            .bind::<Binary, _>(body_hmac);
        if let Some(held) = query.get_result::<Until>(conn).await.optional()? {
            let until = held.leased_until;
            return Ok(Claim::Held(Lease { key, until }));
        }
        let query = diesel::sql_query(include_str!("idempotency/find.sql"))
            .bind::<Text, _>(&key.actor)
            .bind::<Text, _>(&key.route)
            .bind::<Text, _>(&key.key);
        // Absent when it was released between the two: then it is free.
        if let Some(earlier) = query.get_result::<Earlier>(conn).await.optional()? {
            return Ok(Claim::Taken(earlier));
        }
    }
}

/// Keeps the answer, in the transaction of what it answers; false when the lease has passed to somebody else, and then
/// that transaction must not commit.
///
/// # Errors
/// When the database cannot be written.
pub async fn complete(conn: &mut Conn, lease: &Lease, status: i32, response: &Value) -> Result<bool> {
    let query = diesel::sql_query(include_str!("idempotency/complete.sql"))
        .bind::<Text, _>(&lease.key.actor)
        .bind::<Text, _>(&lease.key.route)
        .bind::<Text, _>(&lease.key.key)
        .bind::<Timestamptz, _>(lease.until)
        .bind::<Integer, _>(status)
        .bind::<Jsonb, _>(response);
    Ok(query.execute(conn).await? > 0)
}

/// Gives back a lease under which nothing was done.
///
/// # Errors
/// When the database cannot be written; the lease ends by itself then.
pub async fn release(conn: &mut Conn, lease: &Lease) -> Result<()> {
    let query = diesel::sql_query(include_str!("idempotency/release.sql"))
        .bind::<Text, _>(&lease.key.actor)
        .bind::<Text, _>(&lease.key.route)
        .bind::<Text, _>(&lease.key.key)
        .bind::<Timestamptz, _>(lease.until);
    query.execute(conn).await?;
    Ok(())
}
