//! `/v1/admin-tokens`: who may administer. Global tokens only.

use crate::actor::{Everywhere, Govern, Read};
use crate::app::Api;
use crate::change::{By, Deed};
use crate::error::{Failure, Refusal};
use crate::paging::{List, ListQuery};
use crate::reply::{self, IfMatch, etag};
use crate::sight::Sight;
use crate::text::{Moment, Name, is_reserved, or_default};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::{AdminTokenId, ZoneId};
use caracal_domain::zone::SYSTEM_SLUG;
use caracal_jose::{random_token, sha256_hex};
use caracal_storage::admin_tokens::{self, AdminTokenRow, NewAdminToken};
use caracal_storage::{Conn, zones};
use caracal_web::{ApiError, JsonBody, PathId, QueryParams, to_completion};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use validator::Validate;

const LIST: List = List {
    name: "admin-tokens",
    zone: None,
    of: None,
    default: 200,
};
pub(crate) const PREFIX: &str = "cat_";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reach {
    Global,
    Zone,
}

/// A token as shown: never its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AdminTokenView {
    id: AdminTokenId,
    scope: Reach,
    zone_id: Option<ZoneId>,
    name: Option<String>,
    read_only: bool,
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The secret, in the answer that makes it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl AdminTokenView {
    pub(crate) fn of(row: AdminTokenRow, token: Option<String>) -> Self {
        Self {
            id: row.id,
            scope: if row.zone_id.is_some() {
                Reach::Zone
            } else {
                Reach::Global
            },
            zone_id: row.zone_id,
            name: row.name,
            read_only: row.read_only,
            created_by: row.created_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            token,
        }
    }
}

/// The body of `POST /v1/admin-tokens`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAdminTokenBody {
    scope: Reach,
    zone_id: Option<ZoneId>,
    name: Option<Name>,
    #[serde(default, deserialize_with = "or_default")]
    read_only: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
}

/// Lists admin tokens.
///
/// Oldest first, without their secrets.
#[utoipa::path(
    get, path = "/v1/admin-tokens",
    params(ListQuery),
    responses((status = 200, body = [AdminTokenView]))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: Everywhere<Read, (QueryParams<ListQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let page = LIST.plain(&query)?;
    let rows = api
        .read(Sight::Everything, async |conn| {
            admin_tokens::list(conn, &page).await
        })
        .await?;
    let paged = LIST.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, |row| AdminTokenView::of(row.clone(), None)))
}

/// Shows an admin token.
///
/// Without its secret.
#[utoipa::path(get, path = "/v1/admin-tokens/{id}", responses((status = 200, body = AdminTokenView)))]
pub(crate) async fn item(
    api: Data<Api>,
    request: Everywhere<Read, PathId<AdminTokenId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(Sight::Everything, async |conn| admin_tokens::find(conn, id).await)
        .await?;
    let row = row.ok_or(Refusal::AdminTokenNotFound)?;
    let version = row.version;
    Ok(reply::item(&AdminTokenView::of(row, None), version))
}

/// Makes an admin token.
///
/// Global, or of one zone. The secret is shown once, as `token`.
#[utoipa::path(
    post, path = "/v1/admin-tokens",
    request_body = NewAdminTokenBody,
    responses((status = 201, body = AdminTokenView), (status = 404, description = "zone_not_found"))
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: Everywhere<Govern, JsonBody<NewAdminTokenBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, body) = (request.by, request.rest.into_inner());
    let (row, secret) = to_completion(async move { api.create_admin_token(&by, body).await }).await?;
    let version = row.version;
    let view = AdminTokenView::of(row, Some(secret.expose_secret().to_owned()));
    Ok(HttpResponse::Created()
        .insert_header(etag(version))
        .insert_header(("Cache-Control", "no-store"))
        .json(view))
}

/// Revokes an admin token.
///
/// From then on it is refused.
#[utoipa::path(delete, path = "/v1/admin-tokens/{id}", params(IfMatch), responses((status = 204)))]
pub(crate) async fn revoke(
    api: Data<Api>,
    request: Everywhere<Govern, (PathId<AdminTokenId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, (PathId(id), if_match)) = (request.by, request.rest);
    to_completion(async move { api.revoke_admin_token(&by, id, &if_match).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl Api {
    async fn create_admin_token(
        &self,
        by: &By,
        body: NewAdminTokenBody,
    ) -> Result<(AdminTokenRow, SecretString), Failure> {
        if (body.scope == Reach::Zone) != body.zone_id.is_some() {
            return Err(Failure::field(
                "zone_id",
                "is required for scope zone, and only there",
            ));
        }
        let expires_at = body.expires_at.map(|Moment(at)| at);
        if expires_at.is_some_and(|at| at <= self.clock.now()) {
            return Err(Failure::field("expires_at", "must be in the future"));
        }
        let secret = random_token(PREFIX)?;
        let new = NewAdminToken {
            id: AdminTokenId::mint(&*self.clock),
            zone_id: body.zone_id,
            name: body.name.map(Name::into_string),
            token_sha256: sha256(secret.expose_secret()),
            read_only: body.read_only,
            created_by: by.name(),
            expires_at,
        };
        let mut tx = self.database.begin(Sight::Everything).await?;
        let (ledger, of_system) = match body.zone_id {
            Some(zone) => {
                let zone = zones::find(&tx, zone).await?.ok_or(Refusal::ZoneNotFound)?;
                (zone.id, zone.is_system)
            }
            None => (self.system_zone(&mut tx).await?, false),
        };
        if !of_system && new.name.as_deref().is_some_and(is_reserved) {
            return Err(Refusal::ReservedNamespace.into());
        }
        let row = admin_tokens::insert(&mut tx, &new).await?;
        let deed = Deed::new(ledger, "admin_token.create", row.id)
            .to(&shown(&row))
            .version(row.version);
        self.record(&mut tx, by, deed, None).await?;
        tx.commit().await?;
        Ok((row, secret))
    }

    async fn revoke_admin_token(&self, by: &By, id: AdminTokenId, if_match: &IfMatch) -> Result<(), Failure> {
        let mut tx = self.database.begin(Sight::Everything).await?;
        let row = admin_tokens::find_for_update(&mut tx, id)
            .await?
            .ok_or(Refusal::AdminTokenNotFound)?;
        if_match.check(row.version)?;
        if row.seeded {
            return Err(Refusal::AdminTokenSeeded.into());
        }
        let ledger = match row.zone_id {
            Some(zone) => zone,
            None => self.system_zone(&mut tx).await?,
        };
        let deed = Deed::new(ledger, "admin_token.revoke", id).from(&shown(&row));
        // Before it is revoked: it may be the very one that asks.
        self.record(&mut tx, by, deed, None).await?;
        admin_tokens::revoke(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whose ledger keeps what concerns no tenant.
    pub(crate) async fn system_zone(&self, conn: &mut Conn) -> Result<ZoneId, Failure> {
        let system = zones::find_by_slug(conn, SYSTEM_SLUG).await?;
        Ok(system.ok_or(Failure::Fault("finding the system zone"))?.id)
    }
}

/// A token as the ledger has it: without the secret.
pub(crate) fn shown(row: &AdminTokenRow) -> serde_json::Value {
    json!(AdminTokenView::of(row.clone(), None))
}

/// How a token is kept: it has 256 bits of its own randomness, so a plain hash does (seed `004`).
pub(crate) fn sha256(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    // 64 hex digits are 32 bytes; were they ever not, the zeros match no token.
    let _ = hex::decode_to_slice(sha256_hex(token.as_bytes()), &mut bytes);
    bytes
}
