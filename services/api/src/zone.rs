//! `/v1/zones`: the tenancy boundary.

mod manage;
mod pages;

use crate::actor::{Everywhere, Govern, InZone, Read, Write};
use crate::app::Api;
use crate::change::Written;
use crate::error::{Failure, Refusal};
use crate::paging::{List, SlugQuery};
use crate::reply::{self, IfMatch};
use crate::sight::Sight;
use crate::text::{Name, Slug, given};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::ZoneId;
use caracal_storage::Page;
use caracal_storage::zones::{self, ZoneRow};
use caracal_web::{ApiError, JsonBody, JsonBytes, QueryParams, to_completion};
use pages::Rendered;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;
use validator::Validate;

pub(crate) use manage::{NewZoneSpec, SlugWish, new_signing_key};
pub(crate) use pages::Pages;

const LIST: List = List {
    name: "zones",
    zone: None,
    of: None,
    default: 200,
};

/// A zone as shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ZoneView<'a> {
    id: ZoneId,
    org_id: &'a str,
    name: &'a str,
    slug: &'a str,
    dcr_enabled: bool,
    pkce_required: bool,
    login_flow: &'a str,
    is_system: bool,
    mint_rate_per_minute: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> From<&'a ZoneRow> for ZoneView<'a> {
    fn from(row: &'a ZoneRow) -> Self {
        Self {
            id: row.id,
            org_id: &row.org_id,
            name: &row.name,
            slug: &row.slug,
            dcr_enabled: row.dcr_enabled,
            pkce_required: row.pkce_required,
            login_flow: &row.login_flow,
            is_system: row.is_system,
            mint_rate_per_minute: row.mint_rate_per_minute,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Whether applications may register themselves, and how many have.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DcrStatusView {
    dcr_enabled: bool,
    live_applications: i64,
}

/// The body of `POST /v1/zones`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewZoneBody {
    name: Name,
    org_id: Option<Name>,
    slug: Option<Slug>,
    dcr_enabled: Option<bool>,
    pkce_required: Option<bool>,
    login_flow: Option<Name>,
    is_system: Option<bool>,
}

/// The body of `PATCH /v1/zones/{id}`.
#[derive(Debug, Default, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZonePatch {
    #[serde(default, deserialize_with = "given")]
    name: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    org_id: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    slug: Option<Slug>,
    #[serde(default, deserialize_with = "given")]
    dcr_enabled: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    pkce_required: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    login_flow: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    is_system: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[validate(range(min = 1, max = 1_000_000, message = "must be from 1 to 1000000"))]
    #[schema(minimum = 1, maximum = 1_000_000)]
    mint_rate_per_minute: Option<i32>,
    #[serde(default, deserialize_with = "given")]
    dcr_shutdown: Option<DcrShutdown>,
}

/// What becomes of live self-registered applications when the door closes (seed `000`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DcrShutdown {
    KeepLive,
    RevokeLive,
}

/// Lists zones.
///
/// Every live one, oldest first.
#[utoipa::path(get, path = "/v1/zones", params(SlugQuery), responses((status = 200, body = [ZoneView])))]
pub(crate) async fn list(
    api: Data<Api>,
    request: Everywhere<Read, (QueryParams<SlugQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let page = query.page(LIST)?;
    let Some(slug) = &query.slug else {
        return Ok(api.zones(page).await?.answer(&http));
    };
    let rows = api
        .read(Sight::Everything, async |conn| {
            zones::list(conn, Some(slug), &page).await
        })
        .await?;
    let paged = LIST.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, ZoneView::from))
}

/// Makes a zone.
///
/// With its own keys. Without a `slug` it gets one like its name, and a number if that is taken.
#[utoipa::path(
    post, path = "/v1/zones",
    request_body = NewZoneBody,
    responses((status = 201, body = ZoneView))
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: Everywhere<Govern, JsonBody<NewZoneBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, spec) = (request.by, NewZoneSpec::from(request.rest.into_inner()));
    let Written { value: row, epoch } =
        to_completion(async move { api.create_zone(&by, spec).await }).await?;
    Ok(reply::created(&ZoneView::from(&row), row.version, epoch))
}

/// Shows a zone.
#[utoipa::path(get, path = "/v1/zones/{zone_id}", responses((status = 200, body = ZoneView)))]
pub(crate) async fn item(request: InZone<Read>) -> HttpResponse {
    reply::item(&ZoneView::from(&request.zone), request.zone.version)
}

/// Changes a zone.
///
/// Only what is named. Limits and `is_system` are the operator's, who has a global token.
#[utoipa::path(
    patch, path = "/v1/zones/{zone_id}",
    params(IfMatch), request_body = ZonePatch,
    responses((status = 200, body = ZoneView))
)]
pub(crate) async fn change(
    api: Data<Api>,
    request: InZone<Write, (IfMatch, JsonBytes)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (if_match, body)) = request.open();
    // Permission comes before the body, so what is named counts, whatever it is to be.
    let limited = by.actor.as_ref().is_some_and(|actor| !actor.is_global());
    if limited && body.names_any(&["is_system", "mint_rate_per_minute"]) {
        return Err(Refusal::AdminTokenZoneMismatch.into());
    }
    let patch: ZonePatch = body.parse()?;
    let Written { value: row, epoch } =
        to_completion(async move { api.change_zone(&by, zone.id, &if_match, patch).await }).await?;
    Ok(reply::changed(&ZoneView::from(&row), row.version, epoch))
}

/// Archives a zone.
///
/// Nothing is minted in it any more, at once.
#[utoipa::path(delete, path = "/v1/zones/{zone_id}", params(IfMatch), responses((status = 204)))]
pub(crate) async fn archive(
    api: Data<Api>,
    request: InZone<Govern, IfMatch>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, rest) = request.open();
    let epoch = to_completion(async move { api.archive_zone(&by, zone.id, &rest).await }).await?;
    Ok(reply::gone(epoch))
}

/// Shows whether applications may register themselves.
///
/// And how many live ones did.
#[utoipa::path(get, path = "/v1/zones/{zone_id}/dcr-status", responses((status = 200, body = DcrStatusView)))]
pub(crate) async fn dcr_status(api: Data<Api>, request: InZone<Read>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(DcrStatusView {
        dcr_enabled: request.zone.dcr_enabled,
        live_applications: api.live_registrations(request.zone.id).await?,
    }))
}

impl Api {
    async fn zones(&self, page: Page) -> Result<Arc<Rendered>, Failure> {
        let mut conn = self.database.acquire(Sight::Everything).await?;
        if let Some(last) = self.zone_pages.last(&page) {
            let now = zones::stamps(&mut conn, &page).await?;
            if last.is_current(&now) {
                return Ok(last);
            }
        }
        let rows = zones::list(&mut conn, None, &page).await?;
        drop(conn);
        self.zone_pages.render(page, rows)
    }
}
