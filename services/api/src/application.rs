//! `/v1/zones/{zone}/applications`: registered clients, services and agent workloads.

mod credential;
mod manage;
mod reap;

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::error::Refusal;
use crate::openapi::words::{ConsentWord, CredentialTypeWord, JwkSetWord, RegistrationMethodWord};
use crate::paging::{List, NameQuery};
use crate::reply::{self, IfMatch};
use crate::text::{Name, Nothing, given, or_default};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::zone::{CredentialType, RegistrationMethod};
use caracal_storage::applications::{self, ApplicationRow};
use caracal_web::{ApiError, JsonBody, OptionalBody, PathId, QueryParams, to_completion};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use validator::Validate;

pub(crate) use manage::Registered;

/// An application as shown: never its secret or the hash of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ApplicationView<'a> {
    id: ApplicationId,
    zone_id: ZoneId,
    name: &'a str,
    registration_method: RegistrationMethod,
    credential_type: CredentialType,
    traits: &'a [String],
    #[schema(value_type = ConsentWord)]
    consent: &'a str,
    redirect_uris: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<JwkSetWord>)]
    jwks: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// A secret we made, in the answer that makes it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
}

impl<'a> ApplicationView<'a> {
    fn of(row: &'a ApplicationRow, secret: Option<&'a SecretString>) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            name: &row.name,
            registration_method: row.registration_method,
            credential_type: row.credential_type,
            traits: &row.traits,
            consent: &row.consent,
            redirect_uris: &row.redirect_uris,
            jwks: row.jwks.as_ref(),
            jwks_uri: row.jwks_uri.as_deref(),
            expires_at: row.expires_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            client_secret: secret.map(ExposeSecret::expose_secret),
        }
    }
}

impl<'a> From<&'a ApplicationRow> for ApplicationView<'a> {
    fn from(row: &'a ApplicationRow) -> Self {
        Self::of(row, None)
    }
}

/// The body of `POST …/applications`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApplicationBody {
    name: Name,
    registration_method: RegistrationMethod,
    /// `public` when absent; `token` when a `client_secret` is given.
    credential_type: Option<CredentialType>,
    client_secret: Option<SecretText>,
    #[serde(default, deserialize_with = "or_default")]
    #[validate(length(max = 64, message = "must hold at most 64"))]
    #[schema(max_items = 64)]
    traits: Vec<Name>,
    #[serde(default, deserialize_with = "or_default")]
    consent: bool,
    #[serde(default, deserialize_with = "or_default")]
    #[validate(length(max = 32, message = "must hold at most 32"))]
    #[schema(max_items = 32)]
    redirect_uris: Vec<String>,
    #[schema(value_type = Option<JwkSetWord>)]
    jwks: Option<Value>,
    jwks_uri: Option<String>,
    #[schema(minimum = 1, maximum = 86_400)]
    expires_in: Option<i64>,
}

/// The body of `POST …/applications/dcr`.
#[derive(Debug, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistrationBody {
    name: Name,
    credential_type: Option<CredentialType>,
    client_secret: Option<SecretText>,
    #[serde(default, deserialize_with = "or_default")]
    #[validate(length(max = 64, message = "must hold at most 64"))]
    #[schema(max_items = 64)]
    traits: Vec<Name>,
    #[schema(value_type = Option<JwkSetWord>)]
    jwks: Option<Value>,
    jwks_uri: Option<String>,
    #[schema(minimum = 1, maximum = 86_400)]
    expires_in: Option<i64>,
}

/// The body of `PATCH …/applications/{id}`.
#[derive(Debug, Default, Deserialize, Validate, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplicationPatch {
    #[serde(default, deserialize_with = "given")]
    name: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    credential_type: Option<CredentialType>,
    #[serde(default, deserialize_with = "given")]
    client_secret: Option<SecretText>,
    #[serde(default, deserialize_with = "given")]
    #[validate(length(max = 64, message = "must hold at most 64"))]
    #[schema(max_items = 64)]
    traits: Option<Vec<Name>>,
    #[serde(default, deserialize_with = "given")]
    consent: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[validate(length(max = 32, message = "must hold at most 32"))]
    #[schema(max_items = 32)]
    redirect_uris: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<JwkSetWord>)]
    jwks: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    jwks_uri: Option<String>,
}

impl ApplicationPatch {
    const fn is_empty(&self) -> bool {
        let plain = self.name.is_none() && self.traits.is_none() && self.consent.is_none();
        let proof = self.credential_type.is_none() && self.client_secret.is_none();
        plain && proof && self.redirect_uris.is_none() && self.jwks.is_none() && self.jwks_uri.is_none()
    }
}

/// A secret the caller chose: 1 to 512 printable ASCII characters.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 512)]
#[serde(try_from = "String")]
pub(crate) struct SecretText(SecretString);

impl TryFrom<String> for SecretText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // What begins like a secret of ours must be one: a checksum that does not fit is refused unread.
        let plain = text.bytes().all(|b| (b' '..=b'~').contains(&b)) && !text.starts_with("ccs_");
        if (1..=512).contains(&text.len()) && plain {
            Ok(Self(SecretString::from(text)))
        } else {
            Err("must be 1 to 512 printable ASCII characters that do not begin with ccs_")
        }
    }
}

impl From<RegistrationBody> for NewApplicationBody {
    fn from(body: RegistrationBody) -> Self {
        Self {
            name: body.name,
            registration_method: RegistrationMethod::Dcr,
            credential_type: body.credential_type,
            client_secret: body.client_secret,
            traits: body.traits,
            consent: false,
            redirect_uris: Vec::new(),
            jwks: body.jwks,
            jwks_uri: body.jwks_uri,
            expires_in: body.expires_in,
        }
    }
}

/// Lists applications.
///
/// Oldest first, without their secrets.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/applications",
    params(NameQuery),
    responses((status = 200, body = [ApplicationView]))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<NameQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("applications", request.zone.id);
    let page = query.page(list)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            applications::list(conn, request.zone.id, query.name.as_deref(), &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, ApplicationView::from))
}

/// Makes an application.
///
/// A secret that is made for it is shown once, as `client_secret`.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/applications",
    request_body = NewApplicationBody,
    responses((status = 201, body = ApplicationView), (status = 429))
)]
pub(crate) async fn create(
    api: Data<Api>,
    request: InZone<Write, JsonBody<NewApplicationBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let made = to_completion(async move { api.create_application(&by, &zone, body).await }).await?;
    Ok(answer_created(&made))
}

/// Registers an application for a while.
///
/// Dynamic client registration, where the zone allows it: it expires, within a day at most.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/applications/dcr",
    request_body = RegistrationBody,
    responses((status = 201, body = ApplicationView), (status = 429))
)]
pub(crate) async fn register(
    api: Data<Api>,
    request: InZone<Write, JsonBody<RegistrationBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let made = to_completion(async move { api.create_application(&by, &zone, body.into()).await }).await?;
    Ok(answer_created(&made))
}

/// Shows an application.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/applications/{id}",
    responses((status = 200, body = ApplicationView))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<ApplicationId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            applications::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::ApplicationNotFound)?;
    Ok(reply::item(&ApplicationView::from(&row), row.version))
}

/// Changes an application.
///
/// Only what is named.
#[utoipa::path(
    patch, path = "/v1/zones/{zone_id}/applications/{id}",
    params(IfMatch), request_body = ApplicationPatch,
    responses((status = 200, body = ApplicationView))
)]
pub(crate) async fn change(
    api: Data<Api>,
    request: InZone<Write, (PathId<ApplicationId>, IfMatch, JsonBody<ApplicationPatch>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match, JsonBody(patch))) = request.open();
    let made =
        to_completion(async move { api.change_application(&by, &zone, id, &if_match, patch).await }).await?;
    Ok(answer_changed(&made))
}

/// Gives an application a new secret.
///
/// Shown once, as `client_secret`; the old one ends with the answer.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/applications/{id}/rotate-secret",
    params(IfMatch), request_body = Option<Nothing>,
    responses((status = 200, body = ApplicationView))
)]
pub(crate) async fn rotate_secret(
    api: Data<Api>,
    request: InZone<Write, (PathId<ApplicationId>, IfMatch, OptionalBody<Nothing>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match, _)) = request.open();
    let made = to_completion(async move { api.rotate_secret(&by, zone.id, id, &if_match).await }).await?;
    Ok(answer_changed(&made))
}

/// Archives an application.
///
/// Its sessions and mandates end.
#[utoipa::path(
    delete, path = "/v1/zones/{zone_id}/applications/{id}",
    params(IfMatch),
    responses((status = 204))
)]
pub(crate) async fn archive(
    api: Data<Api>,
    request: InZone<Write, (PathId<ApplicationId>, IfMatch)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), if_match)) = request.open();
    let epoch =
        to_completion(async move { api.archive_application(&by, zone.id, id, &if_match).await }).await?;
    Ok(reply::gone(epoch))
}

fn answer_created(made: &Registered) -> HttpResponse {
    let view = ApplicationView::of(&made.row, made.secret.as_ref());
    no_store(made, reply::created(&view, made.row.version, made.epoch))
}

fn answer_changed(made: &Registered) -> HttpResponse {
    let view = ApplicationView::of(&made.row, made.secret.as_ref());
    no_store(made, reply::changed(&view, made.row.version, made.epoch))
}

/// An answer that shows a secret is kept nowhere.
fn no_store(made: &Registered, mut answer: HttpResponse) -> HttpResponse {
    use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
    if made.secret.is_some() {
        answer
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}
