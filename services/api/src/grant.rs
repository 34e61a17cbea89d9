//! `/v1/zones/{zone}/grants`: what a user lets an application do at a resource. Policy reads it as `input.grant`.

mod manage;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::change::Written;
use crate::error::Refusal;
use crate::paging::List;
use crate::reply::{self, IfMatch};
use crate::text::SubjectText;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::id::{ApplicationId, GrantId, ResourceId, ZoneId};
use caracal_domain::{Scope, Timestamp};
use caracal_storage::grants::{self, GrantFilter, GrantRow};
use caracal_web::{ApiError, JsonBody, PathId, QueryParams, to_completion};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

/// Whether a grant holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GrantStatus {
    /// It holds.
    Active,
    /// It was taken back.
    Revoked,
}

/// A grant as shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GrantView {
    #[schema(value_type = Uuid)]
    id: GrantId,
    #[schema(value_type = Uuid)]
    zone_id: ZoneId,
    #[schema(value_type = Uuid)]
    application_id: ApplicationId,
    user_id: String,
    #[schema(value_type = Uuid)]
    resource_id: ResourceId,
    scopes: Vec<String>,
    status: GrantStatus,
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<&GrantRow> for GrantView {
    fn from(row: &GrantRow) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            application_id: row.application_id,
            user_id: row.user_id.clone(),
            resource_id: row.resource_id,
            scopes: row.scopes.clone(),
            status: if row.revoked_at.is_some() {
                GrantStatus::Revoked
            } else {
                GrantStatus::Active
            },
            created_by: row.created_by.clone(),
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// The body of `POST …/grants`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewGrant)]
pub(crate) struct NewGrantBody {
    #[schema(value_type = Uuid)]
    application_id: ApplicationId,
    #[schema(value_type = String, min_length = 1, max_length = 512)]
    user_id: SubjectText,
    #[schema(value_type = Uuid)]
    resource_id: ResourceId,
    /// 1 to 64 scopes, all of them the resource's.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 64)]
    scopes: Vec<Scope>,
}

/// The parameters of `GET …/grants`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GrantQuery {
    #[param(value_type = Option<Uuid>)]
    application_id: Option<ApplicationId>,
    user_id: Option<String>,
    #[param(value_type = Option<Uuid>)]
    resource_id: Option<ResourceId>,
    #[param(inline)]
    status: Option<GrantStatus>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Lists grants.
///
/// Oldest first, revoked ones included.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/grants",
    params(("zone_id" = Uuid, Path), GrantQuery),
    responses((status = 200, body = Vec<GrantView>))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<GrantQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("grants", request.zone.id);
    let page = list.page(query.limit, query.cursor.as_deref())?;
    let filter = GrantFilter {
        application_id: query.application_id,
        user_id: query.user_id,
        resource_id: query.resource_id,
        active: query.status.map(|status| status == GrantStatus::Active),
    };
    let rows = api
        .read(request.zone.id, async |conn| {
            grants::list(conn, request.zone.id, &filter, &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, GrantView::from))
}

/// Makes a grant.
///
/// What a user lets an application do at a resource.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/grants",
    params(("zone_id" = Uuid, Path)),
    request_body = NewGrantBody,
    responses(
        (status = 201, body = GrantView),
        (status = 403, description = "grant_scopes_exceed_resource"),
        (status = 404, description = "application_not_found, resource_not_found"),
        (status = 409, description = "grant_already_exists"),
    )
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: InZone<Write, JsonBody<NewGrantBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let Written { value: row, epoch } =
        to_completion(async move { api.create_grant(&by, zone.id, body).await }).await?;
    Ok(reply::created(&GrantView::from(&row), row.version, epoch))
}

/// Shows a grant.
///
/// Also a revoked one.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/grants/{id}",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = GrantView), (status = 404, description = "grant_not_found"))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<GrantId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            grants::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::GrantNotFound)?;
    Ok(reply::item(&GrantView::from(&row), row.version))
}

/// Revokes a grant.
///
/// And every session of its user in the zone.
#[utoipa::path(
    delete, path = "/v1/zones/{zone_id}/grants/{id}",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path), IfMatch),
    responses((status = 204), (status = 404, description = "grant_not_found, also when it is revoked already"))
)]
pub(crate) async fn revoke(
    api: Data<Api>,
    request: InZone<Write, (PathId<GrantId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match)) = request.open();
    let epoch = to_completion(async move { api.revoke_grant(&by, zone.id, id, &if_match).await }).await?;
    Ok(reply::gone(epoch))
}
