//! `/v1/zones/{zone}/subject-issuers`: outside issuers whose tokens make user sessions.

mod manage;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::change::Written;
use crate::error::Refusal;
use crate::paging::{List, ListQuery};
use crate::reply::{self, IfMatch};
use crate::text::{given, given_or_null, or_default};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::{SubjectIssuerId, ZoneId};
use caracal_storage::subject_issuers::{self, SubjectIssuerRow};
use caracal_web::{ApiError, JsonBody, PathId, QueryParams, to_completion};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

/// An issuer as shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubjectIssuerView {
    #[schema(value_type = Uuid)]
    id: SubjectIssuerId,
    #[schema(value_type = Uuid)]
    zone_id: ZoneId,
    issuer: String,
    /// `null` means by discovery.
    jwks_uri: Option<String>,
    audience: String,
    subject_prefix: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<&SubjectIssuerRow> for SubjectIssuerView {
    fn from(row: &SubjectIssuerRow) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            issuer: row.issuer.clone(),
            jwks_uri: row.jwks_uri.clone(),
            audience: row.audience.clone(),
            subject_prefix: row.subject_prefix.clone(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The body of `POST …/subject-issuers`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSubjectIssuer)]
pub(crate) struct NewSubjectIssuerBody {
    /// Compared exactly with `iss`.
    issuer: String,
    /// Without it the keys are found by discovery.
    jwks_uri: Option<String>,
    audience: String,
    /// Put before `sub`; unique in the zone, so at most one is empty.
    #[serde(default, deserialize_with = "or_default")]
    subject_prefix: String,
}

/// The body of `PATCH …/subject-issuers/{id}`.
#[derive(Debug, Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SubjectIssuerChanges)]
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(crate) struct SubjectIssuerPatch {
    #[serde(deserialize_with = "given")]
    issuer: Option<String>,
    /// `null` means by discovery.
    #[serde(deserialize_with = "given_or_null")]
    #[schema(value_type = Option<String>)]
    jwks_uri: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    audience: Option<String>,
    #[serde(deserialize_with = "given")]
    subject_prefix: Option<String>,
}

/// Lists subject issuers.
///
/// Oldest first.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/subject-issuers",
    params(("zone_id" = Uuid, Path), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Vec<SubjectIssuerView>))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<ListQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("subject-issuers", request.zone.id);
    let page = list.plain(&query)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            subject_issuers::list(conn, request.zone.id, &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, SubjectIssuerView::from))
}

/// Makes a subject issuer.
///
/// Whose tokens make sessions of users.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/subject-issuers",
    params(("zone_id" = Uuid, Path)),
    request_body = NewSubjectIssuerBody,
    responses(
        (status = 201, body = SubjectIssuerView),
        (status = 409, description = "subject_issuer_already_exists, subject_issuer_limit_exceeded"),
    )
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: InZone<Write, JsonBody<NewSubjectIssuerBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let Written { value: row, epoch } =
        to_completion(async move { api.create_subject_issuer(&by, &zone, body).await }).await?;
    Ok(reply::created(&SubjectIssuerView::from(&row), row.version, epoch))
}

/// Shows a subject issuer.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/subject-issuers/{id}",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = SubjectIssuerView), (status = 404, description = "subject_issuer_not_found"))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<SubjectIssuerId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            subject_issuers::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::SubjectIssuerNotFound)?;
    Ok(reply::item(&SubjectIssuerView::from(&row), row.version))
}

/// Changes a subject issuer.
///
/// Only what is named.
#[utoipa::path(
    patch, path = "/v1/zones/{zone_id}/subject-issuers/{id}",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path), IfMatch),
    request_body = SubjectIssuerPatch,
    responses(
        (status = 200, body = SubjectIssuerView),
        (status = 404, description = "subject_issuer_not_found"),
        (status = 409, description = "subject_issuer_already_exists"),
        (status = 412, description = "version_conflict"),
    )
)]
pub(crate) async fn change(
    api: Data<Api>,
    request: InZone<Write, (PathId<SubjectIssuerId>, IfMatch, JsonBody<SubjectIssuerPatch>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match, JsonBody(patch))) = request.open();
    let Written { value: row, epoch } =
        to_completion(async move { api.change_subject_issuer(&by, &zone, id, &if_match, patch).await })
            .await?;
    Ok(reply::changed(&SubjectIssuerView::from(&row), row.version, epoch))
}

/// Archives a subject issuer.
///
/// Its tokens make no more sessions.
#[utoipa::path(
    delete, path = "/v1/zones/{zone_id}/subject-issuers/{id}",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path), IfMatch),
    responses(
        (status = 204),
        (status = 404, description = "subject_issuer_not_found"),
        (status = 412, description = "version_conflict"),
    )
)]
pub(crate) async fn archive(
    api: Data<Api>,
    request: InZone<Write, (PathId<SubjectIssuerId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match)) = request.open();
    let epoch =
        to_completion(async move { api.archive_subject_issuer(&by, zone.id, id, &if_match).await }).await?;
    Ok(reply::gone(epoch))
}
