//! Agent sessions: what a decision reads of them, and what the coordinator writes.

use crate::Conn;
use crate::column::{Named, Optional, Stored};
use crate::error::Result;
use crate::schema::agent_sessions;
use caracal_domain::agent::{Agent, AgentStatus, Lifecycle, SubjectSession};
use caracal_domain::id::{AgentSessionId, ApplicationId, SessionId, ZoneId};
use caracal_domain::{SubjectType, Timestamp};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// What a decision reads of an agent session.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = agent_sessions)]
struct AgentRow {
    #[diesel(deserialize_as = Uuid)]
    id: AgentSessionId,
    #[diesel(deserialize_as = Uuid)]
    application_id: ApplicationId,
    #[diesel(deserialize_as = Optional<SessionId>)]
    session_id: Option<SessionId>,
    #[diesel(deserialize_as = Stored<Lifecycle>)]
    lifecycle: Lifecycle,
    #[diesel(deserialize_as = Stored<AgentStatus>)]
    status: AgentStatus,
    labels: Vec<String>,
    expires_at: Timestamp,
    lease_expires_at: Option<Timestamp>,
}

/// A session that agents hang on, with what its root says.
#[derive(QueryableByName)]
struct SessionRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    root_id: Uuid,
    #[diesel(sql_type = Text, deserialize_as = Stored<SubjectType>)]
    session_type: SubjectType,
    #[diesel(sql_type = Text)]
    subject_id: String,
    #[diesel(sql_type = Timestamptz)]
    expires_at: Timestamp,
    #[diesel(sql_type = Timestamptz)]
    root_expires_at: Timestamp,
    #[diesel(sql_type = Bool)]
    is_revoked: bool,
}

impl From<SessionRow> for SubjectSession {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id.into(),
            root_id: row.root_id.into(),
            subject_type: row.session_type,
            subject_id: row.subject_id,
            ends_at: [row.expires_at, row.root_expires_at],
            is_revoked: row.is_revoked,
        }
    }
}

impl AgentRow {
    fn hanging_on(self, sessions: &HashMap<SessionId, SubjectSession>) -> Agent {
        let row = self;
        Agent {
            id: row.id,
            application_id: row.application_id,
            session: row.session_id.and_then(|id| sessions.get(&id).cloned()),
            lifecycle: row.lifecycle,
            status: row.status,
            labels: row.labels,
            expires_at: row.expires_at,
            lease_expires_at: row.lease_expires_at,
        }
    }
}

/// An agent session to be.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: AgentSessionId,
    /// The application it belongs to.
    pub application_id: ApplicationId,
    /// The subject session it hangs on.
    pub session_id: Option<SessionId>,
    /// The agent that spawns it.
    pub parent_id: Option<AgentSessionId>,
    /// The agent at the root of its tree; itself when it has no parent.
    pub root_id: AgentSessionId,
    /// How far below the root.
    pub depth: i32,
    /// How it lives.
    pub lifecycle: Lifecycle,
    /// Its labels.
    pub labels: Vec<String>,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// Whatever else; an object.
    pub metadata: Value,
    /// Other applications whose edges it takes.
    pub accepts_from: Vec<ApplicationId>,
    /// How long it lives, in seconds.
    pub ttl_seconds: i32,
    /// When it begins.
    pub created_at: Timestamp,
    /// When its lease ends; a service has one.
    pub lease_expires_at: Option<Timestamp>,
}

/// Adds an active agent session.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) with the constraint that refuses it.
pub async fn insert(conn: &mut Conn, new: &NewAgent) -> Result<()> {
    let accepts_from: Vec<Uuid> = new.accepts_from.iter().copied().map(Uuid::from).collect();
    let lives = Duration::from_secs(u64::try_from(new.ttl_seconds).unwrap_or_default());
    let expires_at = new.created_at + lives;
    let values = (
        (
            agent_sessions::zone_id.eq(Uuid::from(new.zone_id)),
            agent_sessions::id.eq(Uuid::from(new.id)),
            agent_sessions::application_id.eq(Uuid::from(new.application_id)),
            agent_sessions::session_id.eq(new.session_id.map(Uuid::from)),
            agent_sessions::parent_id.eq(new.parent_id.map(Uuid::from)),
            agent_sessions::root_id.eq(Uuid::from(new.root_id)),
            agent_sessions::depth.eq(new.depth),
            agent_sessions::lifecycle.eq(new.lifecycle.name()),
            agent_sessions::status.eq(AgentStatus::Active.name()),
        ),
        (
            agent_sessions::labels.eq(&new.labels),
            agent_sessions::capabilities.eq(&new.capabilities),
            agent_sessions::metadata_json.eq(&new.metadata),
            agent_sessions::accepts_from.eq(accepts_from),
            agent_sessions::ttl_seconds.eq(new.ttl_seconds),
            agent_sessions::created_at.eq(new.created_at),
            agent_sessions::expires_at.eq(expires_at),
            agent_sessions::lease_expires_at.eq(new.lease_expires_at),
        ),
    );
    diesel::insert_into(agent_sessions::table)
        .values(values)
        .execute(conn)
        .await?;
    Ok(())
}

/// The agent session, whatever its state.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: AgentSessionId) -> Result<Option<Agent>> {
    Ok(find_all(conn, zone, &[id]).await?.pop())
}

/// Those of the agent sessions that the zone has, in no particular order, each with the session it hangs on.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_all(conn: &mut Conn, zone: ZoneId, ids: &[AgentSessionId]) -> Result<Vec<Agent>> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let rows: Vec<AgentRow> = agent_sessions::table
        .filter(agent_sessions::zone_id.eq(Uuid::from(zone)))
        .filter(agent_sessions::id.eq_any(ids))
        .select(AgentRow::as_select())
        .load(conn)
        .await?;
    let held_by: Vec<Uuid> = rows
        .iter()
        .filter_map(|row| row.session_id)
        .map(Uuid::from)
        .collect();
    let sessions = subject_sessions(conn, zone, held_by).await?;
    Ok(rows.into_iter().map(|row| row.hanging_on(&sessions)).collect())
}

/// Read after the agents: what is revoked in between is seen.
async fn subject_sessions(
    conn: &mut Conn,
    zone: ZoneId,
    ids: Vec<Uuid>,
) -> Result<HashMap<SessionId, SubjectSession>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let query = diesel::sql_query(include_str!("agents/subject_sessions.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Array<SqlUuid>, _>(ids);
    let rows: Vec<SessionRow> = query.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(SubjectSession::from)
        .map(|session| (session.id, session))
        .collect())
}

/// Moves every active one of these to `suspended`, or every suspended one back; how many there were.
///
/// # Errors
/// When the database cannot be written.
pub async fn suspend_or_resume(
    conn: &mut Conn,
    zone: ZoneId,
    ids: &[AgentSessionId],
    to: AgentStatus,
) -> Result<usize> {
    let (from, suspended_at) = if to == AgentStatus::Suspended {
        (AgentStatus::Active, "now()")
    } else {
        (AgentStatus::Suspended, "NULL")
    };
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let rows = agent_sessions::table
        .filter(agent_sessions::zone_id.eq(Uuid::from(zone)))
        .filter(agent_sessions::id.eq_any(ids))
        .filter(agent_sessions::status.eq(from.name()));
    let moved = (
        agent_sessions::status.eq(to.name()),
        agent_sessions::suspended_at.eq(sql::<Nullable<Timestamptz>>(suspended_at)),
        agent_sessions::updated_at.eq(diesel::dsl::now),
        agent_sessions::version.eq(agent_sessions::version + 1),
    );
    Ok(diesel::update(rows).set(moved).execute(conn).await?)
}

/// Ends those of these that have not ended; how many there were.
///
/// # Errors
/// When the database cannot be written.
pub async fn terminate(conn: &mut Conn, zone: ZoneId, ids: &[AgentSessionId], reason: &str) -> Result<usize> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let rows = agent_sessions::table
        .filter(agent_sessions::zone_id.eq(Uuid::from(zone)))
        .filter(agent_sessions::id.eq_any(ids))
        .filter(agent_sessions::ended_at.is_null());
    let ended = (
        agent_sessions::status.eq(AgentStatus::Terminated.name()),
        agent_sessions::ended_at.eq(diesel::dsl::now),
        agent_sessions::end_reason.eq(reason),
        agent_sessions::updated_at.eq(diesel::dsl::now),
        agent_sessions::version.eq(agent_sessions::version + 1),
    );
    Ok(diesel::update(rows).set(ended).execute(conn).await?)
}
