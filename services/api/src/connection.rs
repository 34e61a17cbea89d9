//! `/v1/zones/{zone}/provider-connections` and `/v1/oauth/callback`: a user's consent at a provider. Its tokens are
//! sealed when they come in and never shown.

mod authorize;
mod callback;
mod revoke;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::error::Refusal;
use crate::paging::List;
use crate::reply;
use crate::text::Nothing;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
pub(crate) use authorize::{__path_authorize, authorize};
pub(crate) use callback::{__path_callback, callback};
use caracal_domain::Timestamp;
use caracal_domain::id::{ConnectionId, ProviderId, ResourceId, ZoneId};
use caracal_storage::connections::{self, ConnectionFilter, ConnectionRow, ConnectionStatus};
use caracal_web::{ApiError, OptionalBody, PathId, QueryParams, to_completion};
pub(crate) use revoke::tell_providers;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Where a provider sends users back.
pub(crate) const CALLBACK_PATH: &str = "/v1/oauth/callback";

/// A connection as shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionView {
    id: ConnectionId,
    zone_id: ZoneId,
    /// Whose.
    user_id: String,
    resource_id: ResourceId,
    provider_id: ProviderId,
    /// What was consented to.
    scopes: Vec<String>,
    /// `active`, `lapsed` (the provider no longer renews it: the user must connect again) or `revoked`.
    #[schema(example = "active")]
    status: &'static str,
    /// When the access token ends, if that is known; it is renewed before.
    access_expires_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

impl From<&ConnectionRow> for ConnectionView {
    fn from(row: &ConnectionRow) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            user_id: row.user_id.clone(),
            resource_id: row.resource_id,
            provider_id: row.provider_id,
            scopes: row.scopes.clone(),
            status: match row.status() {
                ConnectionStatus::Active => "active",
                ConnectionStatus::Lapsed => "lapsed",
                ConnectionStatus::Revoked => "revoked",
            },
            access_expires_at: row.access_expires_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// The parameters of `GET …/provider-connections`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectionQuery {
    /// Only this user's.
    user_id: Option<String>,
    /// Only for this resource.
    #[param(value_type = Option<Uuid>)]
    resource_id: Option<ResourceId>,
    /// Only at this provider.
    #[param(value_type = Option<Uuid>)]
    provider_id: Option<ProviderId>,
    /// `active`, `lapsed` or `revoked`.
    #[param(inline)]
    status: Option<Status>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Whether a connection can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ConnectionStatus)]
enum Status {
    Active,
    Lapsed,
    Revoked,
}

impl From<Status> for ConnectionStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Lapsed => Self::Lapsed,
            Status::Revoked => Self::Revoked,
        }
    }
}

/// Lists users' connections to providers.
///
/// Oldest first, those that have ended included.
#[utoipa::path(
    get,
    path = "/v1/zones/{zone_id}/provider-connections",
    params(ConnectionQuery),
    responses(
        (status = 200, description = "Connections; the next page's address is in `Link`.", body = Vec<ConnectionView>),
        (status = 400, description = "`invalid_query`, `invalid_cursor`"),
    )
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<ConnectionQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("provider-connections", request.zone.id);
    let page = list.page(query.limit, query.cursor.as_deref())?;
    let filter = ConnectionFilter {
        user_id: query.user_id,
        resource_id: query.resource_id,
        provider_id: query.provider_id,
        status: query.status.map(Into::into),
    };
    let rows = api
        .read(request.zone.id, async |conn| {
            connections::list(conn, request.zone.id, &filter, &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, ConnectionView::from))
}

/// Shows a connection.
///
/// Whether it has ended or not.
#[utoipa::path(
    get,
    path = "/v1/zones/{zone_id}/provider-connections/{id}",
    responses(
        (status = 200, description = "The connection.", body = ConnectionView),
        (status = 404, description = "`connection_not_found`"),
    )
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<ConnectionId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            connections::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::ConnectionNotFound)?;
    Ok(reply::item(&ConnectionView::from(&row), row.version))
}

/// Revokes a connection.
///
/// Here and, where the provider takes it, there (RFC 7009). Again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/zones/{zone_id}/provider-connections/{id}/revoke",
    request_body = Option<Nothing>,
    responses(
        (status = 200, description = "The connection, ended.", body = ConnectionView),
        (status = 404, description = "`connection_not_found`"),
    )
)]
pub(crate) async fn revoke(
    api: Data<Api>,
    request: InZone<Write, (PathId<ConnectionId>, OptionalBody<Nothing>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), _)) = request.open();
    let written = to_completion(async move { api.revoke_connection(&by, zone.id, id).await }).await?;
    let row = &written.value;
    Ok(reply::changed(
        &ConnectionView::from(row),
        row.version,
        written.epoch,
    ))
}
