//! Outside issuers whose tokens make user sessions.

use crate::Conn;
use crate::error::Result;
use crate::schema::subject_issuers;
use caracal_domain::id::ZoneId;
use caracal_domain::zone::SubjectIssuer;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::sync::Arc;
use uuid::Uuid;

/// id, issuer, `jwks_uri`, audience, prefix.
type Row = (Uuid, String, Option<String>, String, String);

pub(crate) async fn live(zone: ZoneId, mut conn: &Conn) -> Result<Vec<Arc<SubjectIssuer>>> {
    let rows: Vec<Row> = subject_issuers::table
        .filter(subject_issuers::zone_id.eq(Uuid::from(zone)))
        .filter(subject_issuers::archived_at.is_null())
        .order((subject_issuers::created_at, subject_issuers::id))
        .select((
            subject_issuers::id,
            subject_issuers::issuer,
            subject_issuers::jwks_uri,
            subject_issuers::audience,
            subject_issuers::subject_prefix,
        ))
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|row| Arc::new(read(row))).collect())
}

fn read((id, issuer, jwks_uri, audience, subject_prefix): Row) -> SubjectIssuer {
    SubjectIssuer {
        id: id.into(),
        issuer,
        jwks_uri,
        audience,
        subject_prefix,
    }
}
