//! `/v1/zones/{zone}/step-up-challenges`: proofs that policies asked for, and the word that one was given.

use crate::actor::{InZone, Read, Write};
use crate::app::Api;
use crate::change::{By, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::openapi::words::ChallengeTypeWord;
use crate::paging::{List, ListQuery};
use crate::reply;
use crate::text::Name;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::Timestamp;
use caracal_domain::decision::ChallengeType;
use caracal_domain::id::{AgentSessionId, ApplicationId, ChallengeId, SessionId, ZoneId};
use caracal_storage::step_up::{self, ChallengeRow};
use caracal_web::{ApiError, OptionalBody, PathId, QueryParams, to_completion};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

/// A challenge as shown: never its secret or the hash of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChallengeView {
    #[schema(value_type = Uuid)]
    id: ChallengeId,
    #[schema(value_type = Uuid)]
    zone_id: ZoneId,
    #[schema(value_type = Option<Uuid>)]
    session_id: Option<SessionId>,
    #[schema(value_type = Uuid)]
    application_id: ApplicationId,
    #[schema(value_type = Option<Uuid>)]
    agent_session_id: Option<AgentSessionId>,
    #[schema(value_type = ChallengeTypeWord)]
    challenge_type: ChallengeType,
    resources: Vec<String>,
    scopes: Vec<String>,
    #[schema(value_type = Object)]
    metadata_json: Value,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    satisfied_at: Option<Timestamp>,
    satisfied_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    consumed_at: Option<Timestamp>,
}

impl From<&ChallengeRow> for ChallengeView {
    fn from(row: &ChallengeRow) -> Self {
        Self {
            id: row.id,
            zone_id: row.zone_id,
            session_id: row.session_id,
            application_id: row.application_id,
            agent_session_id: row.agent_session_id,
            challenge_type: row.challenge_type,
            resources: row.resources.clone(),
            scopes: row.scopes.clone(),
            metadata_json: row.metadata_json.clone(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            satisfied_at: row.satisfied_at,
            satisfied_by: row.satisfied_by.clone(),
            consumed_at: row.consumed_at,
        }
    }
}

/// The body of `POST …/satisfy`; it may be left out.
#[derive(Debug, Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ChallengeProof)]
pub(crate) struct SatisfyBody {
    /// Who gave the proof, as policy sees it; without it the caller's token.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    satisfied_by: Option<Name>,
}

/// A challenge that was met.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SatisfiedView {
    #[schema(value_type = Uuid)]
    id: ChallengeId,
    #[schema(value_type = Option<String>, format = DateTime)]
    satisfied_at: Option<Timestamp>,
    satisfied_by: Option<String>,
}

impl From<&ChallengeRow> for SatisfiedView {
    fn from(row: &ChallengeRow) -> Self {
        Self {
            id: row.id,
            satisfied_at: row.satisfied_at,
            satisfied_by: row.satisfied_by.clone(),
        }
    }
}

/// Lists step-up challenges.
///
/// Oldest first, whatever their state.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/step-up-challenges",
    params(("zone_id" = Uuid, Path), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Vec<ChallengeView>))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<ListQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let list = List::of("step-up-challenges", request.zone.id);
    let page = list.plain(&query)?;
    let rows = api
        .read(request.zone.id, async |conn| {
            step_up::list(conn, request.zone.id, &page).await
        })
        .await?;
    let paged = list.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
    Ok(paged.array(&http, ChallengeView::from))
}

/// Shows a step-up challenge.
///
/// Whatever its state.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/step-up-challenges/{id}",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = ChallengeView), (status = 404, description = "challenge_not_found_or_expired"))
)]
pub(crate) async fn item(
    api: Data<Api>,
    request: InZone<Read, PathId<ChallengeId>>,
) -> Result<HttpResponse, ApiError> {
    let PathId(id) = request.rest;
    let row = api
        .read(request.zone.id, async |conn| {
            step_up::find(conn, request.zone.id, id).await
        })
        .await?;
    let row = row.ok_or(Refusal::ChallengeNotFoundOrExpired)?;
    Ok(reply::item(&ChallengeView::from(&row), row.version()))
}

/// Satisfies a step-up challenge.
///
/// The proof was given, outside of us. Said again of the same proof it changes nothing.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/step-up-challenges/{id}/satisfy",
    params(("zone_id" = Uuid, Path), ("id" = Uuid, Path)),
    request_body = Option<SatisfyBody>,
    responses(
        (status = 200, body = SatisfiedView),
        (status = 404, description = "challenge_not_found_or_expired: none that waits for a proof; one that has it takes no other"),
    )
)]
pub(crate) async fn satisfy(
    api: Data<Api>,
    request: InZone<Write, (PathId<ChallengeId>, OptionalBody<SatisfyBody>)>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, (PathId(id), OptionalBody(body))) = request.open();
    let written = to_completion(async move { api.satisfy_challenge(&by, zone.id, id, body).await }).await?;
    let row = &written.value;
    Ok(reply::changed(
        &SatisfiedView::from(row),
        row.version(),
        written.epoch,
    ))
}

impl Api {
    /// Draws no epoch: nothing is taken away, and the STS reads a challenge when a retry names it.
    async fn satisfy_challenge(
        &self,
        by: &By,
        zone: ZoneId,
        id: ChallengeId,
        body: SatisfyBody,
    ) -> Result<Written<ChallengeRow>, Failure> {
        let who = body.satisfied_by.map_or_else(|| by.name(), Name::into_string);
        let mut tx = self.database.begin(zone).await?;
        let before = step_up::find(&mut tx, zone, id)
            .await?
            .filter(|row| row.expires_at > self.clock.now())
            .ok_or(Refusal::ChallengeNotFoundOrExpired)?;
        let epoch = self.epoch_of(&mut tx, by, zone).await?;
        let Some(after) = step_up::satisfy(&mut tx, zone, id, &who).await? else {
            let same = |row: &ChallengeRow| row.satisfied_by.as_ref() == Some(&who);
            let done = step_up::find(&mut tx, zone, id).await?.filter(same);
            let done = done.ok_or(Refusal::ChallengeNotFoundOrExpired)?;
            let nothing = Deed::new(zone, "step_up.satisfy", id).to(&SatisfiedView::from(&done));
            by.complete(&mut tx, &nothing.version(done.version()), Some(epoch))
                .await?;
            tx.commit().await?;
            return Ok(Written { value: done, epoch });
        };
        let deed = Deed::new(zone, "step_up.satisfy", id)
            .from(&ChallengeView::from(&before))
            .to(&ChallengeView::from(&after))
            .answered(StatusCode::OK, &SatisfiedView::from(&after))
            .version(after.version());
        self.record(&mut tx, by, deed, Some(epoch)).await?;
        tx.commit().await?;
        Ok(Written { value: after, epoch })
    }
}
