//! Step-up challenges: a further proof a policy asked for, satisfied from outside, consumed in the step that issues.

use crate::Conn;
use crate::column::{Named, Optional, Stored};
use crate::error::Result;
use crate::page::{Page, ascending};
use crate::schema::step_up_challenges as challenges;
use caracal_domain::decision::ChallengeType;
use caracal_domain::id::{AgentSessionId, ApplicationId, ChallengeId, SessionId, ZoneId};
use caracal_domain::{ResourceIdentifier, Scope, ScopeSet, Timestamp};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

/// A challenge as stored.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = challenges)]
pub struct ChallengeRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id.
    #[diesel(deserialize_as = Uuid)]
    pub id: ChallengeId,
    /// Which application asked.
    #[diesel(deserialize_as = Uuid)]
    pub application_id: ApplicationId,
    /// In which session.
    #[diesel(deserialize_as = Optional<SessionId>)]
    pub session_id: Option<SessionId>,
    /// As which agent.
    #[diesel(deserialize_as = Optional<AgentSessionId>)]
    pub agent_session_id: Option<AgentSessionId>,
    /// What proof is asked for.
    #[diesel(deserialize_as = Stored<ChallengeType>)]
    pub challenge_type: ChallengeType,
    /// For which resources.
    pub resources: Vec<String>,
    /// For which scopes.
    pub scopes: Vec<String>,
    /// SHA-256 of what the retry must show.
    pub secret_sha256: Vec<u8>,
    /// What else may be shown about it.
    pub metadata_json: Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When the proof was given.
    pub satisfied_at: Option<Timestamp>,
    /// By whom.
    pub satisfied_by: Option<String>,
    /// When it was used.
    pub consumed_at: Option<Timestamp>,
    /// Until when it refuses every response, after too many wrong ones.
    pub rests_until: Option<Timestamp>,
}

impl ChallengeRow {
    /// Its ETag: two changes can be seen of it, each once.
    #[must_use]
    pub fn version(&self) -> i64 {
        1 + i64::from(self.satisfied_at.is_some()) + i64::from(self.consumed_at.is_some())
    }
}

impl std::fmt::Debug for ChallengeRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChallengeRow")
            .field("id", &self.id)
            .field("challenge_type", &self.challenge_type)
            .finish_non_exhaustive()
    }
}

/// A challenge to be.
#[derive(Clone)]
pub struct NewChallenge {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its id.
    pub id: ChallengeId,
    /// Which application asked.
    pub application_id: ApplicationId,
    /// In which session.
    pub session_id: Option<SessionId>,
    /// As which agent.
    pub agent_session_id: Option<AgentSessionId>,
    /// What proof is asked for.
    pub challenge_type: ChallengeType,
    /// For which resources; at least one.
    pub resources: Vec<ResourceIdentifier>,
    /// For which scopes.
    pub scopes: ScopeSet,
    /// SHA-256 of what the retry must show.
    pub secret_sha256: [u8; 32],
    /// What else may be shown about it: an object.
    pub metadata_json: Value,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for NewChallenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewChallenge")
            .field("id", &self.id)
            .field("challenge_type", &self.challenge_type)
            .finish_non_exhaustive()
    }
}

/// Adds one.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) when application, session or agent are not the zone's.
pub async fn insert(conn: &mut Conn, new: &NewChallenge) -> Result<ChallengeRow> {
    let resources: Vec<&str> = new.resources.iter().map(ResourceIdentifier::as_str).collect();
    let scopes: Vec<&str> = new.scopes.iter().map(Scope::as_str).collect();
    let values = (
        challenges::zone_id.eq(Uuid::from(new.zone_id)),
        challenges::id.eq(Uuid::from(new.id)),
        challenges::application_id.eq(Uuid::from(new.application_id)),
        challenges::session_id.eq(new.session_id.map(Uuid::from)),
        challenges::agent_session_id.eq(new.agent_session_id.map(Uuid::from)),
        challenges::challenge_type.eq(new.challenge_type.name()),
        challenges::resources.eq(resources),
        challenges::scopes.eq(scopes),
        challenges::secret_sha256.eq(new.secret_sha256.as_slice()),
        challenges::metadata_json.eq(&new.metadata_json),
        challenges::expires_at.eq(new.expires_at),
    );
    let row = diesel::insert_into(challenges::table)
        .values(values)
        .returning(ChallengeRow::as_returning());
    Ok(row.get_result(conn).await?)
}

/// The challenge, whatever its state.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: ChallengeId) -> Result<Option<ChallengeRow>> {
    let row = challenges::table.find((Uuid::from(zone), Uuid::from(id)));
    Ok(row
        .select(ChallengeRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The challenge by its id alone: for the poll, which answers with nothing that a zone would have to protect.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_anywhere(conn: &mut Conn, id: ChallengeId) -> Result<Option<ChallengeRow>> {
    let row = challenges::table.filter(challenges::id.eq(Uuid::from(id)));
    Ok(row
        .select(ChallengeRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// A page of the zone's challenges.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, zone: ZoneId, page: &Page) -> Result<Vec<ChallengeRow>> {
    let of_zone = challenges::table.filter(challenges::zone_id.eq(Uuid::from(zone)));
    let rows = of_zone.select(ChallengeRow::as_select()).into_boxed();
    Ok(ascending!(rows, challenges, page).load(conn).await?)
}

/// Notes that the proof was given, by whom; `None` when there is no such challenge that waits for it: unknown, expired,
/// satisfied or consumed. Of several at once one succeeds.
///
/// # Errors
/// When the database cannot be written.
pub async fn satisfy(
    conn: &mut Conn,
    zone: ZoneId,
    id: ChallengeId,
    by: &str,
) -> Result<Option<ChallengeRow>> {
    let waiting = challenges::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(challenges::satisfied_at.is_null())
        .filter(challenges::consumed_at.is_null())
        .filter(challenges::expires_at.gt(diesel::dsl::now));
    let satisfied = (
        challenges::satisfied_at.eq(diesel::dsl::now),
        challenges::satisfied_by.eq(by),
    );
    let row = diesel::update(waiting)
        .set(satisfied)
        .returning(ChallengeRow::as_returning());
    Ok(row.get_result(conn).await.optional()?)
}

/// Uses a satisfied challenge up; `None` when it cannot be used: unknown, expired, not satisfied or used before. Call it
/// in the transaction that records what it is used for. Of several at once one succeeds.
///
/// # Errors
/// When the database cannot be written.
pub async fn consume(conn: &mut Conn, zone: ZoneId, id: ChallengeId) -> Result<Option<ChallengeRow>> {
    let usable = challenges::table
        .find((Uuid::from(zone), Uuid::from(id)))
        .filter(challenges::satisfied_at.is_not_null())
        .filter(challenges::consumed_at.is_null())
        .filter(challenges::expires_at.gt(diesel::dsl::now));
    let row = diesel::update(usable)
        .set(challenges::consumed_at.eq(diesel::dsl::now))
        .returning(ChallengeRow::as_returning());
    Ok(row.get_result(conn).await.optional()?)
}

/// What a wrong response came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It is one of those that are put up with.
    Counted,
    /// It was one too many: the challenge rests from now on.
    Rests,
    /// The challenge rests already, until then: it does not count.
    Rested(Timestamp),
}

/// Counts a wrong response at `now`; `limit` within two minutes rest the challenge for five.
///
/// # Errors
/// When the database cannot be written.
pub async fn fail(
    conn: &mut Conn,
    zone: ZoneId,
    id: ChallengeId,
    limit: i32,
    now: Timestamp,
) -> Result<Failed> {
    #[derive(QueryableByName)]
    struct Counted {
        #[diesel(sql_type = Bool)]
        rested: bool,
        #[diesel(sql_type = Bool)]
        rests: bool,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        rests_until: Option<Timestamp>,
    }
    let count = diesel::sql_query(include_str!("step_up/fail.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<SqlUuid, _>(Uuid::from(id))
        .bind::<Integer, _>(limit)
        .bind::<Timestamptz, _>(now);
    let counted: Option<Counted> = count.get_result(conn).await.optional()?;
    Ok(match counted {
        Some(Counted {
            rested: true,
            rests_until: Some(until),
            ..
        }) => Failed::Rested(until),
        Some(Counted { rests: true, .. }) => Failed::Rests,
        Some(_) | None => Failed::Counted,
    })
}
