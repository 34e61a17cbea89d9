//! `/v1/zones/{zone}/resources`: protected upstreams.

mod binding;
mod manage;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::change::Written;
use crate::error::Refusal;
use crate::openapi::words::{AuthModeWord, OperationWord, ResourceIdentifierWord, ScopeWord};
use crate::paging::{IdentifierQuery, List};
use crate::reply::{self, IfMatch};
use crate::text::{Name, given, given_or_null, or_default};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::id::{ProviderId, ResourceId, ZoneId};
use caracal_domain::zone::{AuthMode, Operation};
use caracal_domain::{Scope, Timestamp};
use caracal_storage::resources::{self, ResourceRow};
use caracal_web::{ApiError, JsonBody, PathId, QueryParams, to_completion};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use validator::Validate;

/// A resource as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ResourceView<'a> {
    id: ResourceId,
    zone_id: ZoneId,
    name: &'a str,
    identifier: &'a str,
    upstream_url: Option<&'a str>,
    prefix: bool,
    scopes: &'a [String],
    credential_provider_id: Option<ProviderId>,
    auth_mode: AuthMode,
    #[schema(value_type = Vec<Operation>)]
    operations: &'a Value,
    forward_headers: &'a [String],
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> From<&'a ResourceRow> for ResourceView<'a> {
    fn from(row: &'a ResourceRow) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            name: &row.name,
            identifier: &row.identifier,
            upstream_url: row.upstream_url.as_deref(),
            prefix: row.prefix,
            scopes: &row.scopes,
            credential_provider_id: row.credential_provider_id,
            auth_mode: row.auth_mode,
            operations: &row.operations,
            forward_headers: &row.forward_headers,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The body of `POST …/resources`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewResourceBody {
    #[schema(value_type = ResourceIdentifierWord)]
    identifier: String,
    #[schema(min_items = 1, max_items = 256)]
    scopes: Vec<Scope>,
    name: Option<Name>,
    upstream_url: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    prefix: bool,
    credential_provider_id: Option<ProviderId>,
    auth_mode: Option<AuthMode>,
    #[serde(default, deserialize_with = "or_default")]
    #[validate(length(max = 256, message = "must hold at most 256"))]
    #[schema(max_items = 256)]
    operations: Vec<Operation>,
    #[serde(default, deserialize_with = "or_default")]
    #[validate(length(max = 64, message = "must hold at most 64"))]
    #[schema(max_items = 64)]
    forward_headers: Vec<String>,
}

/// The body of `PATCH …/resources/{id}`.
#[derive(Debug, Default, PartialEq, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(crate) struct ResourcePatch {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<ResourceIdentifierWord>)]
    identifier: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(min_items = 1, max_items = 256)]
    scopes: Option<Vec<Scope>>,
    #[serde(default, deserialize_with = "given")]
    name: Option<Name>,
    #[serde(default, deserialize_with = "given_or_null")]
    upstream_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    prefix: Option<bool>,
    #[serde(default, deserialize_with = "given_or_null")]
    credential_provider_id: Option<Option<ProviderId>>,
    #[serde(default, deserialize_with = "given")]
    auth_mode: Option<AuthMode>,
    #[serde(default, deserialize_with = "given")]
    #[validate(length(max = 256, message = "must hold at most 256"))]
    #[schema(max_items = 256)]
    operations: Option<Vec<Operation>>,
    #[serde(default, deserialize_with = "given")]
    #[validate(length(max = 64, message = "must hold at most 64"))]
    #[schema(max_items = 64)]
    forward_headers: Option<Vec<String>>,
}

/// Lists resources.
///
/// Oldest first.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/resources",
    params(IdentifierQuery),
    responses((status = 200, body = [ResourceView]))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<IdentifierQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("resources", request.zone.id);
    let page = query.page(list)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            resources::list(conn, request.zone.id, query.identifier.as_deref(), &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, ResourceView::from))
}

/// Makes a resource.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/resources",
    request_body = NewResourceBody,
    responses((status = 201, body = ResourceView))
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: InZone<Write, JsonBody<NewResourceBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let Written { value: row, epoch } =
        to_completion(async move { api.create_resource(&by, &zone, body).await }).await?;
    Ok(reply::created(&ResourceView::from(&row), row.version, epoch))
}

/// Shows a resource.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/resources/{id}",
    responses((status = 200, body = ResourceView))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<ResourceId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            resources::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::ResourceNotFound)?;
    Ok(reply::item(&ResourceView::from(&row), row.version))
}

/// Changes a resource.
///
/// Only what is named.
#[utoipa::path(
    patch, path = "/v1/zones/{zone_id}/resources/{id}",
    params(IfMatch), request_body = ResourcePatch,
    responses((status = 200, body = ResourceView))
)]
pub(crate) async fn change(
    api: Data<Api>,
    request: InZone<Write, (PathId<ResourceId>, IfMatch, JsonBody<ResourcePatch>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match, JsonBody(patch))) = request.open();
    let Written { value: row, epoch } =
        to_completion(async move { api.change_resource(&by, &zone, id, &if_match, patch).await }).await?;
    Ok(reply::changed(&ResourceView::from(&row), row.version, epoch))
}

/// Archives a resource.
///
/// Nothing is minted for it any more.
#[utoipa::path(
    delete, path = "/v1/zones/{zone_id}/resources/{id}",
    params(IfMatch),
    responses((status = 204))
)]
pub(crate) async fn archive(
    api: Data<Api>,
    request: InZone<Write, (PathId<ResourceId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match)) = request.open();
    let epoch = to_completion(async move { api.archive_resource(&by, zone.id, id, &if_match).await }).await?;
    Ok(reply::gone(epoch))
}
