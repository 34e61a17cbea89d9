//! What ends with a subject or an application beyond its sessions: agents with all they spawned, the edges that touch
//! them with all that hangs below. The cascade of contract §3, as sets.

use crate::Conn;
use crate::delegations::bump_graph_epoch;
use crate::error::Result;
use caracal_domain::Timestamp;
use caracal_domain::id::{AgentSessionId, ApplicationId, DelegationEdgeId, SessionId, ZoneId};
use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Something that ended, and when the last token that could name it has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended<I> {
    /// What.
    pub id: I,
    /// When nothing can name it any more.
    pub expires_at: Timestamp,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    expires_at: Timestamp,
}

impl<I: From<Uuid>> From<Row> for Ended<I> {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            expires_at: row.expires_at,
        }
    }
}

/// Terminates every live agent of the application, every one bound to a session of the subject or to one of `sessions`, and
/// all they spawned.
///
/// # Errors
/// When the database cannot be written.
pub async fn terminate_agents(
    conn: &mut Conn,
    zone: ZoneId,
    application: Option<ApplicationId>,
    subject: Option<&str>,
    sessions: &[SessionId],
    reason: &str,
) -> Result<Vec<Ended<AgentSessionId>>> {
    let sessions: Vec<Uuid> = sessions.iter().copied().map(Uuid::from).collect();
    let query = diesel::sql_query(include_str!("endings/terminate_agents.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Nullable<SqlUuid>, _>(application.map(Uuid::from))
        .bind::<Nullable<Text>, _>(subject)
        .bind::<Text, _>(reason)
        .bind::<Array<SqlUuid>, _>(sessions);
    let rows: Vec<Row> = query.load(conn).await?;
    Ok(rows.into_iter().map(Ended::from).collect())
}

/// The live agents that hang on these sessions, and all they spawned. For whoever may not end them: what hangs on a
/// session that has ended is as good as ended, once anchors tell of it.
///
/// # Errors
/// When the database cannot be read.
pub async fn agents_below(
    conn: &mut Conn,
    zone: ZoneId,
    sessions: &[SessionId],
) -> Result<Vec<Ended<AgentSessionId>>> {
    let sessions: Vec<Uuid> = sessions.iter().copied().map(Uuid::from).collect();
    let query = diesel::sql_query(include_str!("endings/agents_below.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Array<SqlUuid>, _>(sessions);
    let rows: Vec<Row> = query.load(conn).await?;
    Ok(rows.into_iter().map(Ended::from).collect())
}

/// Revokes every live edge that touches one of the agents, and every edge below such an edge; the zone's graph epoch
/// moves on if there was any.
///
/// # Errors
/// When the database cannot be written.
pub async fn revoke_edges(
    conn: &mut Conn,
    zone: ZoneId,
    agents: &[Ended<AgentSessionId>],
    reason: &str,
) -> Result<Vec<Ended<DelegationEdgeId>>> {
    if agents.is_empty() {
        return Ok(Vec::new());
    }
    let agents: Vec<Uuid> = agents.iter().map(|agent| Uuid::from(agent.id)).collect();
    let query = diesel::sql_query(include_str!("endings/revoke_edges.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Array<SqlUuid>, _>(agents)
        .bind::<Text, _>(reason);
    let rows: Vec<Row> = query.load(conn).await?;
    if !rows.is_empty() {
        bump_graph_epoch(conn, zone).await?;
    }
    Ok(rows.into_iter().map(Ended::from).collect())
}
