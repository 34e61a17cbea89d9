//! `/v1/zones/{zone}/policies` and `/v1/policies/validate`: Rego, checked and compiled when it is written.

mod manage;
mod recompile;
mod turns;

pub(crate) use recompile::Recompiling;
pub(crate) use turns::Turns;

use crate::actor::{Anyone, InZone, Read, Write};
use crate::app::Api;
use crate::error::{Failure, Refusal, rego_issue};
use crate::openapi::IssueView;
use crate::paging::{List, ListQuery, NameQuery};
use crate::reply::{self, IfMatch};
use crate::text::{Name, or_default};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::{PolicyId, PolicyVersionId, ZoneId};
use caracal_policy::{CompileError, content_sha256};
use caracal_storage::policies::{self, PolicyRow, PolicyVersionRow};
use caracal_web::{ApiError, Issue, JsonBody, PathId, QueryParams, to_completion};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use validator::Validate;

pub(crate) use manage::NewPolicySpec;

/// A policy as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PolicyView<'a> {
    id: PolicyId,
    zone_id: ZoneId,
    name: &'a str,
    description: Option<&'a str>,
    owner_type: &'a str,
    created_by: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// The version made with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<PolicyVersionView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<PolicyVersionId>,
    /// Every version, when one policy is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<Vec<PolicyVersionView<'a>>>,
}

impl<'a> From<&'a PolicyRow> for PolicyView<'a> {
    fn from(row: &'a PolicyRow) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            name: &row.name,
            description: row.description.as_deref(),
            owner_type: &row.owner_type,
            created_by: &row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: None,
            version_id: None,
            versions: None,
        }
    }
}

/// A version as shown; its source only where it is asked for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PolicyVersionView<'a> {
    id: PolicyVersionId,
    policy_id: PolicyId,
    version: i32,
    content_sha256: &'a str,
    schema_version: &'a str,
    created_by: &'a str,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl<'a> From<&'a PolicyVersionRow> for PolicyVersionView<'a> {
    fn from(row: &'a PolicyVersionRow) -> Self {
        Self {
            id: row.id,
            policy_id: row.policy_id,
            version: row.version,
            content_sha256: &row.content_sha256,
            schema_version: &row.schema_version,
            created_by: &row.created_by,
            created_at: row.created_at,
            content: None,
        }
    }
}

/// The body of `POST …/policies`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicyBody {
    name: Name,
    #[schema(min_length = 1, max_length = 262_144)]
    content: String,
    #[validate(length(max = 2000, message = "must be at most 2000 characters"))]
    #[schema(max_length = 2000)]
    description: Option<String>,
    owner_type: Option<Name>,
    #[serde(default, deserialize_with = "or_default")]
    schema_version: SchemaVersion,
}

/// The body of `POST …/policies/{id}/versions`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicyVersionBody {
    #[schema(min_length = 1, max_length = 262_144)]
    content: String,
    #[serde(default, deserialize_with = "or_default")]
    schema_version: SchemaVersion,
}

/// The body of `POST /v1/policies/validate`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValidateBody {
    #[schema(min_length = 1, max_length = 262_144)]
    content: String,
}

/// What creating a policy would say.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ValidationView {
    valid: bool,
    content_sha256: String,
    #[schema(value_type = Vec<IssueView>)]
    issues: Vec<Issue>,
}

/// The one schema of policy inputs there is (contract §2, "Policy input").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
pub(crate) enum SchemaVersion {
    /// The first.
    #[default]
    #[serde(rename = "2026-03-16")]
    V20260316,
}

impl SchemaVersion {
    pub(crate) fn text(self) -> String {
        match self {
            Self::V20260316 => caracal_domain::policy_input::SCHEMA_VERSION.to_owned(),
        }
    }
}

/// Checks the source of a policy.
///
/// What creating it would say; stores nothing.
#[utoipa::path(
    post, path = "/v1/policies/validate",
    request_body = ValidateBody,
    responses((status = 200, body = ValidationView))
)]
pub(crate) async fn validate(
    api: Data<Api>,
    request: Anyone<JsonBody<ValidateBody>>,
) -> Result<HttpResponse, ApiError> {
    let content = request.rest.into_inner().content;
    // Of the caller's own: who only reads does not keep a zone's policies waiting.
    let turn = api.turns.take(request.actor.token_id).await?;
    let checked = api.compiler.check(&content).await;
    drop(turn);
    let issues = match checked {
        Ok(()) => Vec::new(),
        Err(CompileError::Invalid(issues)) => issues,
        Err(unavailable @ CompileError::Unavailable(_)) => return Err(Failure::from(unavailable).into()),
    };
    Ok(HttpResponse::Ok().json(ValidationView {
        valid: issues.is_empty(),
        content_sha256: content_sha256(&content),
        issues: issues.iter().map(rego_issue).collect(),
    }))
}

/// Lists policies.
///
/// Oldest first, without their sources.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/policies",
    params(NameQuery),
    responses((status = 200, body = [PolicyView]))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<NameQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("policies", request.zone.id);
    let page = query.page(list)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            policies::list(conn, request.zone.id, query.name.as_deref(), &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, PolicyView::from))
}

/// Makes a policy.
///
/// And its first version, which is checked and compiled.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/policies",
    request_body = NewPolicyBody,
    responses((status = 201, body = PolicyView), (status = 422))
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: InZone<Write, JsonBody<NewPolicyBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let written = to_completion(async move { api.create_policy(&by, &zone, body.into()).await }).await?;
    let (policy, version) = &written.value;
    let mut view = PolicyView::from(policy);
    view.version = Some(version.into());
    view.version_id = Some(version.id);
    Ok(reply::created(&view, policy.version, written.epoch))
}

/// Shows a policy.
///
/// With every version and its source.
#[utoipa::path(get, path = "/v1/zones/{zone_id}/policies/{id}", responses((status = 200, body = PolicyView)))]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<PolicyId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let (policy, versions) = api.policy(request.zone.id, id).await?;
    let mut view = PolicyView::from(&policy);
    view.versions = Some(versions.iter().map(with_source).collect());
    Ok(reply::item(&view, policy.version))
}

/// Lists the versions of a policy.
///
/// Each with its source, first to last.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/policies/{id}/versions",
    params(ListQuery),
    responses((status = 200, body = [PolicyVersionView]))
)]
pub(crate) async fn versions(
    api: Data<Api>,
    request: InZone<Read, (PathId<PolicyId>, QueryParams<ListQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (PathId(id), QueryParams(query), http) = request.rest;
    let zone = request.zone.id;
    let list = List::below("policy-versions", zone, id);
    let page = list.plain(&query)?;
    let found = api
        .read(zone, async |conn| match policies::find(conn, zone, id).await? {
            Some(_) => policies::list_versions(conn, zone, id, &page).await.map(Some),
            None => Ok(None),
        })
        .await?;
    let rows = found.ok_or(Refusal::PolicyNotFound)?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, with_source))
}

/// Shows a version of a policy.
///
/// With its source.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/policies/{id}/versions/{version_id}",
    responses((status = 200, body = PolicyVersionView))
)]
pub(crate) async fn version(
    api: Data<Api>,
    request: InZone<Read, (PathId<PolicyId>, PathId<PolicyVersionId>)>,
) -> Result<HttpResponse, ApiError> {
    let (PathId(policy), PathId(id)) = request.rest;
    let (_, versions) = api.policy(request.zone.id, policy).await?;
    let version = versions.iter().find(|version| version.id == id);
    let version = version.ok_or(Refusal::PolicyVersionNotFound)?;
    Ok(reply::item(&with_source(version), i64::from(version.version)))
}

fn with_source(row: &PolicyVersionRow) -> PolicyVersionView<'_> {
    PolicyVersionView {
        content: Some(&row.content),
        ..PolicyVersionView::from(row)
    }
}

/// Adds a version to a policy.
///
/// It is checked and compiled, and decides once a policy set that names it is activated.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/policies/{id}/versions",
    request_body = NewPolicyVersionBody,
    responses((status = 201, body = PolicyVersionView), (status = 422))
)]
pub(crate) async fn add_version(
    api: Data<Api>,
    request: InZone<Write, (PathId<PolicyId>, JsonBody<NewPolicyVersionBody>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), JsonBody(body))) = request.open();
    let written = to_completion(async move { api.add_policy_version(&by, zone.id, id, body).await }).await?;
    let view = PolicyVersionView::from(&written.value);
    Ok(reply::created(
        &view,
        i64::from(written.value.version),
        written.epoch,
    ))
}

/// Archives a policy.
///
/// What is active stays active, and cannot be activated again.
#[utoipa::path(
    delete, path = "/v1/zones/{zone_id}/policies/{id}",
    params(IfMatch),
    responses((status = 204))
)]
pub(crate) async fn archive(
    api: Data<Api>,
    request: InZone<Write, (PathId<PolicyId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match)) = request.open();
    let epoch = to_completion(async move { api.archive_policy(&by, zone.id, id, &if_match).await }).await?;
    Ok(reply::gone(epoch))
}
