//! Ending sessions, each with all that lie below it: an agent's own session lies below the one it acts in.

use crate::Conn;
use crate::error::Result;
use caracal_domain::id::{ApplicationId, SessionId, ZoneId};
use caracal_domain::{AnchorKind, Timestamp};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Whose sessions end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// This one.
    Session(SessionId),
    /// Every session of a subject.
    Subject(&'a str),
    /// Every session that an application holds.
    Application(ApplicationId),
}

/// A session that was ended.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct EndedSession {
    /// Which.
    #[diesel(sql_type = SqlUuid, deserialize_as = Uuid)]
    pub id: SessionId,
    /// Whose it was, by name.
    #[diesel(sql_type = Text)]
    pub subject_id: String,
    /// The application that held it.
    #[diesel(sql_type = SqlUuid, deserialize_as = Uuid)]
    pub application_id: ApplicationId,
    /// When the last token that could name it has expired.
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: Timestamp,
    /// Whether it is a root on which agents hang: sessions may come to lie below it at any moment.
    #[diesel(sql_type = Bool)]
    is_trunk: bool,
}

impl EndedSession {
    /// Whether ending `whose` sessions is about this one itself, not only about one above it.
    #[must_use]
    pub fn is_meant_by(&self, whose: Whose<'_>) -> bool {
        match whose {
            Whose::Session(id) => self.id == id,
            Whose::Subject(subject) => self.subject_id == subject,
            Whose::Application(application) => self.application_id == application,
        }
    }

    /// What refuses its tokens where the cut-off of `whose` does not: it, when only one above it was meant; and what may
    /// come to lie below it.
    #[must_use]
    pub fn anchors(&self, whose: Whose<'_>) -> Vec<(AnchorKind, String, Timestamp)> {
        let itself = (!self.is_meant_by(whose)).then_some(AnchorKind::Sid);
        let below = self.is_trunk.then_some(AnchorKind::RootSid);
        let kinds = itself.into_iter().chain(below);
        kinds
            .map(|kind| (kind, self.id.to_string(), self.expires_at))
            .collect()
    }
}

/// Revokes the live sessions meant and every live one below them, and answers with them all. Of a holder's sessions none
/// begins from here to the end of the transaction, and none is beginning unseen.
///
/// # Errors
/// When the database cannot be written.
pub async fn end(conn: &mut Conn, zone: ZoneId, whose: Whose<'_>, reason: &str) -> Result<Vec<EndedSession>> {
    let (session, subject, application) = match whose {
        Whose::Session(id) => (Some(id), None, None),
        Whose::Subject(subject) => (None, Some(subject), None),
        Whose::Application(application) => (None, None, Some(application)),
    };
    let holder = match whose {
        Whose::Session(_) => None,
        Whose::Subject(subject) => Some(("subject", subject.to_owned())),
        Whose::Application(application) => Some(("application", application.to_string())),
    };
    if let Some((kind, holder)) = holder {
        diesel::sql_query("SELECT pg_advisory_xact_lock(caracal_sessions_lock($1, $2, $3))")
            .bind::<SqlUuid, _>(Uuid::from(zone))
            .bind::<Text, _>(kind)
            .bind::<Text, _>(holder)
            .execute(conn)
            .await?;
    }
    let query = diesel::sql_query(include_str!("end.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Nullable<SqlUuid>, _>(session.map(Uuid::from))
        .bind::<Nullable<Text>, _>(subject)
        .bind::<Nullable<SqlUuid>, _>(application.map(Uuid::from))
        .bind::<Text, _>(reason);
    Ok(query.load(conn).await?)
}
