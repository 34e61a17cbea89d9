//! `/v1/zones/{id}/signing-keys`: what a zone signs with, and how that changes.

mod rotate;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::openapi::words::KeyStatusWord;
use crate::paging::{List, ListQuery};
use crate::reply;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::SigningKeyId;
use caracal_domain::zone::KeyStatus;
use caracal_storage::keys::{self, SigningKeyRow};
use caracal_web::{ApiError, JsonBody, QueryParams, to_completion};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

/// A signing key as shown: never its private half.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SigningKeyView {
    #[schema(value_type = Uuid)]
    kid: SigningKeyId,
    /// `next`, `active`, `retiring` or `retired`.
    status: KeyStatus,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it began to sign; of a `next` key, when it will, once a graceful rotation waits for it.
    #[schema(value_type = Option<String>, format = DateTime)]
    activates_at: Option<Timestamp>,
    /// When it leaves, or left, the JWKS.
    #[schema(value_type = Option<String>, format = DateTime)]
    retires_at: Option<Timestamp>,
}

impl From<&SigningKeyRow> for SigningKeyView {
    fn from(row: &SigningKeyRow) -> Self {
        Self {
            kid: row.id,
            status: row.status,
            created_at: row.created_at,
            activates_at: row.activates_at,
            retires_at: row.retires_at,
        }
    }
}

/// How a rotation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RotationMode {
    /// Nobody notices: the next key signs once every verifier has it, the old one stays published until its last token
    /// has expired.
    Graceful,
    /// The next key signs at once, and whatever an older one signed is refused.
    Emergency,
}

/// The body of `POST …/signing-keys/rotate`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyRotation)]
pub(crate) struct RotationBody {
    mode: RotationMode,
}

/// Lists a zone's signing keys.
///
/// Every one it ever had, oldest first.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/signing-keys",
    params(("zone_id" = Uuid, Path), ListQuery),
    responses((status = 200, body = Vec<SigningKeyView>))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<ListQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("signing-keys", request.zone.id);
    let page = list.plain(&query)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            keys::list(conn, request.zone.id, &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, SigningKeyView::from))
}

/// Rotates a zone's signing key.
///
/// Answers 200 with the keys as they now are when it is done, and 202 when a graceful rotation waits until the next key
/// is old enough.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/signing-keys/rotate",
    params(("zone_id" = Uuid, Path)),
    request_body = RotationBody,
    responses(
        (status = 200, body = Vec<SigningKeyView>),
        (status = 202, body = Vec<SigningKeyView>, description = "The next key signs at its `activates_at`."),
        (status = 409, description = "rotation_in_progress"),
    )
)]
pub(crate) async fn rotate(
    api: Data<Api>,
    request: InZone<Write, JsonBody<RotationBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let rotated = to_completion(async move { api.rotate_keys(&by, zone.id, body.mode).await }).await?;
    Ok(reply::written(rotated.status, rotated.epoch).json(views(&rotated.keys)))
}

fn views(rows: &[SigningKeyRow]) -> Vec<SigningKeyView> {
    rows.iter().map(SigningKeyView::from).collect()
}
