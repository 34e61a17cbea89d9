//! `/v1/zones/{zone}/policy-sets`: immutable manifests of policy versions, one of them active.

mod activate;
mod draft;
mod manage;
mod replay;
mod simulate;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::change::Written;
use crate::error::Refusal;
use crate::paging::{List, ListQuery, NameQuery};
use crate::policy::SchemaVersion;
use crate::reply::{self, IfMatch};
use crate::text::{Name, or_default};
use activate::{Activated, ActivationStatus};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::{OutboxId, PolicySetId, PolicySetVersionId, PolicyVersionId, ZoneId};
use caracal_storage::policy_sets::{self, ActivationRow, ManifestLine, PolicySetRow, PolicySetVersionRow};
use caracal_web::{ApiError, JsonBody, PathId, QueryParams, to_completion};
pub(crate) use replay::{__path_replay, replay};
use serde::{Deserialize, Serialize};
pub(crate) use simulate::{__path_simulate, simulate};
use uuid::Uuid;
use validator::Validate;

/// A policy set as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PolicySetView<'a> {
    id: PolicySetId,
    zone_id: ZoneId,
    name: &'a str,
    description: Option<&'a str>,
    active_version_id: Option<PolicySetVersionId>,
    shadow_version_id: Option<PolicySetVersionId>,
    created_by: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Every version, when one set is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<Vec<PolicySetVersionView<'a>>>,
}

impl<'a> PolicySetView<'a> {
    fn of(row: &'a PolicySetRow, activation: Option<&ActivationRow>) -> Self {
        let active = activation.filter(|activation| activation.policy_set_id == row.id);
        Self {
            id: row.id,
            zone_id: row.zone_id,
            name: &row.name,
            description: row.description.as_deref(),
            active_version_id: active.map(|active| active.active_version_id),
            shadow_version_id: active.and_then(|active| active.shadow_version_id),
            created_by: &row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            versions: None,
        }
    }
}

/// A version as shown; its manifest only where it is asked for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PolicySetVersionView<'a> {
    id: PolicySetVersionId,
    policy_set_id: PolicySetId,
    version: i32,
    manifest_sha256: &'a str,
    schema_version: &'a str,
    created_by: &'a str,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Vec<ManifestEntryBody>>,
}

impl<'a> From<&'a PolicySetVersionRow> for PolicySetVersionView<'a> {
    fn from(row: &'a PolicySetVersionRow) -> Self {
        Self {
            id: row.id,
            policy_set_id: row.policy_set_id,
            version: row.version,
            manifest_sha256: &row.manifest_sha256,
            schema_version: &row.schema_version,
            created_by: &row.created_by,
            created_at: row.created_at,
            manifest: None,
        }
    }
}

/// The body of `POST …/policy-sets`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicySetBody {
    name: Name,
    #[validate(length(max = 2000, message = "must be at most 2000 characters"))]
    #[schema(max_length = 2000)]
    description: Option<String>,
}

/// The body of `POST …/policy-sets/{id}/versions`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicySetVersionBody {
    #[validate(length(min = 1, max = 256, message = "must hold 1 to 256 entries"))]
    #[schema(min_items = 1, max_items = 256)]
    manifest: Vec<ManifestEntryBody>,
    #[serde(default, deserialize_with = "or_default")]
    schema_version: SchemaVersion,
}

/// One line of a manifest.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestEntryBody {
    policy_version_id: PolicyVersionId,
}

/// The body of `POST …/policy-sets/{id}/activate`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivateBody {
    version_id: PolicySetVersionId,
    shadow_version_id: Option<PolicySetVersionId>,
}

/// The answer to an activation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ActivatedView {
    activated: bool,
    version_id: PolicySetVersionId,
    shadow_version_id: Option<PolicySetVersionId>,
    outbox_id: OutboxId,
}

impl From<&Activated> for ActivatedView {
    fn from(done: &Activated) -> Self {
        Self {
            activated: true,
            version_id: done.version_id,
            shadow_version_id: done.shadow_version_id,
            outbox_id: done.outbox_id,
        }
    }
}

/// Lists policy sets.
///
/// Oldest first.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/policy-sets",
    params(NameQuery),
    responses((status = 200, body = [PolicySetView]))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<NameQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("policy-sets", request.zone.id);
    let page = query.page(list)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            policy_sets::list(conn, request.zone.id, query.name.as_deref(), &page).await
        })
        .await?;
    let activation = api
        .read(request.zone.id, async |conn| {
            policy_sets::activation(conn, request.zone.id).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, |row| PolicySetView::of(row, activation.as_ref())))
}

/// Makes a policy set.
///
/// An empty one: its versions name policies.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/policy-sets",
    request_body = NewPolicySetBody,
    responses((status = 201, body = PolicySetView))
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: InZone<Write, JsonBody<NewPolicySetBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let written = to_completion(async move { api.create_policy_set(&by, &zone, body).await }).await?;
    Ok(reply::created(
        &PolicySetView::of(&written.value, None),
        written.value.version,
        written.epoch,
    ))
}

/// Shows a policy set.
///
/// With every version.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/policy-sets/{id}",
    responses((status = 200, body = PolicySetView))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<PolicySetId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let (set, activation, versions) = api.policy_set(request.zone.id, id).await?;
    let mut view = PolicySetView::of(&set, activation.as_ref());
    view.versions = Some(versions.iter().map(PolicySetVersionView::from).collect());
    Ok(reply::item(&view, set.version))
}

/// Adds a version to a policy set.
///
/// A manifest of policy versions, in order. Every replica begins to warm them.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/policy-sets/{id}/versions",
    request_body = NewPolicySetVersionBody,
    responses((status = 201, body = PolicySetVersionView), (status = 422))
)]
pub(crate) async fn add_version(
    api: Data<Api>,
    request: InZone<Write, (PathId<PolicySetId>, JsonBody<NewPolicySetVersionBody>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), JsonBody(body))) = request.open();
    let Written { value: row, epoch } =
        to_completion(async move { api.add_policy_set_version(&by, zone.id, id, body).await }).await?;
    let view = PolicySetVersionView::from(&row);
    Ok(reply::created(&view, row.version.into(), epoch))
}

/// Lists the versions of a policy set.
///
/// First to last, without the manifests.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/policy-sets/{id}/versions",
    params(ListQuery),
    responses((status = 200, body = [PolicySetVersionView]))
)]
pub(crate) async fn versions(
    api: Data<Api>,
    request: InZone<Read, (PathId<PolicySetId>, QueryParams<ListQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (PathId(id), QueryParams(query), http) = request.rest;
    let zone = request.zone.id;
    let list = List::below("policy-set-versions", zone, id);
    let page = list.plain(&query)?;
    let found = api
        .read(zone, async |conn| {
            match policy_sets::find(conn, zone, id).await? {
                Some(_) => policy_sets::list_versions(conn, zone, id, &page).await.map(Some),
                None => Ok(None),
            }
        })
        .await?;
    let rows = found.ok_or(Refusal::PolicySetNotFound)?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, PolicySetVersionView::from))
}

/// Shows a version of a policy set.
///
/// With its manifest.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/policy-sets/{id}/versions/{version_id}",
    responses((status = 200, body = PolicySetVersionView))
)]
pub(crate) async fn version(
    api: Data<Api>,
    request: InZone<Read, (PathId<PolicySetId>, PathId<PolicySetVersionId>)>,
) -> Result<HttpResponse, ApiError> {
    let (PathId(set), PathId(id)) = request.rest;
    let (row, lines) = api.policy_set_version(request.zone.id, set, id).await?;
    let entry = |line: &ManifestLine| ManifestEntryBody {
        policy_version_id: line.policy_version_id,
    };
    let manifest = Some(lines.iter().map(entry).collect());
    let view = PolicySetVersionView {
        manifest,
        ..PolicySetVersionView::from(&row)
    };
    Ok(reply::item(&view, row.version.into()))
}

/// Activates a version of a policy set.
///
/// From then on it decides in the zone, in place of any other. Nothing is compiled.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/policy-sets/{id}/activate",
    request_body = ActivateBody,
    responses((status = 202, body = ActivatedView), (status = 422))
)]
pub(crate) async fn activate(
    api: Data<Api>,
    request: InZone<Write, (PathId<PolicySetId>, JsonBody<ActivateBody>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), JsonBody(body))) = request.open();
    let done = to_completion(async move { api.activate(&by, zone.id, id, body).await }).await?;
    Ok(reply::written(StatusCode::ACCEPTED, done.epoch).json(ActivatedView::from(&done)))
}

/// Shows how far an activation has come.
///
/// Which replicas have loaded what is active.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/policy-sets/{id}/activation-status",
    responses((status = 200, body = ActivationStatus))
)]
pub(crate) async fn activation_status(
    api: Data<Api>,
    request: InZone<Read, PathId<PolicySetId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let status = api.activation_status(request.zone.id, id).await?;
    Ok(HttpResponse::Ok().json(status))
}

/// Archives a policy set.
///
/// If it was active, the zone then has no active set and denies.
#[utoipa::path(
    delete, path = "/v1/zones/{zone_id}/policy-sets/{id}",
    params(IfMatch),
    responses((status = 204))
)]
pub(crate) async fn archive(
    api: Data<Api>,
    request: InZone<Write, (PathId<PolicySetId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match)) = request.open();
    let epoch =
        to_completion(async move { api.archive_policy_set(&by, zone.id, id, &if_match).await }).await?;
    Ok(reply::gone(epoch))
}
