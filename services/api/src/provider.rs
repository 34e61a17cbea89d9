//! `/v1/zones/{zone}/providers`: where upstream credentials come from. What is secret goes in and never comes out.

mod check;
mod configuration;
mod dry_run;
mod manage;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::change::Written;
use crate::error::Refusal;
use crate::openapi::words::{ProviderConfigurationWord, ProviderKindWord};
use crate::paging::{IdentifierQuery, List};
use crate::reply::{self, IfMatch};
use crate::text::{Name, given, or_default};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::{ProviderId, ZoneId};
use caracal_domain::zone::ProviderKind;
use caracal_storage::providers::{self, ProviderRow};
use caracal_web::{ApiError, JsonBody, PathId, QueryParams, to_completion};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;
use validator::Validate;

pub(crate) use check::{__path_check, check};

/// A provider as shown: of its secrets only the names.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProviderView<'a> {
    id: ProviderId,
    zone_id: ZoneId,
    name: &'a str,
    identifier: &'a str,
    kind: ProviderKind,
    owner_type: &'a str,
    #[schema(value_type = ProviderConfigurationWord)]
    config_json: &'a Value,
    secret_config_keys: &'a [String],
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> From<&'a ProviderRow> for ProviderView<'a> {
    fn from(row: &'a ProviderRow) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            name: &row.name,
            identifier: &row.identifier,
            kind: row.kind,
            owner_type: &row.owner_type,
            config_json: &row.config_json,
            secret_config_keys: &row.secret_config_keys,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The body of `POST …/providers`. It may hold secrets, so it has no `Debug`.
#[derive(Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProviderBody {
    identifier: Name,
    kind: ProviderKind,
    name: Option<Name>,
    owner_type: Option<Name>,
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = ProviderConfigurationWord)]
    config_json: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    secret_config: Map<String, Value>,
}

/// The body of `PATCH …/providers/{id}`.
#[derive(Default, PartialEq, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderPatch {
    #[serde(default, deserialize_with = "given")]
    identifier: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    kind: Option<ProviderKind>,
    #[serde(default, deserialize_with = "given")]
    name: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    owner_type: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<ProviderConfigurationWord>)]
    config_json: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "given")]
    secret_config: Option<Map<String, Value>>,
}

/// Lists providers.
///
/// Oldest first, without their secrets.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/providers",
    params(IdentifierQuery),
    responses((status = 200, body = [ProviderView]))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<IdentifierQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("providers", request.zone.id);
    let page = query.page(list)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            providers::list(conn, request.zone.id, query.identifier.as_deref(), &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, ProviderView::from))
}

/// Makes a provider.
///
/// Its secrets are kept sealed and never shown.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/providers",
    request_body = NewProviderBody,
    responses((status = 201, body = ProviderView))
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: InZone<Write, JsonBody<NewProviderBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let Written { value: row, epoch } =
        to_completion(async move { api.create_provider(&by, &zone, body).await }).await?;
    Ok(reply::created(&ProviderView::from(&row), row.version, epoch))
}

/// Shows a provider.
///
/// Without its secrets.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/providers/{id}",
    responses((status = 200, body = ProviderView))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<ProviderId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            providers::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::ProviderNotFound)?;
    Ok(reply::item(&ProviderView::from(&row), row.version))
}

/// Changes a provider.
///
/// Only what is named: `config_json` is replaced, secrets are merged, `null` removes one.
#[utoipa::path(
    patch, path = "/v1/zones/{zone_id}/providers/{id}",
    params(IfMatch), request_body = ProviderPatch,
    responses((status = 200, body = ProviderView))
)]
pub(crate) async fn change(
    api: Data<Api>,
    request: InZone<Write, (PathId<ProviderId>, IfMatch, JsonBody<ProviderPatch>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match, JsonBody(patch))) = request.open();
    let Written { value: row, epoch } =
        to_completion(async move { api.change_provider(&by, &zone, id, &if_match, patch).await }).await?;
    Ok(reply::changed(&ProviderView::from(&row), row.version, epoch))
}

/// Archives a provider.
///
/// Resources that use it are refused until they have another.
#[utoipa::path(
    delete, path = "/v1/zones/{zone_id}/providers/{id}",
    params(IfMatch),
    responses((status = 204))
)]
pub(crate) async fn archive(
    api: Data<Api>,
    request: InZone<Write, (PathId<ProviderId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match)) = request.open();
    let epoch = to_completion(async move { api.archive_provider(&by, zone.id, id, &if_match).await }).await?;
    Ok(reply::gone(epoch))
}
