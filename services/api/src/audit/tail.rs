//! `GET …/audit/tail`: the ledger as it grows, as server-sent events. Each event's id is its place in the chain, so that
//! a follower that comes back with `Last-Event-ID` misses nothing.

use super::detailed;
use crate::actor::{Actor, InZone, Read};
use crate::app::Api;
use crate::error::{Failure, Refusal};
use crate::sight::Sight;
use crate::tails::Place;
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::AuditDecision;
use caracal_domain::id::{AgentSessionId, ApplicationId, SessionId, ZoneId};
use caracal_storage::audit::{self, AuditFilter, AuditRow};
use caracal_storage::{admin_tokens, zones};
use caracal_web::{ApiError, QueryParams};
use futures::stream;
use serde::Deserialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use utoipa::IntoParams;
use uuid::Uuid;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A stream says this often that it lives, and looks whether its reader may still read, however much there is to read
/// meanwhile. A reader that hung up is noticed by the second of these at the latest: a half-closed connection still counts
/// as one that listens.
const HEARTBEAT: Duration = Duration::from_millis(1500);
/// How many events are read at once.
const CHUNK: i64 = 200;

/// The parameters of `GET …/audit/tail`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TailQuery {
    /// Only what was so decided.
    #[param(value_type = Option<String>)]
    decision: Option<AuditDecision>,
    /// Only events of this type.
    event_type: Option<String>,
    /// Only events of this request.
    request_id: Option<String>,
    /// Only events of this application.
    #[param(value_type = Option<Uuid>)]
    application_id: Option<ApplicationId>,
    /// Only events of this session.
    #[param(value_type = Option<Uuid>)]
    session_id: Option<SessionId>,
    /// Only events of this agent session.
    #[param(value_type = Option<Uuid>)]
    agent_session_id: Option<AgentSessionId>,
    /// Only events about this resource.
    resource: Option<String>,
    /// Only events by agents with this label.
    label: Option<String>,
}

/// Follows the ledger.
///
/// From now on, or from `Last-Event-ID`, as server-sent events.
#[utoipa::path(
    get,
    path = "/v1/zones/{zone_id}/audit/tail",
    params(TailQuery, ("Last-Event-ID" = Option<i64>, Header)),
    responses(
        (status = 200, description = "Server-sent events named `audit`.", body = String, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_cursor` for a `Last-Event-ID` that is none, `invalid_query`"),
        (status = 429, description = "`tail_limit_exceeded`"),
    )
)]
pub(crate) async fn tail(
    api: Data<Api>,
    request: InZone<Read, (QueryParams<TailQuery>, HttpRequest)>,
) -> Result<HttpResponse, ApiError> {
    let (QueryParams(query), http) = request.rest;
    let zone = request.zone.id;
    let resumed = last_event_id(&http)?;
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"));
    if http.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let place = api.tails.join(zone).ok_or(Refusal::TailLimitExceeded)?;
    let head = api.read(zone, async |conn| audit::head(conn, zone).await).await?;
    // A place beyond the end is not of this chain: what comes next is what there is to follow.
    let seen = resumed.map_or(head, |seen| seen.min(head));
    let tail = Tail {
        seen,
        actor: request.by.actor,
        filter: filter(query),
        // The place is told before anything happens there, so that who is cut off early misses nothing either.
        waiting: VecDeque::from([Bytes::from(format!("id: {seen}\nretry: 2000\n\n"))]),
        stale: true,
        look_at: Instant::now() + HEARTBEAT,
        api,
        zone,
        place,
    };
    Ok(answer.streaming(stream::try_unfold(tail, Tail::advance)))
}

fn filter(query: TailQuery) -> AuditFilter {
    AuditFilter {
        since: None,
        until: None,
        request_id: query.request_id,
        decision: query.decision,
        event_type: query.event_type,
        application_id: query.application_id.map(Uuid::from),
        session_id: query.session_id.map(Uuid::from),
        agent_session_id: query.agent_session_id.map(Uuid::from),
        resource: query.resource,
        label: query.label,
    }
}

fn last_event_id(http: &HttpRequest) -> Result<Option<i64>, ApiError> {
    let Some(value) = http.headers().get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let seq = value.to_str().ok().and_then(|text| text.parse::<i64>().ok());
    let seq = seq.filter(|seq| *seq >= 0).ok_or(Refusal::InvalidCursor)?;
    Ok(Some(seq))
}

/// A stream under way. Between events it holds its place and nothing else.
struct Tail {
    api: Data<Api>,
    zone: ZoneId,
    actor: Option<Actor>,
    filter: AuditFilter,
    place: Place,
    /// Up to where the chain has been read.
    seen: i64,
    waiting: VecDeque<Bytes>,
    /// Whether there may be more to read now.
    stale: bool,
    /// When to look again whether its reader may still read.
    look_at: Instant,
}

impl Tail {
    async fn advance(mut self) -> Result<Option<(Bytes, Self)>, ApiError> {
        let draining = self.api.draining.clone();
        loop {
            if Instant::now() >= self.look_at {
                if !self.may_go_on().await? {
                    return Ok(None);
                }
                self.look_at = Instant::now() + HEARTBEAT;
                // The wake-up may have been lost with its connection.
                self.stale = true;
                self.waiting.push_back(Bytes::from_static(b": still here\n\n"));
            }
            if let Some(next) = self.waiting.pop_front() {
                return Ok(Some((next, self)));
            }
            if draining.is_cancelled() {
                return Ok(None);
            }
            if self.stale {
                self.place.grown.mark_unchanged();
                self.read().await?;
                continue;
            }
            tokio::select! {
                () = draining.cancelled() => return Ok(None),
                _ = self.place.grown.changed() => self.stale = true,
                () = tokio::time::sleep_until(self.look_at.into()) => {}
            }
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let mut conn = self.api.database.acquire(self.zone).await?;
        let head = audit::head(&mut conn, self.zone).await?;
        let rows = audit::after(&mut conn, self.zone, &self.filter, self.seen, head, CHUNK).await?;
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= CHUNK;
        self.seen = rows
            .last()
            .filter(|_| full)
            .map_or(head.max(self.seen), |last| last.seq);
        self.stale = full;
        self.waiting.extend(rows.into_iter().map(message));
        Ok(())
    }

    /// A token that was revoked or has expired, or whose zone is gone, follows no longer.
    async fn may_go_on(&self) -> Result<bool, Failure> {
        let mut conn = self.api.database.acquire(Sight::Everything).await?;
        let zone = zones::find(&conn, self.zone).await?;
        let Some(actor) = &self.actor else {
            return Ok(false);
        };
        let token = admin_tokens::find(&mut conn, actor.token_id).await?;
        let now = self.api.clock.now();
        Ok(zone.is_some() && token.is_some_and(|token| token.expires_at.is_none_or(|at| at > now)))
    }
}

/// One event; its JSON has no line breaks, so it is one line of data.
fn message(row: AuditRow) -> Bytes {
    let seq = row.seq;
    let data = serde_json::to_string(&detailed(row)).unwrap_or_default();
    Bytes::from(format!("id: {seq}\nevent: audit\ndata: {data}\n\n"))
}
