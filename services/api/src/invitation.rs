//! `/v1/zones/{zone}/invitations`: making somebody else an administrator of a zone; and `/v1/invitations/accept`, which
//! asks for nothing but the invitation's token.

mod manage;

use crate::actor::{InZone, Public, Read, Write};
use crate::admin_token::AdminTokenView;
use crate::app::Api;
use crate::change::By;
use crate::error::Refusal;
use crate::paging::{List, ListQuery};
use crate::reply::{self, IfMatch};
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::{InvitationId, ZoneId};
use caracal_storage::invitations::{self, InvitationRow};
use caracal_web::{ApiError, CurrentRequestId, JsonBody, PathId, QueryParams, to_completion};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

/// What the invited may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Everything in the zone.
    Admin,
    /// Read.
    Viewer,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        }
    }
}

/// Where an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InvitationStatus {
    /// It can be accepted.
    Pending,
    /// It was.
    Accepted,
    /// Nobody did in time.
    Expired,
}

/// An invitation as shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvitationView {
    #[schema(value_type = Uuid)]
    id: InvitationId,
    #[schema(value_type = Uuid)]
    zone_id: ZoneId,
    email: String,
    #[schema(value_type = Role)]
    role: String,
    status: InvitationStatus,
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    accepted_at: Option<Timestamp>,
    /// In the answer that makes it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl InvitationView {
    fn of(row: &InvitationRow, now: Timestamp) -> Self {
        let status = match row.accepted_at {
            Some(_) => InvitationStatus::Accepted,
            None if row.expires_at <= now => InvitationStatus::Expired,
            None => InvitationStatus::Pending,
        };
        Self {
            id: row.id,
            zone_id: row.zone_id,
            email: row.email.clone(),
            role: row.role.clone(),
            status,
            created_by: row.created_by.clone(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            accepted_at: row.accepted_at,
            token: None,
        }
    }
}

/// The body of `POST …/invitations`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewInvitation)]
pub(crate) struct NewInvitationBody {
    #[validate(
        email(message = "must be an e-mail address"),
        length(max = 254, message = "must be at most 254 characters")
    )]
    #[schema(max_length = 254)]
    email: String,
    role: Role,
    /// Seconds, 1 to 604800 (7 days), which is also the default.
    #[validate(range(min = 1, max = 604_800, message = "must be from 1 to 604800 seconds"))]
    #[schema(minimum = 1, maximum = 604_800)]
    expires_in: Option<i64>,
}

/// The body of `POST /v1/invitations/accept`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InvitationToken)]
pub(crate) struct AcceptBody {
    #[validate(length(max = 512, message = "must be at most 512 characters"))]
    token: String,
}

/// Lists invitations.
///
/// Those that were not taken back, oldest first.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/invitations",
    params(("zone_id" = Uuid, Path), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Vec<InvitationView>))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<ListQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("invitations", request.zone.id);
    let page = list.plain(&query)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            invitations::list(conn, request.zone.id, &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    let now = api.clock.now();
    Ok(paged.array(&http, |row| InvitationView::of(row, now)))
}

/// Invites somebody to administer a zone.
///
/// The token is shown once; it is for who is invited to accept.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/invitations",
    params(("zone_id" = Uuid, Path)),
    request_body = NewInvitationBody,
    responses((status = 201, body = InvitationView))
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: InZone<Write, JsonBody<NewInvitationBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let now = api.clock.now();
    let (written, token) = to_completion(async move { api.invite(&by, zone.id, body).await }).await?;
    let view = InvitationView {
        token: Some(token.expose_secret().to_owned()),
        ..InvitationView::of(&written.value, now)
    };
    Ok(reply::written(StatusCode::CREATED, written.epoch)
        .insert_header(reply::etag(written.value.version))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(view))
}

/// Shows an invitation.
///
/// Whether it was accepted or not, without its token.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/invitations/{id}",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = InvitationView), (status = 404, description = "invitation_not_found"))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<InvitationId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            invitations::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::InvitationNotFound)?;
    Ok(reply::item(
        &InvitationView::of(&row, api.clock.now()),
        row.version,
    ))
}

/// Takes back an invitation.
///
/// One that was not accepted.
#[utoipa::path(
    delete, path = "/v1/zones/{zone_id}/invitations/{id}",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path), IfMatch),
    responses((status = 204), (status = 404, description = "invitation_not_found, also when it was accepted"))
)]
pub(crate) async fn revoke(
    api: Data<Api>,
    request: InZone<Write, (PathId<InvitationId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match)) = request.open();
    let epoch =
        to_completion(async move { api.take_back_invitation(&by, zone.id, id, &if_match).await }).await?;
    Ok(reply::gone(epoch))
}

/// Accepts an invitation.
///
/// Answers with a zone's admin token in exchange for the invitation's. Public.
#[utoipa::path(
    post, path = "/v1/invitations/accept", security(()),
    request_body = AcceptBody,
    responses((status = 201, body = AdminTokenView), (status = 404, description = "invitation_not_found"))
)]
pub(crate) async fn accept(
    api: Data<Api>,
    request: Public<(CurrentRequestId, JsonBody<AcceptBody>)>,
) -> Result<HttpResponse, ApiError> {
    let (request_id, JsonBody(body)) = request.rest;
    let by = By {
        held: request.held,
        ..By::system(request_id.0)
    };
    let (row, token) = to_completion(async move { api.accept_invitation(by, body).await }).await?;
    Ok(HttpResponse::Created()
        .insert_header(reply::etag(row.version))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(AdminTokenView::of(row, Some(token.expose_secret().to_owned()))))
}
