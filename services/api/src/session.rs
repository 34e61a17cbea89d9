//! `/v1/zones/{zone}/sessions`: who is at it, and the end of it.

mod revoke;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::error::Refusal;
use crate::openapi::words::{SessionStatusWord, SubjectTypeWord};
use crate::paging::{List, Rows};
use crate::reply;
use crate::text::Nothing;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use caracal_domain::id::{ApplicationId, SessionId, ZoneId};
use caracal_domain::{SubjectType, Timestamp};
use caracal_storage::sessions::{self, SessionFilter, SessionRow, SessionStatus};
use caracal_web::{ApiError, OptionalBody, PathId, QueryParams, to_completion};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// A session as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SessionView {
    id: SessionId,
    zone_id: ZoneId,
    session_type: SubjectType,
    subject_id: String,
    application_id: ApplicationId,
    parent_id: Option<SessionId>,
    #[schema(value_type = SessionStatusWord)]
    status: &'static str,
    expires_at: Timestamp,
    authenticated_at: Timestamp,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

impl SessionView {
    fn of(row: &SessionRow, now: Timestamp) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            session_type: row.session_type,
            subject_id: row.subject_id.clone(),
            application_id: row.application_id,
            parent_id: row.parent_id,
            status: row.state(now).status().as_str(),
            expires_at: row.expires_at,
            authenticated_at: row.authenticated_at,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        }
    }

    /// A session changes by its end only: by time, or sooner.
    fn version(&self) -> i64 {
        match (self.revoked_at, self.status) {
            (Some(_), _) => 3,
            (None, "active") => 1,
            (None, _) => 2,
        }
    }
}

/// The parameters of `GET …/sessions`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionQuery {
    #[param(value_type = Option<SessionStatusWord>, inline)]
    status: Option<String>,
    subject_id: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Lists sessions.
///
/// Newest first.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/sessions",
    params(SessionQuery),
    responses((status = 200, body = Rows<SessionView>))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, QueryParams<SessionQuery>>,
) -> Result<HttpResponse, ApiError> {
    let QueryParams(query) = request.rest;
    let list = List {
        name: "sessions",
        zone: Some(request.zone.id),
        of: None,
        default: 100,
    };
    let page = list.page(query.limit, query.cursor.as_deref())?;
    let unknown = || ApiError::invalid_query("status is active, revoked or expired");
    let status = query
        .status
        .map(|text| SessionStatus::parse(&text).ok_or_else(unknown))
        .transpose()?;
    let filter = SessionFilter {
        status,
        subject_id: query.subject_id,
    };
    let rows = api
        .read(request.zone.id, async |conn| {
            sessions::list(conn, request.zone.id, &filter, &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    let now = api.clock.now();
    Ok(paged.object(|row| SessionView::of(&row, now)))
}

/// Shows a session.
///
/// Whether it has ended or not.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/sessions/{id}",
    responses((status = 200, body = SessionView))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<SessionId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            sessions::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::SessionNotFound)?;
    let view = SessionView::of(&row, api.clock.now());
    Ok(reply::item(&view, view.version()))
}

/// Revokes a session.
///
/// And everything below it, everywhere. Again changes nothing.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/sessions/{id}/revoke",
    request_body = Option<Nothing>,
    responses((status = 200, body = SessionView))
)]
pub(crate) async fn revoke(
    api: Data<Api>,
    request: InZone<Write, (PathId<SessionId>, OptionalBody<Nothing>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), _)) = request.open();
    let now = api.clock.now();
    let written = to_completion(async move { api.revoke_session(&by, zone.id, id).await }).await?;
    Ok(reply::written(StatusCode::OK, written.epoch).json(json!(SessionView::of(&written.value, now))))
}
