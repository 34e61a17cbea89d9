//! What the ingester could not parse or trust, kept for a human.

use crate::Conn;
use crate::error::Result;
use crate::schema::audit_dead_letters;
use caracal_domain::Timestamp;
use caracal_domain::id::EventId;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A letter to be kept.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = audit_dead_letters)]
pub struct DeadLetter {
    /// Its own id.
    #[diesel(serialize_as = Uuid)]
    pub id: EventId,
    /// The subject it came on.
    pub subject: String,
    /// Its `Nats-Msg-Id`, if it had one.
    pub message_id: Option<String>,
    /// The stream it came from.
    pub stream: String,
    /// When that stream was made.
    pub stream_created_at: Timestamp,
    /// Its place there.
    pub stream_sequence: i64,
    /// What is wrong with it.
    pub reason: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Keeps a letter; a redelivery is kept once.
///
/// # Errors
/// When the database cannot be written.
pub async fn insert(conn: &mut Conn, letter: &DeadLetter) -> Result<()> {
    let values = letter.clone();
    diesel::insert_into(audit_dead_letters::table)
        .values(values)
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// How many letters there are, for a gauge.
///
/// # Errors
/// When the database cannot be read.
pub async fn count(conn: &mut Conn) -> Result<i64> {
    Ok(audit_dead_letters::table.count().get_result(conn).await?)
}
