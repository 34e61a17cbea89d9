//! `/v1/zones/{zone}/audit`: reading the ledger: listed, exported, explained, followed.

mod explain;
mod export;
mod story;
mod tail;

use crate::actor::{InZone, Review};
use crate::app::Api;
use crate::error::{Failure, Refusal};
use crate::openapi::words::AuditDecisionWord;
use crate::paging::{List, Rows};
use crate::text::Moment;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::event::conceal;
use caracal_domain::id::{AgentSessionId, ApplicationId, SessionId, ZoneId};
use caracal_domain::{AuditDecision, RequestId, Timestamp};
use caracal_storage::Page;
use caracal_storage::audit::{self, AuditFilter, AuditRow};
use caracal_web::{ApiError, QueryParams};
pub(crate) use explain::{__path_explain, explain};
use export::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub(crate) use tail::{__path_tail, tail};
use uuid::Uuid;

/// How many events of one request are shown at once, and how many bytes of them; the list, filtered by `request_id`, has
/// them all.
const MOST_OF_REQUEST: (i64, i64) = (1000, 8 << 20);

/// So many events are read at once.
const CHUNK: i64 = 101;
/// A page that holds as many bytes goes no further: an event may have some hundred KiB.
const MOST_BYTES: usize = 8 << 20;

/// The parameters of `GET …/audit`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Moment>,
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Moment>,
    request_id: Option<String>,
    decision: Option<AuditDecision>,
    event_type: Option<String>,
    #[param(value_type = Option<Uuid>)]
    application_id: Option<ApplicationId>,
    #[param(value_type = Option<Uuid>)]
    session_id: Option<SessionId>,
    #[param(value_type = Option<Uuid>)]
    agent_session_id: Option<AgentSessionId>,
    resource: Option<String>,
    label: Option<String>,
    #[param(inline)]
    format: Option<Format>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    cursor: Option<String>,
}

impl AuditQuery {
    fn filter(self) -> AuditFilter {
        AuditFilter {
            since: self.since.map(|Moment(at)| at),
            until: self.until.map(|Moment(at)| at),
            request_id: self.request_id,
            decision: self.decision,
            event_type: self.event_type,
            application_id: self.application_id.map(Uuid::from),
            session_id: self.session_id.map(Uuid::from),
            agent_session_id: self.agent_session_id.map(Uuid::from),
            resource: self.resource,
            label: self.label,
        }
    }
}

/// An event as listed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct EventView {
    id: Uuid,
    zone_id: Uuid,
    event_type: String,
    request_id: String,
    decision: AuditDecision,
    evaluation_status: String,
    reason: Option<String>,
    #[schema(value_type = Object)]
    metadata_json: Value,
    occurred_at: Timestamp,
    ingested_at: Timestamp,
}

/// An event with everything it is known by.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DetailedView {
    #[serde(flatten)]
    event: EventView,
    policy_set_id: Option<Uuid>,
    policy_set_version_id: Option<Uuid>,
    manifest_sha: Option<String>,
    #[schema(value_type = Vec<Value>)]
    determining_policies_json: Value,
    #[schema(value_type = Vec<Value>)]
    diagnostics_json: Value,
    seq: i64,
    hash: String,
    previous_hash: String,
}

/// Lists the events of the ledger.
///
/// Newest first; with `format` as one file. A page of large events may hold fewer than its limit.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/audit",
    params(AuditQuery),
    responses((status = 200, content(
        (Rows<EventView> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
    )))
)]
pub(crate) async fn list(
    api: Data<Api>,
    request: InZone<Review, (QueryParams<AuditQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let QueryParams(query) = request.rest.0;
    let list = list_of(request.zone.id);
    let page = list.page(query.limit, query.cursor.as_deref())?;
    let (format, limited) = (query.format, query.limit.is_some());
    let filter = query.filter();
    if let Some(format) = format {
        return export::answer(api, &request.rest.1, list, filter, page, format, limited).await;
    }
    let (rows, page) = api.page_of_events(request.zone.id, &filter, page).await?;
    Ok(list.cut(rows, &page, key).object(event))
}

/// Lists the events of one request.
///
/// In order, with full detail; of more than a thousand, or 8 MiB, the first: `GET …/audit?request_id=` has them all.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/audit/by-request/{request_id}",
    responses((status = 200, body = [DetailedView]))
)]
pub(crate) async fn by_request(
    api: Data<Api>,
    request: InZone<Review, HttpRequest>,
) -> Result<HttpResponse, ApiError> {
    let (_, rows) = api.events_of(request.zone.id, &request.rest).await?;
    Ok(HttpResponse::Ok().json(rows.into_iter().map(detailed).collect::<Vec<_>>()))
}

const fn list_of(zone: ZoneId) -> List {
    List {
        name: "audit",
        zone: Some(zone),
        of: None,
        default: 100,
    }
}

fn key(row: &AuditRow) -> (Timestamp, Uuid) {
    (row.occurred_at, Uuid::from(row.id))
}

impl Api {
    /// The page or, where that is more than is held at once, as much of its beginning; and the page that this is.
    async fn page_of_events(
        &self,
        zone: ZoneId,
        filter: &AuditFilter,
        page: Page,
    ) -> Result<(Vec<AuditRow>, Page), Failure> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        loop {
            let next = Page {
                limit: CHUNK.min(page.limit - count(&rows)),
                after: rows.last().map(key).or(page.after),
            };
            let some = self
                .read(zone, async |conn| audit::list(conn, zone, filter, &next).await)
                .await?;
            let held = count(&rows) + count(&some);
            let is_last = count(&some) < next.limit || held >= page.limit;
            if !is_last {
                bytes += some.iter().map(size).sum::<usize>();
            }
            rows.extend(some);
            if is_last {
                return Ok((rows, page));
            }
            if bytes > MOST_BYTES {
                return Ok((rows, Page { limit: held, ..page }));
            }
        }
    }

    /// The request the path names and its events; one without any is not found.
    async fn events_of(
        &self,
        zone: ZoneId,
        http: &HttpRequest,
    ) -> Result<(RequestId, Vec<AuditRow>), ApiError> {
        let named = http.match_info().get("request_id").and_then(RequestId::accept);
        let named = named.ok_or(Refusal::RequestNotFound)?;
        let rows = self
            .read(zone, async |conn| {
                audit::by_request(conn, zone, &named, MOST_OF_REQUEST).await
            })
            .await?;
        if rows.is_empty() {
            return Err(Refusal::RequestNotFound.into());
        }
        Ok((named, rows))
    }
}

fn count(rows: &[AuditRow]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}

/// How long what is long in an event is as JSON.
fn size(row: &AuditRow) -> usize {
    let long = [
        &row.metadata_json,
        &row.diagnostics_json,
        &row.determining_policies_json,
    ];
    long.map(|value| value.to_string().len()).iter().sum()
}

fn detailed(row: AuditRow) -> DetailedView {
    DetailedView {
        policy_set_id: row.policy_set_id.map(Uuid::from),
        policy_set_version_id: row.policy_set_version_id.map(Uuid::from),
        manifest_sha: row.manifest_sha.clone(),
        determining_policies_json: conceal(row.determining_policies_json.clone()),
        diagnostics_json: conceal(row.diagnostics_json.clone()),
        seq: row.seq,
        hash: hex::encode(&row.hash),
        previous_hash: hex::encode(&row.previous_hash),
        event: event(row),
    }
}

fn event(row: AuditRow) -> EventView {
    EventView {
        id: row.id.into(),
        zone_id: row.zone_id.into(),
        event_type: row.event_type,
        request_id: row.request_id,
        decision: row.decision,
        evaluation_status: row.evaluation_status,
        reason: row.reason,
        // Redacted before it was stored; once more costs nothing and covers what older versions wrote.
        metadata_json: conceal(row.metadata_json),
        occurred_at: row.occurred_at,
        ingested_at: row.ingested_at,
    }
}
