//! Sessions: one row per session token's session. Their state follows from two times.

mod end;

use crate::Conn;
use crate::column::{Named, Optional, Stored};
use crate::error::Result;
use crate::page::{Page, descending};
use crate::schema::sessions;
use caracal_domain::id::{AgentSessionId, ApplicationId, SessionId, ZoneId};
use caracal_domain::{Anchor, AnchorKind, Epoch, ResourceIdentifier, ScopeSet, SubjectType, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

pub use end::{EndedSession, Whose, end};

/// The constraint by which a session is refused whose token a cut-off of its subject or application refuses already.
pub const REFUSED_BY: &str = "sessions_cut_off";

/// A session as stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = sessions)]
pub struct SessionRow {
    /// Its zone.
    #[diesel(deserialize_as = Uuid)]
    pub zone_id: ZoneId,
    /// Its id, the `sid` claim.
    #[diesel(deserialize_as = Uuid)]
    pub id: SessionId,
    /// Whose it is.
    #[diesel(deserialize_as = Stored<SubjectType>)]
    pub session_type: SubjectType,
    /// Whose, by name.
    pub subject_id: String,
    /// The application that holds it.
    #[diesel(deserialize_as = Uuid)]
    pub application_id: ApplicationId,
    /// The session it was made from.
    #[diesel(deserialize_as = Optional<SessionId>)]
    pub parent_id: Option<SessionId>,
    /// The session at the root of that line; itself when it has no parent.
    #[diesel(deserialize_as = Uuid)]
    pub root_id: SessionId,
    /// What its mandates are limited to; empty means no limit.
    pub scopes: Vec<String>,
    /// The resources its mandates are limited to; empty means no limit.
    pub targets: Vec<String>,
    /// When the subject proved itself.
    pub authenticated_at: Timestamp,
    /// When its token expires.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub revoked_reason: Option<String>,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Its tokens are good.
    Active,
    /// Authority was taken away.
    Revoked {
        /// When.
        at: Timestamp,
    },
    /// It ended by itself.
    Expired {
        /// When.
        at: Timestamp,
    },
}

impl SessionState {
    /// The status shown.
    #[must_use]
    pub const fn status(self) -> SessionStatus {
        match self {
            Self::Active => SessionStatus::Active,
            Self::Revoked { .. } => SessionStatus::Revoked,
            Self::Expired { .. } => SessionStatus::Expired,
        }
    }
}

/// The status of a session, as shown and as filtered by (seed `004`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    /// Its tokens are good.
    Active,
    /// Authority was taken away.
    Revoked,
    /// It ended by itself.
    Expired,
}

impl SessionStatus {
    /// The name shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    /// The status with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Revoked, Self::Expired]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

impl SessionRow {
    /// Where the session stands at `now`. A revocation shows even after the expiry.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> SessionState {
        match self.revoked_at {
            Some(at) => SessionState::Revoked { at },
            None if self.expires_at <= now => SessionState::Expired { at: self.expires_at },
            None => SessionState::Active,
        }
    }
}

impl SessionRow {
    /// What refuses every token of this session and of those that ended with it, drawn at `epoch`: it; what lies below it
    /// when it is a root, or else each of the others by name. No token of a session outlives it, so its own end is when
    /// the last token that could name it has expired.
    #[must_use]
    pub fn anchors(&self, ended: &[EndedSession], epoch: Epoch) -> Vec<Anchor> {
        let is_root = self.root_id == self.id;
        let named = |kind| (kind, self.id.to_string(), self.expires_at);
        let itself = [AnchorKind::Sid]
            .into_iter()
            .chain(is_root.then_some(AnchorKind::RootSid));
        let below = ended.iter().filter(|_| !is_root);
        let below = below.flat_map(|session| session.anchors(Whose::Session(self.id)));
        let anchor = |(kind, value, expires_at)| Anchor {
            kind,
            value,
            epoch,
            expires_at,
        };
        itself.map(named).chain(below).map(anchor).collect()
    }
}

/// A session to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Its zone.
    pub zone_id: ZoneId,
    /// Whose it is.
    pub session_type: SubjectType,
    /// Whose, by name.
    pub subject_id: String,
    /// The application that holds it.
    pub application_id: ApplicationId,
    /// The session it is made from.
    pub parent_id: Option<SessionId>,
    /// The session at the root of that line; itself when it has no parent.
    pub root_id: SessionId,
    /// What its mandates are limited to; empty means no limit.
    pub scopes: ScopeSet,
    /// The resources its mandates are limited to; empty means no limit.
    pub target: Vec<ResourceIdentifier>,
    /// The agent session its token is bound to.
    pub agent_session_id: Option<AgentSessionId>,
    /// When the subject proved itself.
    pub authenticated_at: Timestamp,
    /// When its token expires.
    pub expires_at: Timestamp,
    /// When it is made.
    pub created_at: Timestamp,
    /// The epoch of the view that it was decided on, which its token carries.
    pub epoch: Epoch,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only those with this status now.
    pub status: Option<SessionStatus>,
    /// Only those of this subject.
    pub subject_id: Option<String>,
}

/// Adds a session.
///
/// # Errors
/// [`Error::Conflict`](crate::Error::Conflict) `sessions_application` when the application is not the zone's,
/// [`REFUSED_BY`] when a cut-off is newer than its epoch.
pub async fn insert(conn: &mut Conn, new: &NewSession) -> Result<()> {
    let scopes: Vec<&str> = new.scopes.iter().map(caracal_domain::Scope::as_str).collect();
    let targets: Vec<&str> = new.target.iter().map(ResourceIdentifier::as_str).collect();
    let values = (
        sessions::zone_id.eq(Uuid::from(new.zone_id)),
        sessions::id.eq(Uuid::from(new.id)),
        sessions::session_type.eq(new.session_type.name()),
        sessions::subject_id.eq(&new.subject_id),
        sessions::application_id.eq(Uuid::from(new.application_id)),
        sessions::parent_id.eq(new.parent_id.map(Uuid::from)),
        sessions::root_id.eq(Uuid::from(new.root_id)),
        sessions::scopes.eq(scopes),
        sessions::targets.eq(targets),
        sessions::agent_session_id.eq(new.agent_session_id.map(Uuid::from)),
        sessions::authenticated_at.eq(new.authenticated_at),
        sessions::expires_at.eq(new.expires_at),
        sessions::created_at.eq(new.created_at),
        sessions::epoch.eq(new.epoch.get()),
    );
    diesel::insert_into(sessions::table)
        .values(values)
        .execute(conn)
        .await?;
    Ok(())
}

/// The session, whatever its state.
///
/// # Errors
/// When the database cannot be read.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: SessionId) -> Result<Option<SessionRow>> {
    let row = sessions::table.find((Uuid::from(zone), Uuid::from(id)));
    Ok(row.select(SessionRow::as_select()).first(conn).await.optional()?)
}

/// The session, whatever its state, locked against other writers until the transaction ends.
///
/// # Errors
/// When the database cannot be read.
pub async fn find_for_update(conn: &mut Conn, zone: ZoneId, id: SessionId) -> Result<Option<SessionRow>> {
    let row = sessions::table.find((Uuid::from(zone), Uuid::from(id)));
    let locked = row.select(SessionRow::as_select()).for_no_key_update();
    Ok(locked.first(conn).await.optional()?)
}

/// A page of the zone's sessions, newest first.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(
    conn: &mut Conn,
    zone: ZoneId,
    filter: &SessionFilter,
    page: &Page,
) -> Result<Vec<SessionRow>> {
    use diesel::dsl::{IntervalDsl, now};
    let of_zone = sessions::table.filter(sessions::zone_id.eq(Uuid::from(zone)));
    let mut query = of_zone.select(SessionRow::as_select()).into_boxed();
    if let Some(subject) = &filter.subject_id {
        query = query.filter(sessions::subject_id.eq(subject));
    }
    query = match filter.status {
        None => query,
        Some(SessionStatus::Revoked) => query.filter(sessions::revoked_at.is_not_null()),
        // None lives for a day, so what began before cannot be: all of history need not be looked at to find that out.
        Some(SessionStatus::Active) => query
            .filter(sessions::revoked_at.is_null())
            .filter(sessions::expires_at.gt(now))
            .filter(sessions::created_at.gt(now.into_sql::<diesel::sql_types::Timestamptz>() - 1.day())),
        Some(SessionStatus::Expired) => query
            .filter(sessions::revoked_at.is_null())
            .filter(sessions::expires_at.le(now)),
    };
    Ok(descending!(query, sessions::created_at, sessions::id, page)
        .load(conn)
        .await?)
}
